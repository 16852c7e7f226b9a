//! An HTTP/2 client's stream as h2 may see it: without excess, and with heads in time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::frames::Frames;
use crate::stream::Stream;

/// Passes bytes on as they come. Where [`Frames`] finds an excess, or a header
/// block that began does not end in time, the stream fails, and with it the
/// connection.
pub(crate) struct Guard<S> {
    inner: S,
    frames: Frames,
    start: Instant,
    block_max: Duration,
    block_deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Guard<S> {
    /// `block_max`: longest time from a header block's first frame to its last.
    pub(crate) fn new(inner: S, block_max: Duration) -> Self {
        Self {
            inner,
            frames: Frames::new(),
            start: Instant::now(),
            block_max,
            block_deadline: None,
        }
    }

    fn follow(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frames
            .scan(self.start.elapsed(), bytes)
            .map_err(|excess| {
                tracing::info!(%excess, "client cut off");
                io::Error::new(io::ErrorKind::ConnectionAborted, excess)
            })?;
        if self.frames.is_in_block() {
            let block_max = self.block_max;
            self.block_deadline
                .get_or_insert_with(|| Box::pin(sleep(block_max)));
        } else {
            self.block_deadline = None;
        }
        Ok(())
    }

    fn wrote(&mut self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = wrote {
            self.frames.wrote(count);
        }
        wrote
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, into) {
            Poll::Ready(read) => {
                read?;
                Poll::Ready(this.follow(&into.filled()[before..]))
            }
            Poll::Pending => match &mut this.block_deadline {
                None => Poll::Pending,
                Some(deadline) => {
                    ready!(deadline.as_mut().poll(cx));
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
            },
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.wrote(wrote)
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

impl<S: Stream> Stream for Guard<S> {
    fn reset(&mut self) {
        self.inner.reset();
    }
}
