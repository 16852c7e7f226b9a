//! A federation of gateways in one process, on loopback, for this crate's tests.

mod path;

pub(crate) use path::Path;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use weft_identity::{Authority, BundleSource, SigningKey, SvidSource, fixture};
use weft_model::NodeId;

use crate::tunnel::{
    IncomingRelay, IncomingStream, PathState, PeerTarget, Relaying, Started, Tuning, TunnelConfig,
    Tunnels,
};
use crate::workers::Workers;

/// The clusters' authorities.
pub(crate) struct World {
    authorities: Vec<Authority>,
}

impl World {
    /// Clusters `a`, `b` and `c`.
    pub(crate) fn new() -> Self {
        let authority = |cluster: &str| fixture::authority(&domain(cluster), now());
        Self {
            authorities: ["a", "b", "c"].map(authority).into(),
        }
    }

    /// The authority of a cluster.
    pub(crate) fn authority(&self, cluster: &str) -> &Authority {
        let domain = domain(cluster);
        let mut all = self.authorities.iter();
        all.find(|authority| authority.trust_domain().as_str() == domain)
            .unwrap()
    }

    /// Everyone's bundles.
    pub(crate) fn bundles(&self) -> BundleSource {
        fixture::bundles(&self.authorities.iter().collect::<Vec<_>>())
    }

    /// A gateway of `cluster` on a port of its own, with as many workers.
    pub(crate) fn gateway(&self, node: u64, cluster: &str, workers: usize) -> Gateway {
        self.gateway_at(node, cluster, workers, "127.0.0.1:0".parse().unwrap())
    }

    /// A gateway of `cluster` at `bind`.
    pub(crate) fn gateway_at(
        &self,
        node: u64,
        cluster: &str,
        workers: usize,
        bind: SocketAddr,
    ) -> Gateway {
        let id = gateway_id(cluster, node);
        let svid = SvidSource::new(fixture::svid(self.authority(cluster), &id, now()));
        let bundles = self.bundles();
        let Started {
            tunnels,
            incoming,
            relays,
        } = Tunnels::start(TunnelConfig {
            bind,
            node: NodeId(node),
            gateway: gateway_name(node).parse().unwrap(),
            workers: Workers::start(NonZeroUsize::new(workers).unwrap()).unwrap(),
            svid: svid.clone(),
            bundles: bundles.clone(),
            tuning: Tuning::default(),
            relaying: Some(Relaying {
                cluster: cluster.parse().unwrap(),
                signing: Arc::new(signing(node)),
            }),
        })
        .unwrap();
        let address = tunnels.local_addr().unwrap();
        Gateway {
            target: PeerTarget {
                node: NodeId(node),
                cluster: cluster.parse().unwrap(),
                gateway: gateway_name(node).parse().unwrap(),
                id: id.parse().unwrap(),
                address: Some(address.into()),
                key: Some(signing(node).public()),
                relays: false,
            },
            tunnels,
            incoming,
            relays,
            svid,
            bundles,
        }
    }
}

/// A running gateway's tunnels.
pub(crate) struct Gateway {
    /// As its peers see it.
    pub(crate) target: PeerTarget,
    pub(crate) tunnels: Tunnels,
    pub(crate) incoming: mpsc::Receiver<IncomingStream>,
    pub(crate) relays: Vec<mpsc::Receiver<IncomingRelay>>,
    pub(crate) svid: SvidSource,
    pub(crate) bundles: BundleSource,
}

impl Gateway {
    pub(crate) fn node(&self) -> NodeId {
        self.target.node
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.tunnels.local_addr().unwrap()
    }

    /// As a peer that cannot be dialled.
    pub(crate) fn undialled(&self) -> PeerTarget {
        PeerTarget {
            address: None,
            ..self.target.clone()
        }
    }

    /// Waits until the control connection to `peer` is up and the gateway has as many data connections.
    pub(crate) async fn until_up(&self, peer: &Gateway, data_connections: usize) {
        let what = format!("{} sees {} up", self.node(), peer.node());
        eventually(&what, || {
            let paths = self.tunnels.paths();
            let path = paths.peers.get(&peer.node());
            path.is_some_and(|path| {
                path.state == PathState::Up && path.data_connections == data_connections
            })
        })
        .await;
    }

    /// The state of the path to `peer`.
    pub(crate) fn state(&self, peer: &Gateway) -> Option<PathState> {
        let paths = self.tunnels.paths();
        paths.peers.get(&peer.node()).map(|path| path.state)
    }
}

/// Two gateways, of clusters `a` and `b`, that can dial each other and have.
pub(crate) async fn pair(world: &World, workers: usize) -> (Gateway, Gateway) {
    let (a, b) = (
        world.gateway(1, "a", workers),
        world.gateway(2, "b", workers),
    );
    a.tunnels.set_peers(vec![b.target.clone()]);
    b.tunnels.set_peers(vec![a.target.clone()]);
    a.until_up(&b, 2 * workers).await;
    b.until_up(&a, 2 * workers).await;
    (a, b)
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bounds a future that must end.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("never: {what}"),
    }
}

/// The key that a gateway signs with.
pub(crate) fn signing(node: u64) -> SigningKey {
    SigningKey::from_seed([u8::try_from(node).unwrap(); 32])
}

/// The identity of a gateway.
pub(crate) fn gateway_id(cluster: &str, node: u64) -> String {
    format!(
        "spiffe://{}/gateway/{}",
        domain(cluster),
        gateway_name(node)
    )
}

pub(crate) use crate::hub::wall_clock as now;

fn gateway_name(node: u64) -> String {
    format!("gw-{node}")
}

fn domain(cluster: &str) -> String {
    format!("{cluster}.fed.example.org")
}

/// Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
