//! Byte streams that can end in two ways.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

/// A byte stream between two processes.
///
/// It ends well by `shutdown` (a FIN, in TLS after a close_notify); or badly by
/// [`Stream::reset`] and drop, which the peer sees as a reset. Forwarding keeps
/// the two apart: a cut transfer must not look complete.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Makes the coming drop a reset (TCP: RST).
    fn reset(&mut self);

    /// The address at the other end, where the kind of stream knows one.
    fn peer(&self) -> Option<IpAddr> {
        None
    }
}

/// A stream of some kind.
pub type BoxStream = Box<dyn Stream>;

impl Stream for TcpStream {
    fn reset(&mut self) {
        // Fails only on a socket that is already closed: then there is nothing left to reset.
        let _ = socket2::SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer_addr().ok().map(|address| address.ip())
    }
}

#[cfg(test)]
impl Stream for tokio::io::DuplexStream {
    fn reset(&mut self) {}
}

impl Stream for BoxStream {
    fn reset(&mut self) {
        self.as_mut().reset();
    }
}

impl<S: Stream> Stream for client::TlsStream<S> {
    fn reset(&mut self) {
        self.get_mut().0.reset();
    }
}

impl<S: Stream> Stream for server::TlsStream<S> {
    fn reset(&mut self) {
        self.get_mut().0.reset();
    }
}
