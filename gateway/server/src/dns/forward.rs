//! Asks upstream servers for names that are not ours (RFC 5452 on what to believe).

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use weft_plan::dns::wire::{Query, UDP_MAX};

use super::responder::Transport;

/// How long one server gets. Resolvers on hosts wait 5 s in all, so two tries fit.
const TRY: Duration = Duration::from_secs(2);
/// The fewest tries, when there are fewer servers.
const TRIES_MIN: usize = 2;
/// The most tries, so that the client still waits.
const TRIES_MAX: usize = 3;
/// Queries upstream at once, each a socket.
const IN_FLIGHT_MAX: usize = 256;
/// Room for a response over UDP.
const RESPONSE_MAX: usize = 4096;
const HEADER: usize = 12;
const TRUNCATED: u8 = 0x02;

/// Why a query was not answered by another server.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("too many queries wait for other servers")]
    Busy,
    #[error("none of {0} upstream servers answered")]
    Unanswered(usize),
}

/// Upstream servers and the queries that are with them.
pub(super) struct Forwarder {
    upstreams: Vec<SocketAddr>,
    in_flight: Semaphore,
    /// Local port and id of each query that is out, to know it when it comes back.
    own: Mutex<BTreeSet<(u16, u16)>>,
}

impl Forwarder {
    pub(super) fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            upstreams,
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            own: Mutex::default(),
        }
    }

    pub(super) fn has_upstreams(&self) -> bool {
        !self.upstreams.is_empty()
    }

    /// Whether a query from this port with this id is one of ours that is out: some
    /// upstream is, in the end, this server.
    pub(super) fn is_own(&self, port: u16, id: u16) -> bool {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.contains(&(port, id))
    }

    /// Asks one server after the other; gives the first useful response, with the
    /// query's id.
    pub(super) async fn forward(
        &self,
        query: &Query<'_>,
        transport: Transport,
    ) -> Result<Vec<u8>, ForwardError> {
        let _permit = self
            .in_flight
            .try_acquire()
            .map_err(|_| ForwardError::Busy)?;
        let tries = self.upstreams.len().clamp(TRIES_MIN, TRIES_MAX);
        let mut last = None;
        for upstream in self.upstreams.iter().cycle().take(tries) {
            let asked = Asked::of(query);
            let Ok(Ok(response)) = timeout(TRY, self.exchange(*upstream, &asked, transport)).await
            else {
                continue;
            };
            let useful = !matches!(response[3] & 0xf, 2 | 5);
            last = Some(response);
            if useful {
                break;
            }
        }
        let mut response = last.ok_or(ForwardError::Unanswered(self.upstreams.len()))?;
        response[..2].copy_from_slice(&query.packet()[..2]);
        Ok(response)
    }

    /// Asks by UDP. Whoever asked us by TCP gets what UDP cannot carry; others come
    /// back by TCP by themselves.
    async fn exchange(
        &self,
        upstream: SocketAddr,
        asked: &Asked,
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let response = self.by_udp(upstream, asked).await?;
        if response[2] & TRUNCATED != 0 && transport == Transport::Tcp {
            return self.by_tcp(upstream, asked).await;
        }
        Ok(response)
    }

    async fn by_udp(&self, upstream: SocketAddr, asked: &Asked) -> io::Result<Vec<u8>> {
        let any: SocketAddr = match upstream {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // A socket for each query: the system draws its port, and only the upstream
        // can send to it.
        let socket = UdpSocket::bind(any).await?;
        socket.connect(upstream).await?;
        let _out = self.mark(socket.local_addr()?.port(), asked);
        socket.send(&asked.message).await?;
        let mut buffer = vec![0; RESPONSE_MAX];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if asked.is_answered_by(&buffer[..length]) {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }

    async fn by_tcp(&self, upstream: SocketAddr, asked: &Asked) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(upstream).await?;
        let _out = self.mark(stream.local_addr()?.port(), asked);
        let length = asked.message.len() as u16;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&asked.message).await?;
        let mut response = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut response).await?;
        match asked.is_answered_by(&response) {
            true => Ok(response),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn mark(&self, port: u16, asked: &Asked) -> Out<'_> {
        let place = (port, asked.id);
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.insert(place);
        Out {
            forwarder: self,
            place,
        }
    }
}

/// A query that is out, until this is dropped.
struct Out<'f> {
    forwarder: &'f Forwarder,
    place: (u16, u16),
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        let own = &self.forwarder.own;
        own.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.place);
    }
}

/// A query as it goes to other servers.
struct Asked {
    id: u16,
    message: Vec<u8>,
    question_end: usize,
}

impl Asked {
    /// The client's question with an id of our own, and without its options: cookies
    /// and the like are between neighbours (RFC 6891 §6.1.1, RFC 7873 §4).
    fn of(query: &Query<'_>) -> Self {
        let id: u16 = rand::random();
        let question_end = query.question_end();
        let mut message = query.packet()[..question_end].to_vec();
        message[..2].copy_from_slice(&id.to_be_bytes());
        message[10..12].fill(0);
        if let Some(edns) = query.edns() {
            message[11] = 1;
            message.extend([0, 0, 41]);
            message.extend((UDP_MAX as u16).to_be_bytes());
            message.extend([0, 0, u8::from(edns.dnssec_ok) << 7, 0, 0, 0]);
        }
        Self {
            id,
            message,
            question_end,
        }
    }

    /// Whether this is a response to just this query.
    fn is_answered_by(&self, response: &[u8]) -> bool {
        let Some(question) = response.get(HEADER..self.question_end) else {
            return false;
        };
        response[..2] == self.id.to_be_bytes()
            && response[2] & 0xf8 == 0x80
            && response[4..6] == [0, 1]
            && question.eq_ignore_ascii_case(&self.message[HEADER..self.question_end])
    }
}
