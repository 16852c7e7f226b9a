//! Headers that must not pass: those of one hop, and those that claim an identity.

use super::upgrade::lists;
use http::HeaderValue;
use http::header::{
    CONNECTION, EXPECT, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use weft_decide::HeaderView;

/// Who the caller proved to be (Envoy's XFCC form).
pub(crate) const FORWARDED_CLIENT_CERT: HeaderName =
    HeaderName::from_static("x-forwarded-client-cert");
/// One id for a request on its whole way.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Header fields as rules read them.
pub(crate) struct Fields<'a>(pub(crate) &'a HeaderMap);

impl HeaderView for Fields<'_> {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut values = self.0.get_all(name).iter();
        values.any(|value| test(value.as_bytes()))
    }
}

/// Removes the fields that RFC 9110 §7.6.1 gives to one connection, and those
/// that `Connection` names. `TE: trailers` stays: gRPC needs it; so does `Trailer`,
/// without which trailers do not cross an HTTP/1.1 hop.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let trailers = lists(headers, &TE, "trailers");
    // Hop-by-hop status is no way to have end-to-end framing removed.
    for name in named
        .iter()
        .filter(|name| **name != http::header::CONTENT_LENGTH)
    {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        // Answered here: hyper says 100 once the body is wanted.
        EXPECT,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes every field that claims who or where the caller is, in any spelling
/// that a server may fold into the real one (CGI has `_` for whatever is no letter and
/// no digit). Used on requests from
/// an app and again where a request enters the destination, and on trailers.
pub(crate) fn sanitize(headers: &mut HeaderMap) {
    let spoofed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| claims_identity(name.as_str()))
        .cloned()
        .collect();
    for name in spoofed {
        headers.remove(name);
    }
}

/// Removes from an app's answer what only weft may say.
pub(crate) fn sanitize_response(headers: &mut HeaderMap) {
    let spoofed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            ["weft-", "x-weft-"]
                .iter()
                .any(|own| name.as_str().starts_with(own))
        })
        .cloned()
        .collect();
    for name in spoofed {
        headers.remove(name);
    }
}

/// `name` is lower case: HTTP libraries fold it.
fn claims_identity(name: &str) -> bool {
    const PREFIXES: [&[u8]; 5] = [
        b"weft-",
        b"x-weft-",
        b"x-forwarded-",
        b"x-ssl-client-",
        b"l5d-",
    ];
    // The last two are RFC 9440's.
    const NAMES: [&[u8]; 8] = [
        b"forwarded",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"true-client-ip",
        b"x-envoy-external-address",
        b"client-cert",
        b"client-cert-chain",
    ];
    let folded = |pattern: &[u8]| {
        name.len() >= pattern.len()
            && name
                .bytes()
                .zip(pattern)
                .all(|(byte, expect)| match byte.is_ascii_alphanumeric() {
                    true => byte == *expect,
                    false => *expect == b'-',
                })
    };
    PREFIXES.iter().any(|prefix| folded(prefix))
        || NAMES
            .iter()
            .any(|whole| name.len() == whole.len() && folded(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<HeaderName>().unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn claims_go_in_every_spelling() {
        let mut headers = map(&[
            ("X-Forwarded-Client-Cert", "URI=spiffe://evil"),
            ("x_forwarded_client_cert", "URI=spiffe://evil"),
            ("x-forwarded_client-cert", "URI=spiffe://evil"),
            ("x.forwarded~client!cert", "URI=spiffe://evil"),
            ("Client-Cert", ":MIIB:"),
            ("client.cert-chain", ":MIIB:"),
            ("X-SSL-Client-S-DN", "CN=evil"),
            ("true_client_ip", "1.2.3.4"),
            ("X-Client-IP", "1.2.3.4"),
            ("x-cluster-client-ip", "1.2.3.4"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("Forwarded", "for=1.2.3.4"),
            ("weft-service", "shop/payments"),
            ("WEFT_endpoint", "00"),
            ("x-weft-reason", "no_route"),
            ("l5d-client-id", "evil"),
            ("x-real-ip", "1.2.3.4"),
            ("forwarded-note", "kept"),
            ("client-certificate", "kept"),
            ("x-client-ip-note", "kept"),
            ("x-user", "kept"),
        ]);
        sanitize(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "client-certificate",
                "forwarded-note",
                "x-client-ip-note",
                "x-user"
            ]
        );
    }

    #[test]
    fn fields_of_one_hop_go() {
        let mut headers = map(&[
            ("connection", "keep-alive, x-private"),
            ("connection", "content-length"),
            ("content-length", "3"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eA=="),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-length", "te"]);
    }
}
