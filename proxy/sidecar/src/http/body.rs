//! Bodies on their way through: never gathered, watched for their end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::activity::Exchange;
use super::incoming::{Incoming, IncomingError};
use super::pace::{Pace, Pacer};
use super::sanitize;

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// To its last byte; with gRPC's status if its trailers had one.
    Complete { grpc_status: Option<u8> },
    /// Its source failed.
    Failed,
    /// Its reader went away first.
    Dropped,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body's source failed")]
    Source(#[source] IncomingError),
    #[error("the client stopped sending the body")]
    Stalled,
}

impl BodyError {
    /// What a stream that the body went into is reset with.
    pub(super) fn reset(&self) -> Reason {
        let said = match self {
            Self::Source(IncomingError::Http2(error)) => error.reason(),
            Self::Source(IncomingError::Http1(_)) | Self::Stalled => None,
        };
        said.unwrap_or(Reason::INTERNAL_ERROR)
    }
}

/// Told once how a body ended.
pub(crate) type Watch = Box<dyn FnOnce(BodyEnd)>;

/// A body: forwarded, ours, or none.
pub(crate) struct Body {
    source: Source,
    watch: Option<Watch>,
    pacer: Option<Pacer>,
    exchange: Option<Exchange>,
}

enum Source {
    Forwarded(Incoming),
    Ours(Option<Bytes>),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self::ours(Bytes::new())
    }

    pub(crate) fn ours(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::from(Source::Ours((!bytes.is_empty()).then_some(bytes)))
    }

    pub(crate) fn forwarded(incoming: Incoming) -> Self {
        Self::from(Source::Forwarded(incoming))
    }

    /// Fails if the next piece takes longer than `max` once it is wanted.
    pub(crate) fn paced(mut self, pace: Pace, max: Option<Duration>) -> Self {
        self.pacer = Some(Pacer::new(pace, max));
        self
    }

    /// Tells `exchange` how the client takes it; the exchange ends with it.
    pub(super) fn during(mut self, exchange: Exchange) -> Self {
        exchange.offer();
        self.exchange = Some(exchange);
        self
    }

    /// Calls `watch` when the body ends, whichever way.
    pub(crate) fn watched(mut self, watch: Watch) -> Self {
        self.watch = Some(watch);
        self
    }

    fn end(&mut self, end: BodyEnd) {
        if let Some(watch) = self.watch.take() {
            watch(end);
        }
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.source {
            Source::Forwarded(incoming) => {
                http_body::Body::poll_frame(Pin::new(incoming), cx).map_err(BodyError::Source)
            }
            Source::Ours(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        };
        match (&mut self.pacer, &polled) {
            (Some(pacer), Poll::Pending) => {
                ready!(pacer.poll_stalled(cx));
                Poll::Ready(Some(Err(BodyError::Stalled)))
            }
            (Some(pacer), Poll::Ready(_)) => {
                pacer.moved();
                polled
            }
            (None, _) => polled,
        }
    }

    fn is_at_end(&self) -> bool {
        match &self.source {
            Source::Forwarded(incoming) => http_body::Body::is_end_stream(incoming),
            Source::Ours(bytes) => bytes.is_none(),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(exchange) = &self.exchange {
            exchange.taken();
        }
        let polled = self.poll_source(cx);
        if let (Some(exchange), Poll::Ready(_)) = (&self.exchange, &polled) {
            exchange.offer();
        }
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.end(BodyEnd::Complete { grpc_status: None });
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.end(BodyEnd::Failed);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(self.pass(frame)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Forwarded(incoming) => http_body::Body::size_hint(incoming),
            Source::Ours(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

impl Body {
    fn pass(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                sanitize(&mut trailers);
                self.end(BodyEnd::Complete {
                    grpc_status: grpc_status(&trailers),
                });
                Frame::trailers(trailers)
            }
            Err(frame) => {
                // A reader that saw the last byte may never poll again.
                if self.watch.is_some() && self.is_at_end() {
                    self.end(BodyEnd::Complete { grpc_status: None });
                }
                frame
            }
        }
    }
}

impl From<Source> for Body {
    fn from(source: Source) -> Self {
        Self {
            source,
            watch: None,
            pacer: None,
            exchange: None,
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let end = if self.is_at_end() {
            BodyEnd::Complete { grpc_status: None }
        } else {
            BodyEnd::Dropped
        };
        self.end(end);
    }
}

/// `grpc-status`, in trailers or in the head of a trailers-only answer.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
