//! A body as it comes from a peer, whichever version of HTTP brought it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};

use super::http2::Used;

/// What a peer sends after a head.
pub(crate) enum Incoming {
    /// Nothing.
    None,
    Http1(hyper::body::Incoming),
    Http2(Received),
}

/// The peer's connection or stream broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncomingError {
    #[error("reading HTTP/1 failed")]
    Http1(#[source] hyper::Error),
    #[error("reading an HTTP/2 stream failed")]
    Http2(#[source] h2::Error),
}

/// One direction of an HTTP/2 stream.
pub(crate) struct Received {
    stream: RecvStream,
    /// What the head said of its length; h2 holds the peer to it.
    left: Option<u64>,
    only_trailers: bool,
    _used: Option<Used>,
}

impl Incoming {
    /// What follows a head with these fields on `stream`.
    pub(super) fn http2(headers: &HeaderMap, stream: RecvStream, used: Option<Used>) -> Self {
        if stream.is_end_stream() {
            return Self::None;
        }
        let said = headers.get(CONTENT_LENGTH);
        Self::Http2(Received {
            left: said.and_then(|length| length.to_str().ok()?.parse().ok()),
            stream,
            only_trailers: false,
            _used: used,
        })
    }
}

impl Received {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.only_trailers {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // Fails on a stream that is over: its window is of no use to anybody.
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    self.left = self
                        .left
                        .map(|left| left.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(broken(error)),
                None => self.only_trailers = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => broken(error),
        })
    }
}

/// A peer that has answered may say that it wants no more of the request (RFC 9113 §8.1).
fn broken<T>(error: h2::Error) -> Option<Result<T, h2::Error>> {
    (error.reason() != Some(Reason::NO_ERROR)).then_some(Err(error))
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = IncomingError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        match &mut *self {
            Self::None => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(IncomingError::Http1),
            Self::Http2(body) => body.poll_frame(cx).map_err(IncomingError::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body
                .left
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
