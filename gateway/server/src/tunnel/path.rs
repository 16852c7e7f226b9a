//! What this gateway observes of its paths to the others. It stays local.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;
use weft_model::{ClusterName, GatewayName, NodeId};

use super::drain;
use super::hello::Purpose;
use super::link::Link;
use super::peer::PeerTarget;
use super::shared::Shared;
use super::table::Snapshot;

/// The paths to all peers at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// By node.
    pub peers: BTreeMap<NodeId, PeerPath>,
}

/// The path to one peer gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerPath {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub gateway: GatewayName,
    /// Whether it can be reached.
    pub state: PathState,
    /// Since when `state` holds.
    pub since: Instant,
    /// Smoothed round-trip time of the control connection; none while there is none.
    pub rtt: Option<Duration>,
    /// QUIC packets sent on all connections, also those that have ended.
    pub sent: u64,
    /// Of those, packets declared lost.
    pub lost: u64,
    /// Control connections that are up: one, or two while one takes over.
    pub control_connections: usize,
    /// Data connections in use, dialled from either side.
    pub data_connections: usize,
    /// The cluster that carries the control connection, if it does not go directly.
    pub through: Option<ClusterName>,
}

/// Whether a peer can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathState {
    /// The control connection is up.
    Up,
    /// It is up, but nothing has been heard for three seconds.
    Silent,
    /// The peer is shutting down and takes no new relayed connections.
    Draining,
    /// There is no control connection.
    Down,
}

/// Looks at the links, at once when they change and otherwise twice a second:
/// publishes [`Paths`], cuts who is not trusted any more, closes what is superseded.
pub(super) async fn observe(shared: Arc<Shared>) {
    let mut links = shared.links.subscribe();
    let mut peers = shared.peers_changed.subscribe();
    let mut observer = Observer::default();
    loop {
        links.mark_unchanged();
        peers.mark_unchanged();
        shared.evict();
        let snapshot = shared.links.load_full();
        observer.retire(&shared, &snapshot);
        let paths = observer.paths(&shared, &snapshot);
        if paths != **shared.paths.load() {
            let paths = Arc::new(paths);
            shared.paths.store(Arc::clone(&paths));
            shared.paths_changed.send_replace(paths);
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = links.changed() => {}
            _ = peers.changed() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

#[derive(Default)]
struct Observer {
    /// Of links that have ended.
    ended: BTreeMap<NodeId, Packets>,
    /// Of links at the last look, by sequence.
    last: BTreeMap<u64, (NodeId, Packets)>,
    /// Tasks that close links, by the link's sequence.
    retiring: BTreeMap<u64, AbortOnDropHandle<()>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Packets {
    sent: u64,
    lost: u64,
}

impl Observer {
    /// Has each superseded link closed by a task of its own once its streams have ended.
    fn retire(&mut self, shared: &Arc<Shared>, links: &Snapshot) {
        self.retiring.retain(|_, task| !task.is_finished());
        for link in links.superseded(shared.node) {
            self.retiring.entry(link.sequence).or_insert_with(|| {
                let (shared, link) = (Arc::clone(shared), Arc::clone(link));
                AbortOnDropHandle::new(tokio::spawn(async move {
                    let patience = match link.origin.purpose {
                        Purpose::Control => CONTROL_PATIENCE,
                        Purpose::Data => DATA_PATIENCE,
                    };
                    drain::retire(&shared, &link, patience).await;
                }))
            });
        }
    }

    fn paths(&mut self, shared: &Shared, links: &Snapshot) -> Paths {
        self.count(links);
        let before = shared.paths.load();
        let now = Instant::now();
        let peers = shared
            .peers
            .load()
            .iter()
            .map(|target| {
                let before = before.peers.get(&target.node);
                (target.node, self.path(shared, links, target, before, now))
            })
            .collect();
        Paths { peers }
    }

    fn path(
        &self,
        shared: &Shared,
        links: &Snapshot,
        target: &PeerTarget,
        before: Option<&PeerPath>,
        now: Instant,
    ) -> PeerPath {
        let control = links.control(shared.node, target.node);
        let state = control.map_or(PathState::Down, |link| state_of(link, now));
        let since = match before {
            Some(before) if before.state == state => before.since,
            _ => now,
        };
        let packets = self.packets(target.node);
        PeerPath {
            cluster: target.cluster.clone(),
            gateway: target.gateway.clone(),
            state,
            since,
            rtt: control.map(|link| link.connection.rtt()),
            sent: packets.sent,
            lost: packets.lost,
            control_connections: links.controls(target.node).count(),
            data_connections: links.data(target.node).count(),
            through: control.and_then(|link| {
                let via = link.origin.through?;
                let peers = shared.peers.load();
                peers.get(via).map(|via| via.cluster.clone())
            }),
        }
    }

    /// Takes the links' counts; those of links that are gone are kept under their node.
    fn count(&mut self, links: &Snapshot) {
        let current: BTreeMap<u64, (NodeId, Packets)> = links
            .iter()
            .map(|link| {
                let path = link.connection.stats().path;
                let packets = Packets {
                    sent: path.sent_packets,
                    lost: path.lost_packets,
                };
                (link.sequence, (link.origin.node, packets))
            })
            .collect();
        for (sequence, (node, packets)) in std::mem::take(&mut self.last) {
            if !current.contains_key(&sequence) {
                let ended = self.ended.entry(node).or_default();
                ended.sent += packets.sent;
                ended.lost += packets.lost;
            }
        }
        self.last = current;
    }

    fn packets(&self, node: NodeId) -> Packets {
        let mut sum = self.ended.get(&node).copied().unwrap_or_default();
        for (of, packets) in self.last.values() {
            if *of == node {
                sum.sent += packets.sent;
                sum.lost += packets.lost;
            }
        }
        sum
    }
}

fn state_of(link: &Link, now: Instant) -> PathState {
    if link.is_draining() {
        PathState::Draining
    } else if link.silent_for(now) > super::config::SILENCE {
        PathState::Silent
    } else {
        PathState::Up
    }
}

/// How often counts and silence are looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long calls and catalog streams on a superseded control link may go on.
const CONTROL_PATIENCE: Duration = Duration::from_secs(10);
/// How long relayed connections on a superseded data link may go on; its idle
/// timeout ends it earlier if its path is dead.
const DATA_PATIENCE: Duration = Duration::from_secs(24 * 3600);
