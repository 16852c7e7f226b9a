//! QUIC tunnels between gateways: who is connected to whom, and streams over it.
//!
//! What it is: one UDP port, mutual TLS judged by trust domain, one control
//! connection to every peer gateway and data connections per worker, redialled
//! as needed. What it is not: it reads no state (the peers are handed in), takes
//! no part in what its streams carry, and decides nothing about services.
//!
//! ```text
//! set_peers ─> dial (per worker, peer)  ┐                       ┌─> incoming: Raft, catalog, RPC
//! UDP port ──> accept (per worker)      ┴─> hello ─> Link ──────┴─> relays, by worker
//!                                                     │ open: call, raft, relay streams
//!                                                     └─> observe ─> Paths
//! ```
//!
//! A connection lives on the worker that dialled or accepted it: its socket,
//! driver and timers stay on that thread. Its streams may be used from any
//! runtime, at the price of a wake-up across threads; relayed connections never
//! pay it, since each worker uses connections of its own.

mod accept;
mod call;
mod choice;
mod cid;
mod close;
mod config;
mod dial;
mod drain;
mod frame;
mod hello;
mod incoming;
mod link;
mod metrics;
mod path;
mod peer;
mod pieces;
mod raft;
mod relay_link;
mod serve;
mod shared;
mod survey;
mod table;
#[cfg(test)]
mod tests;
mod through;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use weft_model::{ClusterName, NodeId};
use weft_proto::peer::stream_header::Kind;
use weft_proto::peer::{CatalogStream, RaftBatch, RelayStream, StreamHeader};

pub use call::{Answer, CALL_MAX, CallError, QUESTION_MAX, Question};
pub use close::Close;
pub use config::{Congestion, MTU_MAX, Tuning, TunnelConfig};
pub use dial::DialError;
pub use frame::{FrameError, read_frame, write_frame};
pub use hello::{HelloError, Purpose};
pub use incoming::{IncomingRelay, IncomingStream};
pub use link::{Hold, OpenError, PeerStream};
pub use metrics::TunnelMetrics;
pub use path::{PathState, Paths, PeerPath};
pub use peer::PeerTarget;
pub use raft::RaftReceiver;
pub(crate) use relay_link::RelayLink;
pub use survey::{ConnectionSurvey, LocalSurvey, PeerSurvey};
pub use through::{Refused as DetourRefused, Relaying};
pub use tls::TlsError;

use choice::Candidate;
use cid::{WORKERS_MAX, WorkerIds};
use link::{Dialled, Link};
use peer::PeerTable;
use shared::{Endpoints, Shared};
use table::{Links, Snapshot};
use through::Through;
use tls::Tls;

use crate::sys::{self, SocketFacts};
use crate::workers::Workers;

/// The tunnels of this gateway. Clones share them; they end with [`Tunnels::drain`].
#[derive(Clone)]
pub struct Tunnels {
    shared: Arc<Shared>,
    turn: Arc<AtomicUsize>,
}

/// Running tunnels, and what peers send through them.
pub struct Started {
    /// The handle.
    pub tunnels: Tunnels,
    /// Raft, catalog and RPC streams. While nobody receives, peers wait.
    pub incoming: mpsc::Receiver<IncomingStream>,
    /// Relayed connections, by the worker whose connection carries them; to be
    /// received on that worker.
    pub relays: Vec<mpsc::Receiver<IncomingRelay>>,
}

/// Why tunnels could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not this machine's, or a socket option failed.
    #[error("cannot listen on {address}/udp")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// More workers than one byte can steer to.
    #[error("{0} workers, at most {WORKERS_MAX} are possible")]
    Workers(usize),
    /// This gateway's own certificate cannot be used.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
}

impl Tunnels {
    /// Binds the port and starts to listen. Peers are refused and none is
    /// dialled until [`Tunnels::set_peers`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: TunnelConfig) -> Result<Started, StartError> {
        let TunnelConfig {
            bind,
            node,
            gateway,
            workers,
            svid,
            bundles,
            tuning,
            relaying,
        } = config;
        if workers.len() > WORKERS_MAX {
            return Err(StartError::Workers(workers.len()));
        }
        let tls = Tls::new(svid, bundles, tuning.transport());
        let (endpoints, socket) = open_endpoints(bind, &workers, &tls, &tuning)?;
        let (tell_incoming, incoming) = mpsc::channel(INCOMING_MAX);
        let (tell_relays, relays) = (0..workers.len())
            .map(|_| mpsc::channel(INCOMING_MAX))
            .unzip();
        let shared = Arc::new(Shared {
            node,
            gateway,
            incarnation: shared::new_incarnation(),
            workers,
            address: bind,
            endpoints,
            socket,
            tls,
            tuning,
            peers: ArcSwap::default(),
            peers_changed: watch::Sender::new(0),
            links: Links::new(),
            lanes: raft::Lanes::default(),
            paths: ArcSwap::default(),
            paths_changed: watch::Sender::default(),
            metrics: TunnelMetrics::new(),
            through: Through::new(relaying),
            incoming: tell_incoming,
            relays: tell_relays,
            draining: CancellationToken::new(),
            stop: CancellationToken::new(),
        });
        for worker in 0..shared.workers.len() {
            let workers = &shared.workers;
            workers.spawn(worker, accept::accept(Arc::clone(&shared), worker));
            workers.spawn(worker, dial::dial_peers(Arc::clone(&shared), worker));
        }
        shared.workers.spawn(0, path::observe(Arc::clone(&shared)));
        shared.workers.spawn(0, through::keep(Arc::clone(&shared)));
        let turn = Arc::default();
        Ok(Started {
            tunnels: Self { shared, turn },
            incoming,
            relays,
        })
    }

    /// Says whom this gateway should have tunnels with: dials who is new, at
    /// once also who was waiting for its next try, and closes the connections of
    /// who is gone or has another identity.
    pub fn set_peers(&self, targets: Vec<PeerTarget>) {
        let table = PeerTable::new(self.shared.node, targets);
        if *self.shared.peers.load_full() == table {
            return;
        }
        self.shared.peers.store(Arc::new(table));
        self.shared.evict();
        let peers = self.shared.peers.load();
        self.shared.lanes.retain(|node| peers.get(node).is_some());
        self.shared
            .peers_changed
            .send_modify(|version| *version += 1);
    }

    /// Whether this cluster carries connections between two others that cannot reach each
    /// other. What is carried ends when it does not any longer.
    pub fn set_consent(&self, consent: bool) {
        self.shared.through.set_consent(consent);
    }

    /// The control connection to `node`, if one is up.
    pub fn control(&self, node: NodeId) -> Option<Control> {
        let links = self.shared.links.load();
        let link = Arc::clone(links.control(self.shared.node, node)?);
        Some(Control { link })
    }

    /// Asks `node` and waits for its answer until `deadline`.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::is_unseen`] tells whether the peer may have acted.
    pub async fn call(
        &self,
        node: NodeId,
        method: &str,
        question: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, CallError> {
        if question.len() > QUESTION_MAX {
            return Err(CallError::TooLong(question.len()));
        }
        let asked = async {
            let stream = self.open_call(node, method).await?;
            call::ask(stream, question).await
        };
        timeout_at(deadline.into(), asked)
            .await
            .unwrap_or(Err(CallError::Deadline))
    }

    /// Opens a call on the control connection, and on its successor if the first just closed.
    async fn open_call(&self, node: NodeId, method: &str) -> Result<PeerStream, OpenError> {
        let header = call::header(method);
        let first = self.control(node).ok_or(OpenError::NoPath)?;
        match first.link.open(&header).await {
            Ok(stream) => Ok(stream),
            Err(error) => match self.control(node) {
                Some(next) if next.link.sequence != first.link.sequence => {
                    next.link.open(&header).await
                }
                _ => Err(error),
            },
        }
    }

    /// Sends Raft messages to `node`. Never waits: what a slow or absent peer
    /// does not take in time is dropped, oldest first, and counted.
    pub fn send_raft(&self, node: NodeId, batch: RaftBatch) {
        self.shared.lanes.send(&self.shared, node, batch);
    }

    /// A connection for a relay stream to a gateway of `cluster`: a data connection of
    /// `worker` where it has one, otherwise one that the peer dialled. To one of those that
    /// were `asked` already only if there is no other.
    pub(crate) fn relay_link(
        &self,
        worker: usize,
        cluster: &ClusterName,
        asked: &[NodeId],
    ) -> Option<RelayLink> {
        let fresh = self.data_link(worker, cluster, |node| !asked.contains(&node));
        let link = fresh.or_else(|| self.data_link(worker, cluster, |_| true))?;
        Some(RelayLink { link })
    }

    /// Opens a relay stream to a gateway of `cluster`.
    ///
    /// # Errors
    /// No gateway of the cluster can be reached, or the connection just failed.
    pub async fn open_relay(
        &self,
        worker: usize,
        cluster: &ClusterName,
        header: RelayStream,
    ) -> Result<PeerStream, OpenError> {
        let link = self.relay_link(worker, cluster, &[]);
        link.ok_or(OpenError::NoPath)?.open(header).await
    }

    fn data_link(
        &self,
        worker: usize,
        cluster: &ClusterName,
        may_ask: impl Fn(NodeId) -> bool,
    ) -> Option<Arc<Link>> {
        let links = self.shared.links.load();
        let peers = self.shared.peers.load();
        let usable: Vec<&Arc<Link>> = peers
            .iter()
            .filter(|target| target.cluster == *cluster && may_ask(target.node))
            .flat_map(|target| usable_from(&links, worker, target.node))
            .collect();
        let candidates: Vec<Candidate> = usable
            .iter()
            .map(|link| Candidate {
                fit: is_fit(link),
                rtt: link.connection.min_rtt(),
            })
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        choice::choose(&candidates, turn).map(|place| Arc::clone(usable[place]))
    }

    /// What is known of the paths now.
    pub fn paths(&self) -> Arc<Paths> {
        self.shared.paths.load_full()
    }

    /// Hears of every change of the paths.
    pub fn watch_paths(&self) -> watch::Receiver<Arc<Paths>> {
        self.shared.paths_changed.subscribe()
    }

    /// What the tunnels count.
    pub fn metrics(&self) -> &TunnelMetrics {
        &self.shared.metrics
    }

    /// The address that peers dial, with the port that was bound.
    ///
    /// # Errors
    /// The socket cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.endpoints[0].listen.local_addr()
    }

    /// The threads that the tunnels run on.
    pub fn workers(&self) -> &Workers {
        &self.shared.workers
    }

    /// Whether [`Tunnels::drain`] has begun: new work should go elsewhere.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.is_cancelled()
    }

    /// Resolves when [`Tunnels::drain`] begins.
    pub async fn draining(&self) {
        self.shared.draining.cancelled().await;
    }

    /// Resolves once [`Tunnels::drain`] has closed everything.
    pub async fn stopped(&self) {
        self.shared.stop.cancelled().await;
    }

    /// Begins [`Tunnels::drain`]: returns once the peers have been told, or a second has
    /// passed.
    pub async fn announce_drain(&self) {
        drain::announce(&self.shared).await;
    }

    /// The part of [`Tunnels::drain`] before anything is closed.
    pub async fn idle(&self, deadline: Instant) {
        drain::idle(&self.shared, deadline).await;
    }

    /// Ends the tunnels: refuses new connections, tells the peers, lets relayed
    /// connections end until `deadline`, then closes everything.
    pub async fn drain(&self, deadline: Instant) {
        drain::drain(&self.shared, deadline).await;
    }
}

/// The control connection to one peer, as long as it lasts.
#[derive(Clone)]
pub struct Control {
    link: Arc<Link>,
}

impl Control {
    /// Opens a catalog stream.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn open_catalog(&self) -> Result<PeerStream, OpenError> {
        let kind = Some(Kind::Catalog(CatalogStream {}));
        self.link.open(&StreamHeader { kind }).await
    }

    /// Resolves when the connection has closed, or another took its place and
    /// its streams should be opened anew there.
    pub async fn closed(&self) -> quinn::ConnectionError {
        self.link.connection.closed().await
    }

    /// The smoothed round-trip time.
    pub fn rtt(&self) -> std::time::Duration {
        self.link.connection.rtt()
    }
}

/// The data connections to `node` that `worker` may use: its own where one is
/// fit, otherwise all.
fn usable_from(links: &Snapshot, worker: usize, node: NodeId) -> Vec<&Arc<Link>> {
    let own = links.data(node).find(|link| {
        link.origin.dialled == Dialled::Here
            && link.origin.worker == worker
            && link.is_direct()
            && is_fit(link)
    });
    if let Some(own) = own {
        return vec![own];
    }
    let direct = |link: &&Arc<Link>| link.is_direct() && is_fit(link);
    match links.data(node).any(|link| direct(&link)) {
        true => links.data(node).filter(direct).collect(),
        false => links.data(node).collect(),
    }
}

fn is_fit(link: &Link) -> bool {
    !link.is_draining() && !link.is_silent() && !link.is_doubted()
}

/// Opens both endpoints of every worker, each on its worker's runtime.
fn open_endpoints(
    bind: SocketAddr,
    workers: &Workers,
    tls: &Tls,
    tuning: &Tuning,
) -> Result<(Vec<Endpoints>, SocketFacts), StartError> {
    let failed = |source| StartError::Bind {
        address: bind,
        source,
    };
    let server = tls.server()?;
    let sockets = bind_group(bind, workers.len(), tuning.socket_buffer).map_err(failed)?;
    // What the first is granted, all are.
    let asked = sockets[0].try_clone().map_err(failed)?;
    let mut endpoints = Vec::with_capacity(workers.len());
    for (worker, socket) in sockets.into_iter().enumerate() {
        let _on_worker = workers.handle(worker).enter();
        let group = workers.len();
        let mut config = EndpointConfig::default();
        config.cid_generator(move || Box::new(WorkerIds::new(worker, group)));
        let runtime = Arc::new(TokioRuntime);
        let listen =
            Endpoint::new(config, Some(server.clone()), socket, runtime.clone()).map_err(failed)?;
        let socket = dial_socket(bind.ip()).map_err(failed)?;
        sys::raise_buffers(&socket, tuning.socket_buffer);
        let dial =
            Endpoint::new(EndpointConfig::default(), None, socket, runtime).map_err(failed)?;
        endpoints.push(Endpoints { listen, dial });
    }
    let facts = sys::facts(&asked).map_err(failed)?;
    Ok((endpoints, facts))
}

/// Binds one socket per worker to the same port, in the workers' order, and has
/// the kernel steer datagrams between them.
fn bind_group(
    bind: SocketAddr,
    workers: usize,
    buffer: usize,
) -> io::Result<Vec<std::net::UdpSocket>> {
    let sockets = sys::udp_group(sys::any(bind), workers)?;
    for socket in &sockets {
        sys::raise_buffers(socket, buffer);
    }
    if workers > 1 {
        sys::steer(&sockets[0], workers as u32)?;
    }
    Ok(sockets)
}

/// A socket to dial from: of the address that is listened on, since a firewall may let
/// no other out. Where that is any, it is any of both families, whichever was written:
/// a gateway that can be reached by one can still dial those of the other.
fn dial_socket(bind: IpAddr) -> io::Result<std::net::UdpSocket> {
    let from = match bind.is_unspecified() {
        true => sys::any((Ipv6Addr::UNSPECIFIED, 0).into()),
        false => (bind, 0).into(),
    };
    let mut alone = sys::udp_group(from, 1)?;
    alone.pop().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Streams that wait to be taken; peers wait beyond that.
const INCOMING_MAX: usize = 1024;
