//! One request as it is shown: no body, no query, few header values.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, USER_AGENT};
use http::{Request, Response};
use tokio::time::Instant;
use weft_decide::Reason;
use weft_model::{ClusterName, EndpointId, ServiceKey, TapSubject, Version, WallTime};

use crate::http::REQUEST_ID;

/// A request that was answered, or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapEvent {
    /// When its answer's head was there.
    pub at: WallTime,
    /// How long that took.
    pub latency: Duration,
    /// The service asked for; none if the host named none.
    pub service: Option<ServiceKey>,
    /// Who answered; none if nobody did.
    pub served: Option<TapServed>,
    /// The method.
    pub method: String,
    /// The host asked for.
    pub host: String,
    /// The path, without its query.
    pub path: String,
    /// The status that the client got.
    pub status: u16,
    /// Why nobody answered, as metrics and logs call it.
    pub reason: Option<String>,
    /// The request's header fields, in their order.
    pub headers: Vec<TapHeader>,
}

/// The endpoint that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapServed {
    /// Its id.
    pub endpoint: EndpointId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its version label.
    pub version: Option<Version>,
}

/// A header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapHeader {
    /// Its name, in lower case.
    pub name: String,
    /// Its value, if it is told.
    pub value: Value,
}

/// What is told of a header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// All of it, up to a bound.
    Told(String),
    /// Nothing: it may be a secret.
    Redacted,
}

/// Fields whose values are told. Of others the name alone: who adds one here has to be sure that
/// nobody puts a secret into it.
const TOLD: [HeaderName; 6] = [
    ACCEPT,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    USER_AGENT,
    REQUEST_ID,
];
/// As above; the header crate has no name for it.
const TRACE: &str = "traceparent";
/// Header fields that are told at most.
const HEADERS_MAX: usize = 64;
/// Bytes of a path, a host or a value that are told at most.
const TEXT_MAX: usize = 512;

impl TapEvent {
    /// What filters look at.
    pub fn subject(&self) -> TapSubject<'_> {
        TapSubject {
            service: self.service.as_ref(),
            cluster: self.served.as_ref().map(|served| &served.cluster),
            status: self.status,
            method: &self.method,
            path: &self.path,
        }
    }
}

/// A request seen before it went on.
pub(crate) struct Sighting {
    began: Instant,
    method: String,
    host: String,
    path: String,
    headers: Vec<TapHeader>,
}

/// Left on an answer by who forwarded it.
#[derive(Debug, Clone)]
pub(crate) struct Answered(pub(crate) TapServed);

impl Sighting {
    /// Takes a copy of what may be shown.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let host = uri.authority().map(http::uri::Authority::as_str);
        let host = host.or_else(|| request.headers().get(HOST)?.to_str().ok());
        Self {
            began: Instant::now(),
            method: request.method().to_string(),
            host: bounded(host.unwrap_or_default()),
            path: bounded(uri.path()),
            headers: headers(request.headers()),
        }
    }

    /// The event, now that there is an answer. What its forwarder left on it is taken off.
    pub(crate) fn answered<B>(
        self,
        service: Option<&ServiceKey>,
        answer: &mut Result<Response<B>, Reason>,
    ) -> TapEvent {
        let (status, served, reason) = match answer {
            Ok(response) => {
                let served = response.extensions_mut().remove::<Answered>();
                (response.status().as_u16(), served.map(|a| a.0), None)
            }
            Err(reason) => (reason.http_status(), None, Some(reason.label().to_owned())),
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let at = since.map_or(0, |since| since.as_millis());
        TapEvent {
            at: WallTime(u64::try_from(at).unwrap_or(u64::MAX)),
            latency: self.began.elapsed(),
            service: service.cloned(),
            served,
            method: self.method,
            host: self.host,
            path: self.path,
            status,
            reason,
            headers: self.headers,
        }
    }
}

fn headers(of: &HeaderMap) -> Vec<TapHeader> {
    let fields = of.iter().take(HEADERS_MAX);
    fields
        .map(|(name, value)| {
            let is_told = TOLD.contains(name) || name.as_str() == TRACE;
            let told = value.to_str().ok().filter(|_| is_told);
            TapHeader {
                name: name.to_string(),
                value: told.map_or(Value::Redacted, |value| Value::Told(bounded(value))),
            }
        })
        .collect()
}

fn bounded(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_MAX);
    text[..end].to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use weft_model::fixture::name;

    use super::*;

    pub(crate) fn sample() -> TapEvent {
        TapEvent {
            at: WallTime(1_700_000_000_000),
            latency: Duration::from_micros(81_300),
            service: Some(name("shop/checkout")),
            served: Some(TapServed {
                endpoint: EndpointId([7; 16]),
                cluster: name("eu-west-1"),
                version: Some(name("v2")),
            }),
            method: "GET".to_owned(),
            host: "checkout.shop".to_owned(),
            path: "/".to_owned(),
            status: 200,
            reason: None,
            headers: vec![
                TapHeader {
                    name: "user-agent".to_owned(),
                    value: Value::Told("curl/8".to_owned()),
                },
                TapHeader {
                    name: "authorization".to_owned(),
                    value: Value::Redacted,
                },
            ],
        }
    }

    #[test]
    fn secrets_are_not_told() {
        let request = Request::get("http://checkout.shop/pay?card=4111")
            .header("authorization", "Bearer secret")
            .header("cookie", "session=secret")
            .header("x-api-key", "secret")
            .header("user-agent", "curl/8")
            .header("x-request-id", "42")
            .body(())
            .unwrap();
        let seen = Sighting::of(&request);
        assert_eq!(
            (seen.host.as_str(), seen.path.as_str()),
            ("checkout.shop", "/pay")
        );
        let told: Vec<_> = seen
            .headers
            .iter()
            .filter(|header| header.value != Value::Redacted)
            .map(|header| header.name.as_str())
            .collect();
        assert_eq!(told, ["user-agent", "x-request-id"]);
        assert_eq!(seen.headers.len(), 5);
        assert!(!format!("{:?}", seen.headers).contains("secret"));
    }

    #[test]
    fn what_is_told_is_bounded() {
        let long = "é".repeat(TEXT_MAX);
        let mut request = Request::get("/").header("user-agent", &long);
        for number in 0..HEADERS_MAX {
            request = request.header(format!("x-{number}"), "1");
        }
        let seen = Sighting::of(&request.body(()).unwrap());
        assert_eq!(seen.headers.len(), HEADERS_MAX);
        assert!(bounded(&long).len() <= TEXT_MAX);
    }

    #[test]
    fn who_answered_is_taken_off_the_answer() {
        let served = sample().served.unwrap();
        let mut response = Response::new(());
        response.extensions_mut().insert(Answered(served.clone()));
        let mut answer = Ok(response);
        let sighting = Sighting::of(&Request::get("/").body(()).unwrap());
        let event = sighting.answered(None, &mut answer);
        assert_eq!(event.served, Some(served));
        assert!(answer.unwrap().extensions().get::<Answered>().is_none());
        let sighting = Sighting::of(&Request::get("/").body(()).unwrap());
        let event = sighting.answered::<()>(None, &mut Err(Reason::NoEndpoints));
        assert_eq!(
            (event.status, event.reason.as_deref()),
            (503, Some("no_endpoints"))
        );
    }
}
