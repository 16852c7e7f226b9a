//! What an inner connection or request is for: always inside the inner TLS.

use std::num::NonZeroU16;
use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use tokio::io::{AsyncRead, AsyncReadExt};
use weft_model::{EndpointId, ServiceKey};

/// The service, `namespace/name`, on a `weft-h2` request.
pub(crate) const SERVICE: HeaderName = HeaderName::from_static("weft-service");
/// The service's port.
pub(crate) const PORT: HeaderName = HeaderName::from_static("weft-port");
/// The endpoint, 32 hex digits.
pub(crate) const ENDPOINT: HeaderName = HeaderName::from_static("weft-endpoint");

/// On a request that is for no app: the far sidecar answers it itself, at once. One that
/// does not know it refuses it, which says as much: the connection lives.
const PROBE: HeaderName = HeaderName::from_static("weft-probe");

/// Asks the far sidecar of a `weft-h2` connection for a sign of life.
pub(crate) fn probe() -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::OPTIONS;
    *request.uri_mut() = http::Uri::from_static("http://weft/");
    request
        .headers_mut()
        .insert(PROBE, HeaderValue::from_static("1"));
    request
}

/// Whether a `weft-h2` request only asks for a sign of life.
pub(crate) fn is_probe<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(PROBE)
        && !request.headers().contains_key(ENDPOINT)
}

/// A service's port at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: EndpointId,
    pub(crate) service: ServiceKey,
    pub(crate) port: NonZeroU16,
}

/// Why a target was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// A frame of another version.
    #[error("target version {0}, only {VERSION} is understood")]
    Version(u8),
    /// Not the layout of this version.
    #[error("the target is malformed")]
    Malformed,
    /// The stream broke first.
    #[error("reading the target failed")]
    Read(#[from] std::io::Error),
}

const VERSION: u8 = 1;
const FIXED: usize = 1 + 16 + 2;
/// Two labels of 63 bytes and a slash.
const KEY_MAX: usize = 63 + 1 + 63;

impl Target {
    /// The first bytes of a `weft-tcp` connection, big endian: u16 length of the
    /// rest, then `version(1) ‖ endpoint(16) ‖ port(2) ‖ "namespace/name"`.
    pub(crate) fn to_frame(&self) -> Vec<u8> {
        let key = self.service.to_string();
        let length = u16::try_from(FIXED + key.len()).expect("a key is two labels");
        let mut frame = Vec::with_capacity(2 + usize::from(length));
        frame.extend(length.to_be_bytes());
        frame.push(VERSION);
        frame.extend(self.endpoint.0);
        frame.extend(self.port.get().to_be_bytes());
        frame.extend(key.as_bytes());
        frame
    }

    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, TargetError> {
        let length = usize::from(stream.read_u16().await?);
        if !(FIXED..=FIXED + KEY_MAX).contains(&length) {
            return Err(TargetError::Malformed);
        }
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame).await?;
        Self::parse(&frame)
    }

    fn parse(frame: &[u8]) -> Result<Self, TargetError> {
        let (version, rest) = frame.split_first().ok_or(TargetError::Malformed)?;
        if *version != VERSION {
            return Err(TargetError::Version(*version));
        }
        let (endpoint, rest) = rest.split_at_checked(16).ok_or(TargetError::Malformed)?;
        let (port, key) = rest.split_first_chunk().ok_or(TargetError::Malformed)?;
        let key = std::str::from_utf8(key).map_err(|_| TargetError::Malformed)?;
        Ok(Self {
            endpoint: EndpointId::from_slice(endpoint).ok_or(TargetError::Malformed)?,
            service: key.parse().map_err(|_| TargetError::Malformed)?,
            port: NonZeroU16::new(u16::from_be_bytes(*port)).ok_or(TargetError::Malformed)?,
        })
    }

    /// As the fields of `weft-h2` requests, to be written once for many of them.
    pub(crate) fn to_fields(&self) -> TargetFields {
        let value =
            |text: String| HeaderValue::try_from(text).expect("names and digits are visible ASCII");
        TargetFields([
            (SERVICE, value(self.service.to_string())),
            (PORT, value(self.port.to_string())),
            (ENDPOINT, value(self.endpoint.to_string())),
        ])
    }

    /// Takes the target off a `weft-h2` request.
    pub(crate) fn take_from(headers: &mut HeaderMap) -> Result<Self, TargetError> {
        Ok(Self {
            service: take(headers, &SERVICE)?,
            port: take(headers, &PORT)?,
            endpoint: take::<Hex>(headers, &ENDPOINT)?.0,
        })
    }
}

/// A target as fields of a request.
#[derive(Debug, Clone)]
pub(crate) struct TargetFields([(HeaderName, HeaderValue); 3]);

impl TargetFields {
    /// Puts the target on a `weft-h2` request.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.insert(name, value.clone());
        }
    }
}

fn take<T: FromStr>(headers: &mut HeaderMap, name: &HeaderName) -> Result<T, TargetError> {
    headers
        .remove(name)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .ok_or(TargetError::Malformed)
}

struct Hex(EndpointId);

impl FromStr for Hex {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(());
        }
        let id = u128::from_str_radix(text, 16).map_err(|_| ())?;
        Ok(Self(EndpointId(id.to_be_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            endpoint: EndpointId([0xab; 16]),
            service: "shop/checkout".parse().unwrap(),
            port: NonZeroU16::new(8080).unwrap(),
        }
    }

    #[test]
    fn a_frame_reads_back() {
        let frame = target().to_frame();
        assert_eq!(usize::from(frame[1]), frame.len() - 2);
        assert_eq!(Target::parse(&frame[2..]).unwrap(), target());
    }

    #[test]
    fn headers_read_back_and_are_gone() {
        let mut headers = HeaderMap::new();
        target().to_fields().write_to(&mut headers);
        assert_eq!(Target::take_from(&mut headers).unwrap(), target());
        assert!(headers.is_empty());
    }

    #[test]
    fn every_cut_or_foreign_frame_is_refused() {
        let frame = target().to_frame();
        let body = &frame[2..];
        for cut in 0..FIXED + 5 {
            assert!(Target::parse(&body[..cut]).is_err(), "cut at {cut}");
        }
        let mut newer = body.to_vec();
        newer[0] = 2;
        assert!(matches!(
            Target::parse(&newer),
            Err(TargetError::Version(2))
        ));
        let mut no_port = body.to_vec();
        no_port[17..19].fill(0);
        assert!(Target::parse(&no_port).is_err());
    }

    #[test]
    fn no_mutant_of_a_target_panics() {
        use futures_util::FutureExt;
        use weft_mutants::Decoder;
        let frame = target().to_frame();
        weft_mutants::check(&[Decoder::new("a target", [frame], |bytes| {
            let mut from = bytes;
            let read = Target::read(&mut from).now_or_never();
            read.ok_or("it waits for more")?
                .map_err(|why| why.to_string())
        })]);
    }
}
