//! Changes to fields of protobuf: numbers to the ends of their range, fields lost, doubled and moved,
//! with the lengths around them right, so that what is behind them is reached.

use std::ops::Range;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::varint;

/// Numbers at the ends of what formats and programs count with.
const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    255,
    65_536,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 60,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// What is doubled many times stays about this short.
const LONG: usize = 32 * 1024;

/// A field as it stands in a message.
struct Field {
    whole: Range<usize>,
    /// What follows its tag, and its length if it has one.
    value: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Number,
    Fixed,
    Bytes,
}

/// Changes one field, perhaps one deep within; false if the bytes are no fields.
pub(crate) fn change(rng: &mut SmallRng, bytes: &mut Vec<u8>) -> bool {
    let Some(fields) = read(bytes) else {
        return false;
    };
    let Some(field) = fields.choose(rng) else {
        return false;
    };
    match rng.random_range(0..8) {
        0 => drop(bytes.drain(field.whole.clone())),
        1 => {
            let copy = bytes[field.whole.clone()].to_vec();
            let at = fields.choose(rng).map_or(0, |other| other.whole.start);
            bytes.splice(at..at, copy);
        }
        _ => revalue(rng, bytes, field),
    }
    true
}

fn revalue(rng: &mut SmallRng, bytes: &mut Vec<u8>, field: &Field) {
    let number = NUMBERS.choose(rng).copied().unwrap_or_default();
    let value = match field.kind {
        Kind::Number => varint::write(number),
        Kind::Fixed => number.to_le_bytes()[..field.value.len()].to_vec(),
        Kind::Bytes => {
            let mut inner = bytes[field.value.clone()].to_vec();
            if !(rng.random_bool(0.75) && change(rng, &mut inner)) {
                refill(rng, &mut inner);
            }
            [varint::write(inner.len() as u64), inner].concat()
        }
    };
    let tag = varint::read(&bytes[field.whole.clone()]).1;
    bytes.splice(field.whole.start + tag..field.whole.end, value);
}

/// Other bytes in a field: none, fewer, more, or one changed.
fn refill(rng: &mut SmallRng, bytes: &mut Vec<u8>) {
    match rng.random_range(0..5) {
        0 => bytes.clear(),
        1 => bytes.truncate(rng.random_range(0..=bytes.len())),
        2 => bytes.push(rng.random()),
        3 => {
            let times = (LONG / bytes.len().max(1)).min(300);
            *bytes = bytes.repeat(rng.random_range(2..=times.max(2)));
        }
        _ => {
            let at = rng.random_range(0..=bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.random();
            }
        }
    }
}

/// The fields of a message; none if they do not fill it.
fn read(bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let (tag, length) = varint::read(&bytes[at..]);
        at += length;
        let (kind, length) = match (tag & 7, tag >> 3) {
            (_, 0) => return None,
            (0, _) => (Kind::Number, varint::read(bytes.get(at..)?).1),
            (1, _) => (Kind::Fixed, 8),
            (5, _) => (Kind::Fixed, 4),
            (2, _) => {
                let (inner, length) = varint::read(bytes.get(at..)?);
                at += length;
                (Kind::Bytes, usize::try_from(inner).ok()?)
            }
            _ => return None,
        };
        let end = at.checked_add(length).filter(|end| *end <= bytes.len())?;
        fields.push(Field {
            whole: start..end,
            value: at..end,
            kind,
        });
        at = end;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn lengths_around_a_change_are_right() {
        // 1: 300, 2: { 1: 5, 3: "abc" }
        let whole = b"\x08\xac\x02\x12\x07\x08\x05\x1a\x03abc";
        let mut largest = 0;
        for seed in 0..1_000 {
            let mut bytes = whole.to_vec();
            assert!(change(&mut SmallRng::seed_from_u64(seed), &mut bytes));
            let fields = read(&bytes).unwrap_or_else(|| panic!("{bytes:02x?}"));
            let values = fields
                .iter()
                .filter(|field| matches!(field.kind, Kind::Number));
            let values = values.map(|field| varint::read(&bytes[field.value.clone()]).0);
            largest = largest.max(values.max().unwrap_or(0));
        }
        assert_eq!(largest, u64::MAX);
    }

    #[test]
    fn what_is_no_message_is_left_alone() {
        let mut text = b"apiVersion: weft.dev/v1".to_vec();
        assert!(!change(&mut SmallRng::seed_from_u64(1), &mut text));
        assert_eq!(text, b"apiVersion: weft.dev/v1");
    }
}
