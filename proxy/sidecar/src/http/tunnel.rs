//! A stream of an HTTP/2 connection that carries bytes of another protocol.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http2::{Used, poll_room};
use crate::stream::Stream;

/// What CONNECT made of a stream. Its end is END_STREAM in each direction, its cut is a
/// reset (RFC 9113 §8.5).
pub(crate) struct Tunnel {
    send: SendStream<Bytes>,
    receive: RecvStream,
    unread: Bytes,
    is_ended: bool,
    _used: Option<Used>,
}

/// Most bytes of one write: what is copied at once.
const PIECE: usize = 16 << 10;

impl Tunnel {
    pub(super) fn new(send: SendStream<Bytes>, receive: RecvStream, used: Option<Used>) -> Self {
        Self {
            send,
            receive,
            unread: Bytes::new(),
            is_ended: false,
            _used: used,
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(piece)) => self.unread = piece,
                Some(Err(error)) => return Poll::Ready(Err(cut(error))),
                None => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn cut(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl Stream for Tunnel {
    fn reset(&mut self) {
        self.send.send_reset(Reason::CONNECT_ERROR);
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_piece(cx))?;
        let count = self.unread.len().min(into.remaining());
        into.put_slice(&self.unread.split_to(count));
        // Fails on a stream that is over: its window is of no use to anybody.
        let _ = self.receive.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(bytes.len().min(PIECE));
        ready!(poll_room(&mut self.send, cx)).map_err(cut)?;
        let count = bytes.len().min(PIECE).min(self.send.capacity());
        let piece = Bytes::copy_from_slice(&bytes[..count]);
        self.send.send_data(piece, false).map_err(cut)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_ended, true) {
            self.send.send_data(Bytes::new(), true).map_err(cut)?;
        }
        Poll::Ready(Ok(()))
    }
}
