//! Captured questions, passed on to the cluster's gateways.
//!
//! Bytes go through as they are. The gateway that answered last is asked first, and
//! one that does not answer in time, or whose machine says that nobody listens,
//! gives way to the next. If none answers, the program hears SERVFAIL at once rather
//! than nothing: the sidecar knows no names itself.

mod message;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, UdpSocket as StdSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{Capture, CaptureDns};
use crate::data_plane::StartError;
use crate::pipe::pipe;
use crate::stream::Stream;
use crate::worker::ACCEPT_PAUSE;

/// How long one gateway may take. Resolvers ask again after 5 s: two gateways that
/// are silent, and a third that answers, have to fit in.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long a TCP connection may last: a resolver ends it after a few questions.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// Questions and connections at a time. What comes beyond is dropped, and asked again.
const AT_ONCE: usize = 512;
/// The longest message over UDP; gateways say 1,232 at most.
const UDP_MAX: usize = 4096;

/// The running forwarder. Dropped, it ends.
pub(crate) struct Forwarder {
    _tasks: JoinSet<()>,
}

/// What every question needs.
struct Asker {
    servers: Vec<SocketAddr>,
    /// Which of them answered last.
    preferred: AtomicUsize,
    places: Arc<Semaphore>,
}

impl Forwarder {
    /// Binds and serves on the current runtime; none where DNS is not captured.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub(crate) fn start(capture: &Capture) -> Result<Option<Self>, StartError> {
        match &capture.dns {
            Some(dns) => Self::listen(dns, capture.dns_listeners()).map(Some),
            None => Ok(None),
        }
    }

    fn listen(dns: &CaptureDns, listeners: Vec<SocketAddr>) -> Result<Self, StartError> {
        let asker = Arc::new(Asker {
            servers: dns.servers.clone(),
            preferred: AtomicUsize::new(0),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        });
        let mut tasks = JoinSet::new();
        for address in listeners {
            let bind = |source| StartError::Bind {
                what: "the capture of DNS",
                address,
                source,
            };
            tasks.spawn(Arc::clone(&asker).serve_udp(udp(address).map_err(bind)?));
            tasks.spawn(Arc::clone(&asker).serve_tcp(tcp(address).map_err(bind)?));
        }
        Ok(Self { _tasks: tasks })
    }
}

fn udp(address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let socket = StdSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket).map(Arc::new)
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    // Port and options as the standard library has them: with SO_REUSEADDR on Linux.
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

impl Asker {
    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut running = JoinSet::new();
        let mut buffer = vec![0; UDP_MAX];
        loop {
            while running.try_join_next().is_some() {}
            let (len, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::warn!(%error, "captured DNS cannot be read");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                continue;
            };
            let (asker, socket) = (Arc::clone(&self), Arc::clone(&socket));
            let query = buffer[..len].to_vec();
            running.spawn(async move {
                let answer = match asker.ask(&query).await {
                    Some(answer) => Some(answer),
                    None => message::servfail(&query),
                };
                if let Some(answer) = answer {
                    // A client that is gone needs none.
                    let _ = socket.send_to(&answer, client).await;
                }
                drop(place);
            });
        }
    }

    /// The first answer of a gateway; none if all are silent.
    async fn ask(&self, query: &[u8]) -> Option<Vec<u8>> {
        for (at, server) in self.in_turn() {
            match timeout(ANSWER_MAX, exchange(query, server)).await {
                Ok(Ok(answer)) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Some(answer);
                }
                Ok(Err(error)) => tracing::debug!(%server, %error, "no answer"),
                Err(_) => tracing::debug!(%server, "no answer in time"),
            }
        }
        tracing::warn!("no gateway answers captured DNS");
        None
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            let client = match listener.accept().await {
                Ok((client, _)) => client,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                continue;
            };
            let asker = Arc::clone(&self);
            running.spawn(async move {
                let carried = asker.carry(client);
                // One that outlasts its time is cut; its resolver opens another.
                let _ = timeout(CONNECTION_MAX, carried).await;
                drop(place);
            });
        }
    }

    async fn carry(&self, mut client: TcpStream) {
        for (at, server) in self.in_turn() {
            if let Ok(Ok(mut gateway)) = timeout(ANSWER_MAX, TcpStream::connect(server)).await {
                self.preferred.store(at, Ordering::Relaxed);
                pipe(&mut client, &mut gateway).await;
                return;
            }
        }
        tracing::warn!("no gateway takes captured DNS over TCP");
        client.reset();
    }

    /// Every server once, the one that answered last first.
    fn in_turn(&self) -> impl Iterator<Item = (usize, SocketAddr)> + '_ {
        let first = self.preferred.load(Ordering::Relaxed);
        let count = self.servers.len();
        let order = (0..count).map(move |step| (first + step) % count);
        order.map(|at| (at, self.servers[at]))
    }
}

/// One question on a socket of its own: only `server` can answer on it, and its
/// port is as hard to guess as the system makes it.
async fn exchange(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; UDP_MAX];
    loop {
        let len = socket.recv(&mut answer).await?;
        if message::answers(&answer[..len], query) {
            answer.truncate(len);
            return Ok(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    /// `?` for `a.` A, id 7.
    const QUERY: &[u8] =
        b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";

    /// A server that says one byte more than it was asked.
    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
                let mut answer = buffer[..len].to_vec();
                answer[2] |= 0x80;
                answer.push(0xee);
                socket.send_to(&answer, client).await.unwrap();
            }
        });
        at
    }

    async fn ask(servers: Vec<SocketAddr>) -> Vec<u8> {
        // A port that UDP has free may be taken for TCP: then the next.
        let listen = || {
            let free = StdSocket::bind("127.0.0.1:0").ok()?.local_addr().ok()?;
            let dns = CaptureDns {
                servers: servers.clone(),
                port: NonZeroU16::new(free.port())?,
            };
            Some((free, Forwarder::listen(&dns, vec![free]).ok()?))
        };
        let (free, _forwarder) = (0..16).find_map(|_| listen()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(QUERY, free).await.unwrap();
        let mut answer = vec![0; 512];
        let received = timeout(Duration::from_secs(30), client.recv(&mut answer)).await;
        answer.truncate(received.unwrap().unwrap());
        answer
    }

    #[tokio::test]
    async fn a_gateway_that_is_away_gives_way_to_the_next() {
        let away = StdSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let answer = ask(vec![away, server().await]).await;
        assert_eq!(answer.len(), QUERY.len() + 1);
    }

    #[tokio::test]
    async fn without_any_gateway_the_answer_is_servfail() {
        let away = StdSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let answer = ask(vec![away]).await;
        assert_eq!(&answer[..4], b"\x00\x07\x81\x02");
    }
}
