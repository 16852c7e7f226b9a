//! W3C Trace Context (level 2 draft, `traceparent` of version 00): a trace goes on
//! through us, under a parent of our own.

use http::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of `00-{32}-{16}-{2}`.
const LENGTH: usize = 55;
/// Sampled, and a trace id that is random. Others have no meaning yet and go.
const FLAGS: u8 = 0b11;

/// Gives the trace a new parent; its state stays as it is. A context that cannot be
/// read, or of which there are two, is dropped with its state (§3.3); where there
/// is none, none is made, as nobody here would record its spans.
pub(crate) fn continue_trace(headers: &mut HeaderMap, parent: u64) {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let next = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|text| follow(text, parent)),
        _ => None,
    };
    match next {
        Some(next) => {
            headers.insert(TRACEPARENT, next);
        }
        None => {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
    }
}

/// A newer version's fields are read as far as this one knows them (§4.1).
fn follow(text: &str, parent: u64) -> Option<HeaderValue> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace = parts.next()?;
    let flags = {
        let (above, below) = trace.split_at_checked(16)?;
        let zero = hex(above, 16)? == 0 && hex(below, 16)? == 0;
        let from = hex(parts.next()?, 16)?;
        if zero || from == 0 {
            return None;
        }
        hex(parts.next()?, 2)? as u8 & FLAGS
    };
    let complete = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    // Zero is no parent.
    let parent = parent.max(1);
    complete.then(|| {
        HeaderValue::try_from(format!("00-{trace}-{parent:016x}-{flags:02x}"))
            .expect("hex digits are visible ASCII")
    })
}

/// Lower-case digits, exactly `length` of them.
fn hex(digits: &str, length: usize) -> Option<u64> {
    let lawful = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != length || !digits.bytes().all(lawful) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const FROM: &str = "b7ad6b7169203331";

    fn check(parents: &[String], expect: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        for parent in parents {
            headers.append(TRACEPARENT, parent.parse().unwrap());
        }
        continue_trace(&mut headers, 0xabc);
        let next = headers.get(TRACEPARENT).map(|v| v.to_str().unwrap());
        assert_eq!(next, expect, "{parents:?}");
        assert_eq!(headers.contains_key(TRACESTATE), expect.is_some());
    }

    #[test]
    fn a_trace_goes_on_under_a_new_parent() {
        let next = format!("00-{TRACE}-0000000000000abc-01");
        check(&[format!("00-{TRACE}-{FROM}-01")], Some(&next));
        check(&[format!("00-{TRACE}-{FROM}-fd")], Some(&next));
        check(&[format!("cc-{TRACE}-{FROM}-01-more")], Some(&next));
    }

    #[test]
    fn what_cannot_be_read_goes_with_its_state() {
        let whole = format!("00-{TRACE}-{FROM}-01");
        let zeros = "0".repeat(32);
        check(&[], None);
        check(&[whole.clone(), whole.clone()], None);
        check(&[whole.to_uppercase()], None);
        check(&[format!("{whole}-more")], None);
        check(&[format!("ff-{TRACE}-{FROM}-01")], None);
        check(&[format!("00-{zeros}-{FROM}-01")], None);
        check(&[format!("00-{TRACE}-{}-01", &zeros[..16])], None);
        check(&[format!("00-{TRACE}-{FROM}-0")], None);
        check(&[format!("00-{TRACE}{FROM}--01-")], None);
        check(&[format!("cc-{TRACE}-{FROM}-01.more")], None);
    }
}
