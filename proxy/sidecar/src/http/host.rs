//! The host that a request is for.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{Request, Uri};
use weft_decide::Reason;

/// The host a request is for: an absolute target wins over `Host` (RFC 9112
/// §3.2.2); without either, with several, or with a user's name in it (RFC 9110
/// §4.2.4), it is refused.
///
/// # Errors
///
/// `BadRequest`, or `NotSupported` for a scheme other than `http`.
pub(crate) fn authority<B>(request: &Request<B>) -> Result<String, Reason> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Reason::BadRequest);
    }
    if let Some(scheme) = request.uri().scheme()
        && *scheme != Scheme::HTTP
    {
        return Err(Reason::NotSupported);
    }
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => host
            .and_then(|host| host.to_str().ok())
            .ok_or(Reason::BadRequest)?,
    };
    if authority.contains('@') {
        return Err(Reason::BadRequest);
    }
    Ok(authority.to_owned())
}

/// The same target in absolute form, at `authority`.
///
/// # Errors
///
/// `BadRequest` if that is no authority, or together they are no URI.
pub(crate) fn absolute(uri: &Uri, authority: &str) -> Result<Uri, Reason> {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.parse().map_err(|_| Reason::BadRequest)?);
    parts.path_and_query = Some(
        uri.path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    );
    Uri::from_parts(parts).map_err(|_| Reason::BadRequest)
}

/// Whether it is a host, and perhaps a port, with nothing in it that means something where an app is
/// told of it: URIs also admit `;`, `=`, `,` and `@` here, which part the pairs of `forwarded`.
pub(crate) fn is_plain(authority: &Authority) -> bool {
    let text = authority.as_str();
    if let Some(literal) = text.strip_prefix('[') {
        return literal.split_once(']').is_some_and(|(host, rest)| {
            host.parse::<Ipv6Addr>().is_ok()
                && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let lawful = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !name.is_empty() && name.bytes().all(lawful) && is_port(port)
}

/// A port may be left out after its colon (RFC 3986 §3.2.3).
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_and_a_port_are_told() {
        let check = |text: &str, expect: bool| {
            let authority: Option<Authority> = text.parse().ok();
            let plain = authority.is_some_and(|authority| is_plain(&authority));
            assert_eq!(plain, expect, "{text:?}");
        };
        for plain in [
            "checkout.shop",
            "checkout.shop:8080",
            "my_host-1.",
            "192.0.2.7:80",
            "[2001:db8::7]",
            "[2001:db8::7]:80",
            "checkout.shop:",
        ] {
            check(plain, true);
        }
        for odd in [
            "",
            ":80",
            "a;for=10.0.0.1",
            "a;by=x",
            "a,b",
            "a=b",
            "me@a",
            "me:word@a",
            "a!b",
            "a%20b",
            "a:b",
            "a:80:80",
            "[::1",
            "[a]",
            "[v1.a;b]",
            "[::1]80",
            "[::1];x=y",
            "a\"b",
        ] {
            check(odd, false);
        }
    }
}
