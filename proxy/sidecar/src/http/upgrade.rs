//! Upgrades of HTTP/1.1 (RFC 9110 §7.8) and extended CONNECT of HTTP/2 (RFC 8441):
//! each is made of the other where a request passes from one version to the next.
//!
//! The nonce of a WebSocket handshake and its proof belong to one HTTP/1.1
//! connection, so neither crosses the inner hop.

use aws_lc_rs::digest;
use data_encoding::BASE64;
use h2::ext::Protocol;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    UPGRADE,
};
use http::{Method, Request, Version};

/// A protocol that a client wants to speak instead of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// As the client wrote it: `websocket`, `SPDY/3.1`.
    pub(crate) protocol: Box<str>,
    /// How the client asked.
    pub(crate) by: Form,
}

/// How a client asks for another protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// `Upgrade`, with the nonce of a WebSocket handshake.
    Upgrade { key: Option<HeaderValue> },
    /// Extended CONNECT.
    Connect,
}

/// The method of the request that asked, on an inner extended CONNECT. Absent: GET.
pub(crate) const METHOD: HeaderName = HeaderName::from_static("weft-method");
/// The app's own status, where it answered a wish with success and no change of
/// protocol: on the wire a 2xx would say that the protocol has changed.
pub(crate) const STATUS: HeaderName = HeaderName::from_static("weft-status");

const WEBSOCKET: &str = "websocket";
/// RFC 6455 §1.3.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

impl Wish {
    /// What `request` asks for. An upgrade to HTTP itself is none, since RFC 9113
    /// §3.1 took it back: its requests would pass unread. Nor is one on a request with
    /// content, which the server would have to read first. Both are answered as if
    /// `Upgrade` were not there; an extended CONNECT that is none is refused.
    pub(crate) fn of<B: http_body::Body>(request: &Request<B>) -> Option<Self> {
        if *request.method() == Method::CONNECT {
            let protocol = request.extensions().get::<Protocol>()?.as_str();
            return may_follow(protocol).then(|| Self {
                protocol: protocol.into(),
                by: Form::Connect,
            });
        }
        let headers = request.headers();
        if request.version() != Version::HTTP_11
            || !lists(headers, &CONNECTION, "upgrade")
            || !request.body().is_end_stream()
        {
            return None;
        }
        let protocol = headers.get(UPGRADE)?.to_str().ok()?.split(',').next()?;
        let protocol = protocol.trim();
        may_follow(protocol).then(|| Self {
            protocol: protocol.into(),
            by: Form::Upgrade {
                key: headers.get(SEC_WEBSOCKET_KEY).cloned(),
            },
        })
    }

    pub(crate) fn is_websocket(&self) -> bool {
        self.protocol.eq_ignore_ascii_case(WEBSOCKET)
    }

    /// The fields of a 101 that grants the wish.
    pub(crate) fn grant(&self, headers: &mut HeaderMap) {
        headers.remove(SEC_WEBSOCKET_ACCEPT);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Ok(protocol) = HeaderValue::from_str(&self.protocol) {
            headers.insert(UPGRADE, protocol);
        }
        if let Form::Upgrade { key: Some(key) } = &self.by
            && self.is_websocket()
        {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept(key));
        }
    }

    /// Makes the fields of an extended CONNECT those of an HTTP/1.1 request that
    /// asks for the same; returns what a server that grants it must prove.
    pub(crate) fn ask(&self, headers: &mut HeaderMap, nonce: [u8; 16]) -> Option<HeaderValue> {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Ok(protocol) = HeaderValue::from_str(&self.protocol) {
            headers.insert(UPGRADE, protocol);
        }
        self.is_websocket().then(|| {
            let key = HeaderValue::try_from(BASE64.encode(&nonce)).expect("base64 is ASCII");
            let expect = accept(&key);
            headers.insert(SEC_WEBSOCKET_KEY, key);
            expect
        })
    }

    /// Whether a 101 with these fields grants this wish and no other.
    pub(crate) fn is_granted(&self, headers: &HeaderMap, proof: Option<&HeaderValue>) -> bool {
        let named = headers.get(UPGRADE).is_some_and(|value| {
            value
                .as_bytes()
                .eq_ignore_ascii_case(self.protocol.as_bytes())
        });
        named && proof.is_none_or(|proof| headers.get(SEC_WEBSOCKET_ACCEPT) == Some(proof))
    }
}

/// Whether `protocol` is one alone (RFC 9110 §7.8: a token, perhaps another for its version),
/// and not HTTP itself, in the clear or in TLS.
fn may_follow(protocol: &str) -> bool {
    let (name, version) = protocol.split_once('/').unwrap_or((protocol, "0"));
    let is_http = ["h2c", "http", "tls"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own));
    is_token(name) && is_token(version) && !is_http
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let lawful = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(lawful)
}

/// Whether the comma-separated list in fields `name` has `member`.
pub(crate) fn lists(headers: &HeaderMap, name: &HeaderName, member: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(member))
}

/// RFC 6455 §4.2.2. SHA-1 is no secret's guard there: it shows that the server
/// has read the handshake.
fn accept(key: &HeaderValue) -> HeaderValue {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(WEBSOCKET_GUID);
    HeaderValue::try_from(BASE64.encode(hash.finish().as_ref())).expect("base64 is ASCII")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    fn request(fields: &[(&str, &str)]) -> Request<Empty<&'static [u8]>> {
        let mut request = Request::new(Empty::new());
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    }

    fn protocol(fields: &[(&str, &str)]) -> Option<String> {
        Wish::of(&request(fields)).map(|wish| wish.protocol.into())
    }

    #[test]
    fn only_a_whole_wish_is_one() {
        let upgrade = ("connection", "keep-alive, Upgrade");
        let websocket = ("upgrade", "WebSocket");
        assert_eq!(protocol(&[upgrade, websocket]).unwrap(), "WebSocket");
        assert_eq!(
            protocol(&[upgrade, ("upgrade", "SPDY/3.1, x")]).unwrap(),
            "SPDY/3.1"
        );
        assert_eq!(protocol(&[websocket]), None);
        assert_eq!(protocol(&[upgrade]), None);
        assert_eq!(protocol(&[upgrade, ("upgrade", "h2c")]), None);
        assert_eq!(protocol(&[upgrade, ("upgrade", "")]), None);
        let mut old = request(&[upgrade, websocket]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(Wish::of(&old), None);
        let content = request(&[upgrade, websocket]).map(|_| Full::<Bytes>::from("content"));
        assert_eq!(Wish::of(&content), None);
    }

    #[test]
    fn extended_connect_asks_for_no_http_either() {
        let check = |protocol: &'static str, expect: Option<&str>| {
            let mut connect = request(&[]);
            *connect.method_mut() = Method::CONNECT;
            connect
                .extensions_mut()
                .insert(Protocol::from_static(protocol));
            let wish = Wish::of(&connect);
            let asked = wish.map(|wish| (wish.protocol.into_string(), wish.by));
            let expect = expect.map(|protocol| (protocol.to_owned(), Form::Connect));
            assert_eq!(asked, expect, "{protocol:?}");
        };
        check("websocket", Some("websocket"));
        check("SPDY/3.1", Some("SPDY/3.1"));
        for http in ["h2c", "H2C", "HTTP/2.0", "TLS/1.0", "tls"] {
            check(http, None);
        }
        for odd in ["", "/1", "x/", "x, h2c", " h2c", "h2c ", "x/1/2", "x\r\ny"] {
            check(odd, None);
        }
    }

    #[test]
    fn the_proof_is_rfc_6455s_own() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_asked_for_is_what_is_granted() {
        let wish = Wish::of(&request(&[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]))
        .unwrap();
        let (mut asked, mut granted) = (HeaderMap::new(), HeaderMap::new());
        let proof = wish.ask(&mut asked, [7; 16]).unwrap();
        granted.insert(UPGRADE, HeaderValue::from_static("websocket"));
        assert!(!wish.is_granted(&granted, Some(&proof)));
        granted.insert(SEC_WEBSOCKET_ACCEPT, proof.clone());
        assert!(wish.is_granted(&granted, Some(&proof)));
        wish.grant(&mut granted);
        assert_eq!(
            granted[SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
