//! A client's stream whose ambiguous requests turn into malformed ones.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;
use crate::stream::Stream;

/// Passes bytes on as they come. Where [`Framing`] finds an ambiguity it ends the
/// stream with bytes that no head and no chunk may contain, so that hyper
/// answers 400, if it still can, and closes.
pub(crate) struct Strict<S> {
    inner: S,
    state: State,
}

enum State {
    Following(Framing),
    /// What is left to say before the end.
    Ending(&'static [u8]),
}

/// A NUL is allowed nowhere; the empty line makes hyper look.
const FORBIDDEN: &[u8] = b"\0\r\n\r\n";

impl<S> Strict<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            state: State::Following(Framing::new()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let State::Following(framing) = &mut this.state {
            let before = into.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, into))?;
            let Err(ambiguity) = framing.scan(&into.filled()[before..]) else {
                return Poll::Ready(Ok(()));
            };
            tracing::debug!(%ambiguity, "request refused");
            into.set_filled(before);
            this.state = State::Ending(FORBIDDEN);
        }
        if let State::Ending(left) = &mut this.state {
            let (now, later) = left.split_at(left.len().min(into.remaining()));
            into.put_slice(now);
            *left = later;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for Strict<S> {
    fn reset(&mut self) {
        self.inner.reset();
    }
}
