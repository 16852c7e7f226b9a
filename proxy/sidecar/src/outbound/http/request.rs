//! A request on its way out: cleaned once, sent perhaps more than once.

use std::error::Error;

use http::header::{CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::ext::Protocol;
use weft_decide::{Reason, Rng};

use crate::http::{Body, METHOD, REQUEST_ID, Wish, sanitize, strip_hop_by_hop};
use crate::inner::Target;

/// The host a request is for: an absolute target wins over `Host` (RFC 9112
/// §3.2.2); without either, or with several, it is refused.
pub(super) fn authority(request: &Request<Incoming>) -> Result<String, Reason> {
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
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.as_str().to_owned());
    }
    host.and_then(|host| host.to_str().ok())
        .map(str::to_owned)
        .ok_or(Reason::BadRequest)
}

/// What a refusal names: method and host, bounded; never the path, which may hold secrets.
pub(super) fn about(request: &Request<Incoming>) -> String {
    let host = request
        .uri()
        .authority()
        .map(Authority::as_str)
        .or_else(|| request.headers().get(HOST)?.to_str().ok())
        .unwrap_or("no host");
    let host: String = host.chars().take(255).collect();
    format!("{} {host}", request.method())
}

/// A request for the inner connection.
pub(super) struct Outgoing {
    request: Option<Request<Body>>,
    spare: Option<Request<()>>,
}

impl Outgoing {
    /// Takes off what belongs to the client's hop and what only weft may say.
    pub(super) fn new(
        request: Request<Incoming>,
        authority: &str,
        wish: Option<&Wish>,
        rng: &mut Rng,
    ) -> Result<Self, Reason> {
        let (mut head, incoming) = request.into_parts();
        head.uri = target(&head.uri, authority)?;
        head.version = Version::HTTP_2;
        head.headers.remove(HOST);
        strip_hop_by_hop(&mut head.headers);
        sanitize(&mut head.headers);
        head.extensions.clear();
        if let Some(wish) = wish {
            ask(&mut head, wish)?;
        }
        if !head.headers.contains_key(REQUEST_ID) {
            head.headers.insert(REQUEST_ID, request_id(rng));
        }
        let bodiless = http_body::Body::is_end_stream(&incoming);
        let spare = (bodiless && is_idempotent(&head.method))
            .then(|| Request::from_parts(head.clone(), ()));
        Ok(Self {
            request: Some(Request::from_parts(head, Body::forwarded(incoming))),
            spare,
        })
    }

    /// The request, addressed to one endpoint.
    pub(super) fn take(&mut self, target: &Target) -> Request<Body> {
        let mut request = self
            .request
            .take()
            .expect("a request is taken only while it is whole");
        target.write_to(request.headers_mut());
        request
    }

    /// Keeps the request if the connection gave it back unsent. Says why it failed.
    pub(super) fn take_back(&mut self, mut error: TrySendError<Request<Body>>) -> Reason {
        self.request = error.take_message();
        let error = error.into_error();
        tracing::debug!(%error, source = error.source(), "request failed");
        if self.request.is_some() {
            Reason::ConnectFailed
        } else if error.is_timeout() {
            Reason::Timeout
        } else {
            Reason::UpstreamReset
        }
    }

    /// Whether it can be sent: it was not, or was given back.
    pub(super) fn is_whole(&self) -> bool {
        self.request.is_some()
    }

    /// Whether sending it again does no harm. Once only.
    pub(super) fn can_repeat(&self) -> bool {
        self.spare.is_some()
    }

    /// Makes it whole again from its spare.
    pub(super) fn repeat(&mut self) {
        self.request = self.spare.take().map(|spare| spare.map(|()| Body::empty()));
    }
}

/// Makes the request an extended CONNECT.
fn ask(head: &mut http::request::Parts, wish: &Wish) -> Result<(), Reason> {
    head.headers.remove(SEC_WEBSOCKET_KEY);
    // Bytes of the tunnel are no content.
    head.headers.remove(CONTENT_LENGTH);
    let method = std::mem::replace(&mut head.method, Method::CONNECT);
    if !matches!(method, Method::GET | Method::CONNECT) {
        let method = HeaderValue::from_str(method.as_str()).map_err(|_| Reason::BadRequest)?;
        head.headers.insert(METHOD, method);
    }
    head.extensions.insert(Protocol::from(&*wish.protocol));
    Ok(())
}

/// RFC 9110 §9.2.2, without TRACE, which no proxy should repeat.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

fn target(uri: &Uri, authority: &str) -> Result<Uri, Reason> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.parse().map_err(|_| Reason::BadRequest)?);
    parts.path_and_query = Some(
        uri.path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    );
    Uri::from_parts(parts).map_err(|_| Reason::BadRequest)
}

/// 32 hex digits. Names a request in logs; keeps no secret.
fn request_id(rng: &mut Rng) -> HeaderValue {
    HeaderValue::try_from(format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()))
        .expect("hex digits are visible ASCII")
}
