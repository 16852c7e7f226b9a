//! The near side: from a sidecar's TCP connection into a tunnel.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;
use weft_decide::Reason;
use weft_model::SpiffeId;
use weft_proto::peer::RelayStream;
use weft_proxy::preamble::Unproven;

use super::limits::Permit;
use super::pump::pump;
use super::{Relay, Target};
use crate::tunnel::PeerStream;

/// Accepts on `worker`'s share of the port until the tunnels drain.
pub(super) async fn accept(relay: Arc<Relay>, worker: usize, listener: TcpListener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let accepted = tokio::select! {
            () = relay.tunnels.draining() => return,
            accepted = listener.accept() => accepted,
        };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                tracing::warn!(%error, "accepting a relay connection failed");
                // Out of descriptors, most likely: let connections end.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(stranger) = Arc::clone(&strangers).try_acquire_owned() else {
            relay.metrics.refused(Reason::Overload);
            continue;
        };
        let relay = Arc::clone(&relay);
        spawn_local(async move {
            let mut tcp = tcp;
            let introduced = relay.introduce(&mut tcp).await;
            drop(stranger);
            relay.serve(worker, tcp, introduced).await;
        });
    }
}

/// A caller that has proven itself and may go where it wants.
struct Introduced {
    caller: SpiffeId,
    header: RelayStream,
    target: Target,
    _permit: Permit,
}

impl Relay {
    /// Reads and judges the preamble.
    async fn introduce(&self, tcp: &mut TcpStream) -> Result<Introduced, Reason> {
        // Latency matters more than packets; a socket that refuses is about to fail anyway.
        let _ = tcp.set_nodelay(true);
        let preamble = match timeout(PREAMBLE, Unproven::read(tcp)).await {
            Ok(Ok(preamble)) => preamble,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a preamble could not be read");
                return Err(Reason::BadPreamble);
            }
            Err(_) => return Err(Reason::Timeout),
        };
        let (caller, header) = self.sessions.admit(&preamble)?;
        let target = (self.authorise)(&caller, &header)?;
        let permit = self
            .near
            .admit(&caller.trust_domain)
            .ok_or(Reason::Overload)?;
        Ok(Introduced {
            caller,
            header,
            target,
            _permit: permit,
        })
    }

    /// Connects an introduced caller, tells it the outcome, and carries its bytes.
    async fn serve(
        &self,
        worker: usize,
        mut tcp: TcpStream,
        introduced: Result<Introduced, Reason>,
    ) {
        let connected = match &introduced {
            Ok(introduced) => self.connect(worker, introduced).await,
            Err(reason) => Err(*reason),
        };
        let stream = match connected {
            Ok(stream) => stream,
            Err(reason) => return self.refuse(tcp, reason).await,
        };
        let _open = self.metrics.opened();
        let result = match tcp.write_all(&[Reason::CONNECTED]).await {
            Ok(()) => pump(tcp, stream, self.idle, &self.metrics).await,
            Err(_) => return abandon(stream),
        };
        if let (Err(error), Ok(introduced)) = (result, &introduced) {
            tracing::debug!(caller = %introduced.caller, %error, "a relayed connection was cut");
        }
    }

    /// Opens a stream to a gateway of the target's cluster; where the gateway
    /// cannot serve for its own reasons, another one gets its turn.
    async fn connect(&self, worker: usize, introduced: &Introduced) -> Result<PeerStream, Reason> {
        let mut last = Reason::NoPath;
        for _ in 0..TRIES {
            match self.try_connect(worker, introduced).await {
                Ok(stream) => return Ok(stream),
                Err(Failure::Final(reason)) => return Err(reason),
                Err(Failure::OfGateway(reason)) => last = reason,
            }
        }
        Err(last)
    }

    async fn try_connect(
        &self,
        worker: usize,
        introduced: &Introduced,
    ) -> Result<PeerStream, Failure> {
        let header = introduced.header.clone();
        let cluster = &introduced.target.cluster;
        let opened = timeout(OPEN, self.tunnels.open_relay(worker, cluster, header));
        let mut stream = match opened.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%cluster, %error, "a relay stream could not be opened");
                return Err(Failure::OfGateway(Reason::NoPath));
            }
            Err(_) => return Err(Failure::OfGateway(Reason::NoPath)),
        };
        // It fails only on a stream that has ended, and then the read fails too.
        let _ = stream.send.set_priority(priority(&introduced.header));
        let mut status = [0];
        let answered = timeout(STATUS, stream.recv.read_exact(&mut status)).await;
        let failure = match answered {
            Ok(Ok(())) => match Reason::from_wire(status[0]) {
                Ok(()) => return Ok(stream),
                Err(reason) if is_of_gateway(reason) => Failure::OfGateway(reason),
                Err(reason) => Failure::Final(reason),
            },
            Ok(Err(_)) => Failure::OfGateway(Reason::NoPath),
            Err(_) => Failure::Final(Reason::Timeout),
        };
        abandon(stream);
        Err(failure)
    }

    /// Says why, and closes so that the byte arrives: unread input would turn
    /// the close into a RST that overtakes it.
    async fn refuse(&self, mut tcp: TcpStream, reason: Reason) {
        self.metrics.refused(reason);
        let last_words = async {
            tcp.write_all(&[reason.to_wire()]).await?;
            tcp.shutdown().await?;
            let mut rest = (&mut tcp).take(UNREAD_MAX);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        let _ = timeout(LAST_WORDS, last_words).await;
    }
}

/// Why a try came to nothing, and whether another gateway may do better.
enum Failure {
    OfGateway(Reason),
    Final(Reason),
}

/// Whether another gateway of the same cluster may do better.
fn is_of_gateway(reason: Reason) -> bool {
    matches!(reason, Reason::Draining | Reason::Overload)
}

/// Resets a stream that nobody will use: dropped, it would end as if all had been said.
fn abandon(mut stream: PeerStream) {
    let _ = stream.send.reset(ABANDONED);
    let _ = stream.recv.stop(ABANDONED);
}

/// A connection's priority among the streams of its tunnel connection; higher goes first.
fn priority(header: &RelayStream) -> i32 {
    i32::try_from(header.priority.min(PRIORITY_MAX)).unwrap_or(0)
}

const ABANDONED: quinn::VarInt = quinn::VarInt::from_u32(3);
const PRIORITY_MAX: u32 = 7;
/// How long a preamble may take.
const PREAMBLE: Duration = Duration::from_secs(5);
/// How long opening a stream may take: it waits while the peer allows no more.
const OPEN: Duration = Duration::from_secs(5);
/// How long the far gateway may take to connect, including the way there and back.
const STATUS: Duration = Duration::from_secs(10);
/// How many gateways are asked.
const TRIES: usize = 3;
/// Connections per worker whose preamble has not been judged.
const STRANGERS_MAX: usize = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long, and for how many bytes, a refused caller is listened to.
const LAST_WORDS: Duration = Duration::from_secs(1);
const UNREAD_MAX: u64 = 64 << 10;
