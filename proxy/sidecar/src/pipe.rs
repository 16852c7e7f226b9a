//! Bytes from one stream to another, both ways.
//!
//! Each direction has one buffer that begins at 1 KiB and grows to 16 and 256 KiB
//! while reads fill it, so that ten thousand idle connections stay cheap and a
//! bulk transfer needs few calls. A direction reads only when its buffer is empty:
//! a slow reader slows its writer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Stream;

/// What went over a connection.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// Bytes from the first stream to the second.
    pub(crate) forward: u64,
    /// Bytes from the second to the first.
    pub(crate) backward: u64,
    /// Whether both ends finished.
    pub(crate) end: io::Result<()>,
}

/// Copies until both directions finished or one failed. An end of one direction
/// is passed on as such, and the other goes on (half-close). A failure resets both.
pub(crate) async fn pipe<A: Stream, B: Stream>(a: &mut A, b: &mut B) -> Transfer {
    pipe_until(a, b, std::future::pending()).await
}

/// The same until `cut` resolves, which is a failure.
pub(crate) async fn pipe_until<A: Stream, B: Stream>(
    a: &mut A,
    b: &mut B,
    cut: impl Future<Output = ()>,
) -> Transfer {
    let mut forward = Pump::new();
    let mut backward = Pump::new();
    let mut cut = std::pin::pin!(cut);
    let end = poll_fn(|cx| {
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let there = forward.poll(cx, a, b)?;
        let back = backward.poll(cx, b, a)?;
        if there.is_ready() && back.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await;
    if end.is_err() {
        a.reset();
        b.reset();
    }
    Transfer {
        forward: forward.moved,
        backward: backward.moved,
        end,
    }
}

const SIZES: [usize; 3] = [1 << 10, 16 << 10, 256 << 10];

enum State {
    Copying,
    Closing,
    Done,
}

struct Pump {
    state: State,
    buffer: Box<[u8]>,
    size: usize,
    start: usize,
    end: usize,
    unflushed: bool,
    moved: u64,
}

impl Pump {
    fn new() -> Self {
        Self {
            state: State::Copying,
            buffer: Box::default(),
            size: 0,
            start: 0,
            end: 0,
            unflushed: false,
            moved: 0,
        }
    }

    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self.state {
                State::Copying => {
                    if self.start == self.end && !ready!(self.poll_fill(cx, from, to))? {
                        self.state = State::Closing;
                        self.buffer = Box::default();
                        continue;
                    }
                    ready!(self.poll_drain(cx, to))?;
                }
                State::Closing => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads once into the empty buffer. False at the end of the stream.
    fn poll_fill<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<bool>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.buffer.len() != SIZES[self.size] {
            self.buffer = vec![0; SIZES[self.size]].into_boxed_slice();
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        match Pin::new(from).poll_read(cx, &mut buffer) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                // Nothing more comes for now: what was written must not wait in a TLS buffer.
                if self.unflushed {
                    ready!(Pin::new(to).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        let read = buffer.filled().len();
        (self.start, self.end) = (0, read);
        if read == SIZES[self.size] {
            self.size = (self.size + 1).min(SIZES.len() - 1);
        } else if self.size > 0 && read < SIZES[self.size - 1] / 2 {
            self.size -= 1;
        }
        Poll::Ready(Ok(read > 0))
    }

    fn poll_drain<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.start < self.end {
            let wrote =
                ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.start..self.end]))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += wrote;
            self.moved += wrote as u64;
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }
}
