//! The relay's sockets: reading when ready, sending at once or not at all.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

/// Asked of the kernel, which caps it at `net.core.rmem_max`. A window of a fast
/// connection arrives in one burst.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// A non-blocking socket bound to `address`. Needs a tokio runtime around it.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// A socket that speaks for a client: from `source`, to `target` and nobody else.
pub(super) fn connect(source: IpAddr, target: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bind(SocketAddr::new(source, 0))?;
    SockRef::from(&socket).connect(&target.into())?;
    Ok(socket)
}

/// The next datagram's length and sender; `None` if there is none at present.
///
/// # Errors
/// Those of the socket itself.
pub(super) fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<Option<(usize, SocketAddr)>> {
    loop {
        match socket.try_recv_from(buffer) {
            Ok(received) => return Ok(Some(received)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // Reading it has cleared it.
            Err(error) if is_peer_report(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether an error tells of an earlier packet's fate (an ICMP message that came
/// back), not of the socket.
fn is_peer_report(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable
    )
}

/// A datagram under way, with the way out of the relay.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) out: Arc<UdpSocket>,
    pub(super) to: SocketAddr,
    pub(super) payload: Arc<[u8]>,
}

impl Packet {
    /// Length of the IP packet that carries it.
    pub(super) fn wire_bytes(&self) -> usize {
        let headers = if self.to.is_ipv4() { 20 + 8 } else { 40 + 8 };
        headers + self.payload.len()
    }

    /// Sends it. Does not go through tokio's readiness, which says "would block"
    /// on a new socket until the reactor has turned once.
    ///
    /// # Errors
    /// The kernel's; a full send buffer among them.
    pub(super) fn send(&self) -> io::Result<()> {
        let socket = SockRef::from(&*self.out);
        let to = self.to.into();
        let sent = match socket.send_to(&self.payload, &to) {
            // Was stored by an earlier packet and kept this one from leaving.
            Err(error) if is_peer_report(&error) => socket.send_to(&self.payload, &to),
            sent => sent,
        };
        sent.map(|_| ())
    }
}

/// Yields `port` whenever its socket can be read; ends when told to.
///
/// Readiness stays until a read would block, so a port that was not drained
/// comes up again, after the others.
#[derive(Debug)]
pub(super) struct Readiness<P> {
    pub(super) port: P,
    pub(super) socket: Arc<UdpSocket>,
    /// Ends the stream when the other half is dropped.
    pub(super) closed: oneshot::Receiver<()>,
}

impl<P: Copy + Unpin> Stream for Readiness<P> {
    type Item = (P, io::Result<()>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if Pin::new(&mut self.closed).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let result = ready!(self.socket.poll_recv_ready(cx));
        Poll::Ready(Some((self.port, result)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends from a socket that has just learnt that its peer is not there.
    #[tokio::test]
    async fn a_refusal_keeps_no_later_packet_from_coming_or_going() {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = peer.local_addr().unwrap();
        let out = Arc::new(connect(to.ip(), to).unwrap());
        let packet = Packet {
            out: Arc::clone(&out),
            to,
            payload: Arc::from(&b"hello"[..]),
        };
        drop(peer);
        // On loopback the refusal is back before `send` returns.
        packet.send().unwrap();
        packet.send().unwrap();

        let peer = UdpSocket::bind(to).await.unwrap();
        let mut buffer = [0; 16];
        peer.send_to(b"back", out.local_addr().unwrap())
            .await
            .unwrap();
        out.readable().await.unwrap();
        assert_eq!(receive(&out, &mut buffer).unwrap(), Some((4, to)));
        assert_eq!(receive(&out, &mut buffer).unwrap(), None);

        packet.send().unwrap();
        assert_eq!(peer.recv(&mut buffer).await.unwrap(), 5);
    }
}
