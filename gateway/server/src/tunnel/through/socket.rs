//! A stream of datagrams in the place of a UDP socket.
//!
//! A datagram that finds its queue full is dropped, as on any path: what is inside knows what to do
//! about it.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime,
    UdpPoller,
};
use tokio::sync::mpsc;

/// Datagrams that wait, in each direction.
const QUEUE: usize = 512;
/// A longer datagram is none of a QUIC connection's.
const DATAGRAM_MAX: usize = 9000;

/// What both ends are called inside (RFC 5737): neither has an address that the other knows.
pub(super) const PEER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 7443);
const OWN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 7443);

/// An endpoint whose datagrams go by a stream, and what carries them; it ends with the stream.
pub(super) fn endpoint(
    send: SendStream,
    recv: RecvStream,
    server: Option<ServerConfig>,
) -> io::Result<(Endpoint, impl Future<Output = ()> + Send)> {
    let (out, outgoing) = mpsc::channel(QUEUE);
    let (arrived, incoming) = mpsc::channel(QUEUE);
    let socket = StreamSocket {
        out,
        incoming: Mutex::new(incoming),
    };
    let config = EndpointConfig::default();
    let runtime = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new_with_abstract_socket(config, server, Arc::new(socket), runtime)?;
    let carry = async move {
        tokio::select! {
            () = write(send, outgoing) => {}
            () = read(recv, arrived) => {}
        }
    };
    Ok((endpoint, carry))
}

async fn write(mut send: SendStream, mut outgoing: mpsc::Receiver<Bytes>) {
    while let Some(datagram) = outgoing.recv().await {
        let Ok(length) = u16::try_from(datagram.len()) else {
            continue;
        };
        let length = Bytes::copy_from_slice(&length.to_be_bytes());
        if send
            .write_all_chunks(&mut [length, datagram])
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn read(mut recv: RecvStream, arrived: mpsc::Sender<Bytes>) {
    loop {
        let mut length = [0; 2];
        if recv.read_exact(&mut length).await.is_err() {
            return;
        }
        let length = usize::from(u16::from_be_bytes(length));
        if length > DATAGRAM_MAX {
            return;
        }
        let mut datagram = BytesMut::zeroed(length);
        if recv.read_exact(&mut datagram).await.is_err() {
            return;
        }
        if let Err(mpsc::error::TrySendError::Closed(_)) = arrived.try_send(datagram.freeze()) {
            return;
        }
    }
}

struct StreamSocket {
    out: mpsc::Sender<Bytes>,
    incoming: Mutex<mpsc::Receiver<Bytes>>,
}

impl fmt::Debug for StreamSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamSocket")
    }
}

impl AsyncUdpSocket for StreamSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // Full or closed: dropped.
        let _ = self.out.try_send(Bytes::copy_from_slice(transmit.contents));
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let room = bufs.len().min(meta.len());
        let mut filled = 0;
        while filled < room {
            let datagram = match incoming.poll_recv(cx) {
                Poll::Ready(Some(datagram)) => datagram,
                // The stream has ended; whoever carries it closes the connection.
                Poll::Ready(None) | Poll::Pending => break,
            };
            let length = datagram.len();
            let Some(room) = bufs[filled].get_mut(..length) else {
                continue;
            };
            room.copy_from_slice(&datagram);
            meta[filled] = RecvMeta {
                addr: PEER,
                len: length,
                stride: length,
                ecn: None,
                dst_ip: None,
            };
            filled += 1;
        }
        match filled {
            0 => Poll::Pending,
            filled => Poll::Ready(Ok(filled)),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(OWN)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
