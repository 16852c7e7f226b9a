//! A request on its way out: cleaned once, sent perhaps more than once.

use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Version};
use weft_decide::{Reason, Rng};

use super::rule::Ruling;
use crate::http::{
    Body, Cause, Incoming, METHOD, Pace, REQUEST_ID, SendError, Silent, Timeouts, Wish, absolute,
    add_via, continue_trace, introduce, is_grpc, sanitize, strip_hop_by_hop,
};
use crate::inner::TargetFields;

/// Whether the request is HTTP/1.0 and names no host, as it may (RFC 9112 §3.2).
pub(super) fn is_without_host(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_10
        && request.uri().authority().is_none()
        && !request.headers().contains_key(HOST)
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
    pace: Pace,
    /// None: the call says itself how long it lasts.
    answer_max: Option<Duration>,
}

impl Outgoing {
    /// Takes off what belongs to the client's hop and what only weft may say.
    pub(super) fn new(
        request: Request<Incoming>,
        authority: &str,
        ruling: Option<&Ruling>,
        wish: Option<&Wish>,
        timeouts: &Timeouts,
        rng: &mut Rng,
    ) -> Result<Self, Reason> {
        let (mut head, incoming) = request.into_parts();
        head.uri = absolute(&head.uri, authority)?;
        let received = head.version;
        head.version = Version::HTTP_2;
        head.headers.remove(HOST);
        strip_hop_by_hop(&mut head.headers);
        sanitize(&mut head.headers);
        continue_trace(&mut head.headers, rng.next_u64());
        add_via(&mut head.headers, received);
        head.extensions.clear();
        if let Some(wish) = wish {
            ask(&mut head, wish)?;
        }
        if !head.headers.contains_key(REQUEST_ID) {
            head.headers.insert(REQUEST_ID, request_id(rng));
        }
        // After the cleaning, so that what a rule sets stays.
        if let Some(ruling) = ruling {
            ruling.change_request(&mut head)?;
        }
        let bodiless = http_body::Body::is_end_stream(&incoming);
        let spare = bodiless.then(|| Request::from_parts(head.clone(), ()));
        let bound = |max| (!is_grpc(&head.headers)).then_some(max);
        let (body_max, answer_max) = (bound(timeouts.body), bound(timeouts.answer));
        let pace = Pace::new();
        let body = Body::forwarded(incoming).paced(pace.clone(), body_max);
        Ok(Self {
            request: Some(Request::from_parts(head, body)),
            spare,
            pace,
            answer_max,
        })
    }

    /// A copy to send elsewhere; none of a request that has a body.
    pub(super) fn copy(&self) -> Option<Request<()>> {
        self.spare.clone()
    }

    /// Tells the destination whose request it is.
    pub(super) fn introduce(&mut self, client: Option<IpAddr>) {
        let whole = self.request.as_mut().map(Request::headers_mut);
        let spare = self.spare.as_mut().map(Request::headers_mut);
        for headers in whole.into_iter().chain(spare) {
            introduce(headers, client);
        }
    }

    /// The request, addressed to one endpoint.
    pub(super) fn take(&mut self, target: &TargetFields) -> Request<Body> {
        let mut request = self
            .request
            .take()
            .expect("a request is taken only while it is whole");
        target.write_to(request.headers_mut());
        request
    }

    /// Waits for the answer to what was taken. Says why there is none, and gives the
    /// request back if the connection gave it back unsent.
    pub(super) async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, SendError>>,
    ) -> Result<T, Unanswered> {
        let answer = match self.answer_max {
            Some(max) => match self.pace.patiently(max, answer).await {
                Ok(answer) => answer,
                Err(Silent) => return Err(Reason::Timeout.into()),
            },
            None => answer.await,
        };
        answer.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: SendError) -> Unanswered {
        let SendError { cause, unsent } = error;
        let unsent = unsent.or_else(|| self.refused(&cause));
        tracing::debug!(error = %cause, source = cause.source(), "request failed");
        let reason = match cause {
            _ if unsent.is_some() => Reason::ConnectFailed,
            _ if self.pace.is_stalled() => Reason::RequestStalled,
            Cause::Lost => Reason::Timeout,
            Cause::Broken(_) | Cause::Refused(_) => Reason::UpstreamReset,
            Cause::Interim(_) => Reason::UpstreamProtocol,
        };
        Unanswered { reason, unsent }
    }

    /// What the peer did not act on is as good as not sent, if there is a copy of it.
    fn refused(&self, cause: &Cause) -> Option<Box<Request<Body>>> {
        let spare = self.spare.clone();
        let spare = spare.filter(|_| matches!(cause, Cause::Refused(_)));
        spare.map(|spare| Box::new(spare.map(|()| Body::empty())))
    }

    /// Keeps a request that was given back. Says why it was not answered.
    pub(super) fn take_back(&mut self, unanswered: Unanswered) -> Reason {
        self.request = unanswered.unsent.map(|unsent| *unsent);
        unanswered.reason
    }

    /// The same request a second time, to be sent beside the first; none of one that
    /// must not be repeated.
    pub(super) fn again(&self) -> Option<Self> {
        let spare = self.spare.clone().filter(|_| self.can_repeat())?;
        Some(Self {
            request: Some(spare.clone().map(|()| Body::empty())),
            spare: Some(spare),
            pace: Pace::new(),
            answer_max: self.answer_max,
        })
    }

    /// Whether it can be sent: it was not, or was given back.
    pub(super) fn is_whole(&self) -> bool {
        self.request.is_some()
    }

    /// Whether sending it again does no harm.
    pub(super) fn can_repeat(&self) -> bool {
        let spare = self.spare.as_ref();
        spare.is_some_and(|spare| is_idempotent(spare.method()))
    }

    /// Makes it whole again from its spare.
    pub(super) fn repeat(&mut self) {
        let spare = self.spare.clone();
        self.request = spare.map(|spare| spare.map(|()| Body::empty()));
    }
}

/// Why there is no answer.
pub(super) struct Unanswered {
    pub(super) reason: Reason,
    /// The request, of which nothing was sent.
    unsent: Option<Box<Request<Body>>>,
}

impl From<Reason> for Unanswered {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            unsent: None,
        }
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

/// 32 hex digits. Names a request in logs; keeps no secret.
fn request_id(rng: &mut Rng) -> HeaderValue {
    HeaderValue::try_from(format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()))
        .expect("hex digits are visible ASCII")
}
