//! A client's stream as hyper may see it: unambiguous, and with heads in time.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::framing::Framing;
use super::interim::Line;
use crate::stream::Stream;

/// Passes bytes on as they come. Where [`Framing`] finds an ambiguity it ends the
/// stream with bytes that no head and no chunk may contain, so that hyper
/// answers 400, if it still can, and closes.
///
/// A head that began and does not end in time ends the stream too. hyper's own
/// timer would also run while a kept-alive connection waits for its next request.
///
/// Interim answers on its [`Line`] are written when it is flushed.
pub(crate) struct Strict<S> {
    inner: S,
    state: State,
    passage: Passage,
    line: Rc<Line>,
    head_max: Duration,
    head_deadline: Option<Pin<Box<Sleep>>>,
}

/// Opened once the connection carries another protocol: what follows is no HTTP
/// and passes unread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passage(Rc<Cell<bool>>);

impl Passage {
    pub(crate) fn open(&self) {
        self.0.set(true);
    }
}

enum State {
    Following(Framing),
    /// What is left to say before the end.
    Ending(&'static [u8]),
}

/// A NUL is allowed nowhere; the empty line makes hyper look.
const FORBIDDEN: &[u8] = b"\0\r\n\r\n";

impl<S> Strict<S> {
    /// `head_max`: longest time from a head's first byte to its last.
    pub(crate) fn new(inner: S, head_max: Duration) -> Self {
        Self {
            inner,
            state: State::Following(Framing::new()),
            passage: Passage::default(),
            line: Rc::default(),
            head_max,
            head_deadline: None,
        }
    }
}

impl<S> Strict<S> {
    /// The switch of this stream.
    pub(crate) fn passage(&self) -> Passage {
        self.passage.clone()
    }

    /// Where to put interim answers.
    pub(crate) fn line(&self) -> Rc<Line> {
        Rc::clone(&self.line)
    }

    /// Judges what was just read into `into` after its first `before` bytes.
    fn follow(&mut self, into: &mut ReadBuf<'_>, before: usize) {
        let State::Following(framing) = &mut self.state else {
            return;
        };
        if self.passage.0.get() {
            self.head_deadline = None;
            return;
        }
        if let Err(ambiguity) = framing.scan(&into.filled()[before..]) {
            tracing::debug!(%ambiguity, "request refused");
            into.set_filled(before);
            self.state = State::Ending(FORBIDDEN);
        } else if framing.is_in_head() {
            let head_max = self.head_max;
            self.head_deadline
                .get_or_insert_with(|| Box::pin(sleep(head_max)));
        } else {
            self.head_deadline = None;
        }
    }

    fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.head_deadline {
            Some(deadline) if !self.passage.0.get() => deadline.as_mut().poll(cx),
            _ => Poll::Pending,
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
        if let State::Following(_) = this.state {
            let before = into.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, into) {
                Poll::Ready(read) => {
                    read?;
                    this.follow(into, before);
                }
                Poll::Pending => {
                    ready!(this.poll_head_deadline(cx));
                    tracing::debug!("a head took too long");
                    this.state = State::Ending(&[]);
                }
            }
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
        // Whoever writes flushes when nothing of its own waits: between two messages, or
        // between an answer's pieces, when no interim answer waits any more.
        let this = &mut *self;
        let write = |bytes: &[u8]| Pin::new(&mut this.inner).poll_write(cx, bytes);
        ready!(this.line.poll_write(write))?;
        Pin::new(&mut this.inner).poll_flush(cx)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_head_that_stalls_ends_and_an_idle_connection_does_not() {
        let (mut client, server) = duplex(1024);
        let mut strict = Strict::new(server, SOON);
        let whole = b"GET / HTTP/1.1\r\n\r\n";
        client.write_all(whole).await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(strict.read(&mut buffer).await.unwrap(), whole.len());
        assert!(timeout(5 * SOON, strict.read(&mut buffer)).await.is_err());
        client.write_all(b"GET / HT").await.unwrap();
        assert_eq!(strict.read(&mut buffer).await.unwrap(), 8);
        let end = timeout(DEADLINE, strict.read(&mut buffer)).await.unwrap();
        assert_eq!(end.unwrap(), 0);
    }
}
