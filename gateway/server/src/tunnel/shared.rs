//! What all tasks of the tunnels share.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use quinn::{Connection, Endpoint, VarInt};
use rand::Rng;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use weft_model::{GatewayName, NodeId, SpiffeId};

use super::close::Close;
use super::config::Tuning;
use super::hello::{Hello, Purpose};
use super::incoming::{IncomingRelay, IncomingStream};
use super::link::{Link, Origin};
use super::metrics::TunnelMetrics;
use super::path::Paths;
use super::peer::PeerTable;
use super::raft::Lanes;
use super::serve;
use super::table::Links;
use super::through::Through;
use super::tls::Tls;
use crate::sys::SocketFacts;
use crate::workers::Workers;

pub(super) struct Shared {
    pub(super) node: NodeId,
    pub(super) gateway: GatewayName,
    pub(super) incarnation: u64,
    pub(super) workers: Workers,
    /// Where it is told to listen.
    pub(super) address: SocketAddr,
    pub(super) endpoints: Vec<Endpoints>,
    /// What the sockets that listen were granted.
    pub(super) socket: SocketFacts,
    pub(super) tls: Tls,
    pub(super) tuning: Tuning,
    pub(super) peers: ArcSwap<PeerTable>,
    pub(super) peers_changed: watch::Sender<u64>,
    pub(super) links: Links,
    pub(super) lanes: Lanes,
    pub(super) paths: ArcSwap<Paths>,
    pub(super) paths_changed: watch::Sender<Arc<Paths>>,
    pub(super) metrics: TunnelMetrics,
    pub(super) through: Through,
    pub(super) incoming: mpsc::Sender<IncomingStream>,
    /// By worker.
    pub(super) relays: Vec<mpsc::Sender<IncomingRelay>>,
    /// No new connections or relayed streams any more.
    pub(super) draining: CancellationToken,
    /// Everything ends.
    pub(super) stop: CancellationToken,
}

/// The two sockets of a worker.
pub(super) struct Endpoints {
    /// On the port that all workers share.
    pub(super) listen: Endpoint,
    /// On a port of its own.
    pub(super) dial: Endpoint,
}

impl Shared {
    /// Our side of a hello.
    pub(super) fn hello(&self, purpose: Purpose, worker: usize) -> Hello {
        Hello {
            node: self.node,
            gateway: self.gateway.clone(),
            incarnation: self.incarnation,
            purpose,
            worker: u32::try_from(worker).expect("a gateway has at most WORKERS_MAX workers"),
        }
    }

    /// Whether `node` is still a member under the identity that `id` shows, and
    /// that identity's authority is still trusted.
    pub(super) fn admits(&self, node: NodeId, id: &SpiffeId) -> bool {
        self.peers.load().admits(node, id) && self.tls.trusts(&id.trust_domain)
    }

    /// A control connection to `node` by no third, heard from.
    pub(super) fn direct_control(&self, node: NodeId) -> Option<Arc<Link>> {
        let links = self.links.load();
        let mut direct = links.controls(node);
        direct
            .find(|link| link.is_direct() && !link.is_silent())
            .cloned()
    }

    /// A data connection to `node` by no third, fit to carry more.
    pub(super) fn direct_data(&self, node: NodeId) -> Option<Arc<Link>> {
        let links = self.links.load();
        let fit = |link: &&Arc<Link>| {
            link.is_direct() && !link.is_draining() && !link.is_silent() && !link.is_doubted()
        };
        links.data(node).find(fit).cloned()
    }

    /// Takes a connection into use whose hello has been judged, and serves it on
    /// `worker`, the one that calls.
    pub(super) fn admit(self: &Arc<Self>, worker: usize, connection: Connection, origin: Origin) {
        let link = Link::new(origin, self.links.next_sequence(), connection);
        let node = link.origin.node;
        for other in self.links.load().of(node) {
            if other.origin.incarnation != link.origin.incarnation {
                // The peer has restarted: this one can only time out.
                Close::Superseded.apply(&other.connection);
            }
        }
        let streams = VarInt::from_u32(self.tuning.streams_max);
        link.connection.set_max_concurrent_bi_streams(streams);
        link.connection
            .set_max_concurrent_uni_streams(UNI_STREAMS_MAX);
        self.links.insert(Arc::clone(&link));
        self.metrics.connected.inc();
        tracing::info!(
            peer = %link.origin.id, node = node.0, address = %canonical(link.connection.remote_address()),
            purpose = ?link.origin.purpose, dialled = ?link.origin.dialled, worker,
            "tunnel connection up"
        );
        tokio::spawn(serve::serve(Arc::clone(self), worker, Arc::clone(&link)));
        // An eviction may have come between the judgement and the insertion.
        if !self.admits(node, &link.origin.id) {
            Close::NotAMember.apply(&link.connection);
        }
    }

    /// Closes the connections of everyone who is no member any more.
    pub(super) fn evict(&self) {
        for link in self.links.load().iter() {
            if !self.admits(link.origin.node, &link.origin.id) && link.is_alive() {
                tracing::info!(peer = %link.origin.id, "closing the tunnel of a former member");
                Close::NotAMember.apply(&link.connection);
            }
        }
    }
}

/// An IPv4 address that a socket of both families has seen, as itself.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A number that differs from that of this gateway's earlier processes.
pub(super) fn new_incarnation() -> u64 {
    rand::rng().random()
}

/// One-way streams carry Raft: one at a time, and its successor while it ends.
const UNI_STREAMS_MAX: VarInt = VarInt::from_u32(16);
