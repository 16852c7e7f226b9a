//! A body into an HTTP/2 stream, as fast as its window lets it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body as _;

use super::link::Used;
use crate::http::Body;

/// Sends one body to its end. Ends early if the peer resets the stream; resets it itself
/// if the body breaks off.
pub(super) struct Pump {
    body: Body,
    stream: SendStream<Bytes>,
    /// A piece that waits for room, and whether it is the last.
    held: Option<(Bytes, bool)>,
    _used: Option<Used>,
}

/// The stream takes no more.
type Closed = h2::Error;

impl Pump {
    pub(super) fn new(body: Body, stream: SendStream<Bytes>, used: Option<Used>) -> Self {
        Self {
            body,
            stream,
            held: None,
            _used: used,
        }
    }

    fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        loop {
            if let Poll::Ready(reason) = self.stream.poll_reset(cx)? {
                return Poll::Ready(Err(reason.into()));
            }
            if self.held.is_some() {
                ready!(poll_room(&mut self.stream, cx))?;
                if let Some((piece, is_last)) = self.held.take() {
                    self.stream.send_data(piece, is_last)?;
                    if is_last {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            // A piece first, then room for it: room that is asked for and not used is kept
            // from the other streams.
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(self.stream.send_data(Bytes::new(), true)),
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a body broke off");
                    self.stream.send_reset(error.reset());
                    return Poll::Ready(Ok(()));
                }
            };
            match frame.into_data() {
                Ok(piece) => {
                    let is_last = self.body.is_end_stream();
                    if !piece.is_empty() {
                        self.stream.reserve_capacity(1);
                        self.held = Some((piece, is_last));
                    } else if is_last {
                        return Poll::Ready(self.stream.send_data(piece, true));
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.stream.reserve_capacity(0);
                        return Poll::Ready(self.stream.send_trailers(trailers));
                    }
                }
            }
        }
    }
}

/// Ready once the stream has room for at least one byte.
pub(in crate::http) fn poll_room(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => return Poll::Ready(Err(h2::Reason::STREAM_CLOSED.into())),
        }
    }
    Poll::Ready(Ok(()))
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_pump(cx).map(|pumped| {
            if let Err(error) = pumped {
                tracing::debug!(%error, "a stream ended before its body");
            }
        })
    }
}
