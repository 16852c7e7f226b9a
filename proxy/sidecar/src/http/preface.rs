//! HTTP/1 or HTTP/2, told by a client's first bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::stream::Stream;

/// RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

/// Reads as many bytes as it takes to tell; the stream returned yields them again.
/// Waits for the first byte at most `first_max`, for the rest at most `rest_max`.
pub(crate) async fn detect<S: Stream>(
    mut inner: S,
    first_max: Duration,
    rest_max: Duration,
) -> io::Result<(Spoken, Rewound<S>)> {
    let mut seen = [0; PREFACE.len()];
    let mut len = timeout(first_max, inner.read(&mut seen)).await??;
    let rest = async {
        while len > 0 && len < PREFACE.len() && seen[..len] == PREFACE[..len] {
            match inner.read(&mut seen[len..]).await? {
                0 => break,
                read => len += read,
            }
        }
        io::Result::Ok(())
    };
    timeout(rest_max, rest).await??;
    let spoken = if seen == *PREFACE {
        Spoken::Http2
    } else {
        Spoken::Http1
    };
    Ok((spoken, Rewound::new(seen[..len].into(), inner)))
}

/// A stream that yields some bytes before its own.
pub(crate) struct Rewound<S> {
    before: bytes::Bytes,
    inner: S,
}

impl<S> Rewound<S> {
    pub(crate) fn new(before: Vec<u8>, inner: S) -> Self {
        Self {
            before: before.into(),
            inner,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, into);
        }
        let len = self.before.len().min(into.remaining());
        into.put_slice(&self.before.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
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
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for Rewound<S> {
    fn reset(&mut self) {
        self.inner.reset();
    }
}
