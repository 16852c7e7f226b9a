//! What an app is told of who asked, and how: written where a request enters the
//! destination, after every claim of the same kind was taken off.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, VIA};
use http::{Version, uri::Authority};

/// The client's address, on an inner request from a gateway that stands in for it.
pub(crate) const CLIENT: HeaderName = HeaderName::from_static("weft-client");

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Enough for most `forwarded` fields, so that they are written in one piece.
const FORWARDED_LEN: usize = 96;

/// Says the address to the destination. A sidecar's own app is no news, and an app
/// that trusts loopback addresses must not be told of one.
pub(crate) fn introduce(headers: &mut HeaderMap, client: Option<IpAddr>) {
    if let Some(client) = client.filter(|client| !is_this_host(*client)) {
        let client = HeaderValue::try_from(client.to_string()).expect("addresses are ASCII");
        headers.insert(CLIENT, client);
    }
}

/// Takes the address off an inner request, and believes it of whom this cluster trusts with it.
/// What is said is checked here again: an app must not hear of loopback whoever says it.
pub(crate) fn introduced(headers: &mut HeaderMap, trusted: bool) -> Option<IpAddr> {
    let client = headers.remove(CLIENT)?;
    let client: IpAddr = client.to_str().ok()?.parse().ok()?;
    (trusted && !is_this_host(client)).then_some(client)
}

/// A loopback address in any form, or an unspecified one, which is this host too where one connects
/// to it.
fn is_this_host(client: IpAddr) -> bool {
    let is_own = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    match client {
        IpAddr::V4(_) => is_own(client),
        // Mapped (`::ffff:a.b.c.d`) or compatible (`::a.b.c.d`).
        IpAddr::V6(v6) => is_own(client) || v6.to_ipv4().is_some_and(|v4| is_own(v4.into())),
    }
}

/// The fields for the app: `x-forwarded-*`, and `forwarded` (RFC 7239). `host` is a plain one: it
/// stands in quotes.
pub(crate) fn tell(headers: &mut HeaderMap, client: Option<IpAddr>, host: Option<&Authority>) {
    let mut forwarded = String::with_capacity(FORWARDED_LEN);
    forwarded.push_str("proto=http");
    headers.insert(PROTO, HeaderValue::from_static("http"));
    if let Some(host) = host.map(Authority::as_str)
        && let Ok(value) = HeaderValue::from_str(host)
    {
        headers.insert(HOST, value);
        for piece in [";host=\"", host, "\""] {
            forwarded.push_str(piece);
        }
    }
    if let Some(client) = client {
        let value = HeaderValue::try_from(client.to_string()).expect("addresses are ASCII");
        headers.insert(FOR, value);
        forwarded.push_str(&match client {
            IpAddr::V4(client) => format!(";for={client}"),
            IpAddr::V6(client) => format!(";for=\"[{client}]\""),
        });
    }
    if let Ok(forwarded) = HeaderValue::try_from(forwarded) {
        headers.insert(FORWARDED, forwarded);
    }
}

/// Adds us to `Via` (RFC 9110 §7.6.3): `version` is the message's, as it was
/// received. Both sidecars of a request are one intermediary.
pub(crate) fn add_via(headers: &mut HeaderMap, version: Version) {
    let by = match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0 weft",
        Version::HTTP_11 => "1.1 weft",
        _ => "2.0 weft",
    };
    headers.append(VIA, HeaderValue::from_static(by));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(client: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let host = Authority::from_static("checkout.shop:8080");
        tell(
            &mut headers,
            client.map(|c| c.parse().unwrap()),
            Some(&host),
        );
        headers
    }

    #[test]
    fn an_app_hears_host_and_protocol_and_the_client_if_it_is_known() {
        let headers = told(None);
        assert!(!headers.contains_key(FOR));
        assert_eq!(headers[FORWARDED], "proto=http;host=\"checkout.shop:8080\"");
        let headers = told(Some("2001:db8::7"));
        assert_eq!(headers[FOR], "2001:db8::7");
        assert_eq!(headers[HOST], "checkout.shop:8080");
        assert_eq!(
            headers[FORWARDED],
            "proto=http;host=\"checkout.shop:8080\";for=\"[2001:db8::7]\""
        );
    }

    #[test]
    fn only_who_is_trusted_introduces_clients_and_never_loopback() {
        let client = Some("192.0.2.7".parse().unwrap());
        let mut headers = HeaderMap::new();
        introduce(&mut headers, client);
        assert_eq!(introduced(&mut headers.clone(), true), client);
        assert_eq!(introduced(&mut headers.clone(), false), None);
        for loopback in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
        ] {
            headers.clear();
            introduce(&mut headers, Some(loopback.parse().unwrap()));
            assert!(headers.is_empty(), "{loopback}");
            headers.insert(CLIENT, HeaderValue::from_static(loopback));
            assert_eq!(introduced(&mut headers, true), None, "{loopback}");
            assert!(headers.is_empty(), "{loopback}");
        }
    }
}
