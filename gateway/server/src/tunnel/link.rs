//! One established connection to a peer gateway.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use weft_model::{ClusterName, NodeId, SpiffeId};
use weft_proto::peer::StreamHeader;

use super::config::SILENCE;
use super::frame;
use super::hello::Purpose;

/// Which side dialled a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Dialled {
    Here,
    There,
}

/// What a connection is: fixed once the hello is judged.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterName,
    pub(super) id: SpiffeId,
    pub(super) incarnation: u64,
    pub(super) purpose: Purpose,
    pub(super) dialled: Dialled,
    /// The dialler's worker.
    pub(super) worker: usize,
    /// From the first packet until the hello was judged, on this side.
    pub(super) handshake: Duration,
    /// Who carries it, if it does not go directly.
    pub(super) through: Option<NodeId>,
}

/// A connection after its hello.
pub(super) struct Link {
    pub(super) origin: Origin,
    /// Counts up in this process: the later of two links of a kind is in use.
    pub(super) sequence: u64,
    pub(super) connection: Connection,
    draining: AtomicBool,
    /// Nothing new should be begun on it: its peer drains, or another took its place.
    leaving: CancellationToken,
    /// One more than the datagrams that had arrived when it was doubted; 0: never.
    doubted: AtomicU64,
    retired: AtomicBool,
    open: AtomicUsize,
    idle: Notify,
    heard: Mutex<Heard>,
}

/// When datagrams last arrived, as noticed by whoever looked.
struct Heard {
    datagrams: u64,
    at: Instant,
}

impl Link {
    pub(super) fn new(origin: Origin, sequence: u64, connection: Connection) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            origin,
            sequence,
            draining: AtomicBool::new(false),
            leaving: CancellationToken::new(),
            doubted: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            idle: Notify::new(),
            heard: Mutex::new(Heard {
                datagrams: arrived(&connection),
                at: now,
            }),
            connection,
        })
    }

    /// For how long nothing has arrived. Exact to the interval between calls.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        let datagrams = arrived(&self.connection);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.datagrams != datagrams {
            *heard = Heard { datagrams, at: now };
        }
        now.saturating_duration_since(heard.at)
    }

    /// Whether it goes to the peer by no third.
    pub(super) fn is_direct(&self) -> bool {
        self.origin.through.is_none()
    }

    /// Whether the path under this link is suspected to be cut.
    pub(super) fn is_silent(&self) -> bool {
        self.silent_for(Instant::now()) > SILENCE
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// The peer has said that it takes no new streams.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.leave();
    }

    /// Asks all who use it to begin nothing new on it.
    pub(super) fn leave(&self) {
        self.leaving.cancel();
    }

    /// How many datagrams have arrived.
    pub(super) fn arrived(&self) -> u64 {
        arrived(&self.connection)
    }

    /// Something was not answered since `arrived` datagrams had arrived. If none has
    /// since, others are preferred until one does.
    pub(super) fn doubt(&self, arrived: u64) {
        if self.arrived() == arrived {
            self.doubted.store(arrived + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_doubted(&self) -> bool {
        let doubted = self.doubted.load(Ordering::Relaxed);
        doubted != 0 && doubted == self.arrived() + 1
    }

    /// The dialler has another link for the same purpose and is about to close this one.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Counts a stream for as long as the returned value lives.
    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        self.open.fetch_add(1, Ordering::AcqRel);
        Hold(Arc::clone(self))
    }

    /// How many streams are held.
    pub(super) fn held(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Resolves once no stream is held.
    pub(super) async fn wait_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.held() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Opens a stream both ways and writes its header.
    pub(super) async fn open(
        self: &Arc<Self>,
        header: &StreamHeader,
    ) -> Result<PeerStream, OpenError> {
        let hold = self.hold();
        let (mut send, recv) = self.connection.open_bi().await?;
        frame::write_header(&mut send, header).await?;
        Ok(PeerStream { send, recv, hold })
    }

    /// Opens a stream to the peer and writes its header.
    pub(super) async fn open_one_way(
        self: &Arc<Self>,
        header: &StreamHeader,
    ) -> Result<(SendStream, Hold), OpenError> {
        let hold = self.hold();
        let mut send = self.connection.open_uni().await?;
        frame::write_header(&mut send, header).await?;
        Ok((send, hold))
    }
}

fn arrived(connection: &Connection) -> u64 {
    connection.stats().udp_rx.datagrams
}

/// Keeps a link from being closed as idle.
pub struct Hold(Arc<Link>);

impl Hold {
    /// Cancelled once nothing new should be begun on the link.
    pub fn leaving(&self) -> CancellationToken {
        self.0.leaving.clone()
    }

    /// Nothing comes back by the link: others are preferred until something does.
    pub fn doubt(&self) {
        self.0.doubt(self.0.arrived());
    }

    /// Which peer its connection leads to.
    pub fn node(&self) -> NodeId {
        self.0.origin.node
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// A stream both ways to or from a peer. It may be used on any runtime: its
/// connection is driven by the worker that it lives on.
pub struct PeerStream {
    /// Towards the peer.
    pub send: SendStream,
    /// From the peer.
    pub recv: RecvStream,
    /// Drop it when the stream is done with.
    pub hold: Hold,
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No connection to the peer is up.
    #[error("no connection to the peer is up")]
    NoPath,
    /// The connection failed.
    #[error("the connection failed")]
    Connection(#[from] quinn::ConnectionError),
    /// The header could not be written.
    #[error("the stream's header could not be sent")]
    Write(#[from] quinn::WriteError),
}
