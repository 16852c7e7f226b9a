//! Follows the log: peers, bundles and timing are what the state says they are.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::time::sleep;
use weft_identity::{Bundle, Bundles};
use weft_model::{Federation, NodeId, RelayConsent, SpiffeId, TrustDomain};
use weft_proxy::catalog::Rest;

use super::directory::{self, Directory};
use super::durable::Durable;
use super::names::Names;
use crate::catalog::Surroundings;
use crate::hub::Hub;
use crate::isolation::Announcer;
use crate::membership::KnownPeer;
use crate::scene::Reach;
use crate::standin::{Address, Situation, StandIn};
use crate::tunnel::{PathState, Paths, PeerTarget};

/// Changes are gathered for this long at least: one entry of the log is heard of up to four times, as
/// it is applied, written, in the catalog and in the names.
const GATHER: Duration = Duration::from_millis(5);

/// How often what only time changes is looked at again: leases that nobody can know any more.
const TICK: Duration = Duration::from_secs(1);

/// What follows from the log, the catalog and the paths.
pub(super) struct Follower {
    directory: directory::Shared,
    names: Names,
    stand_in: Arc<StandIn>,
    durable: Durable,
    followed: Arc<Federation>,
    reach: Reach,
    announcer: Announcer,
}

impl Follower {
    /// Nothing followed yet.
    pub(super) fn new(directory: directory::Shared, names: Names, stand_in: Arc<StandIn>) -> Self {
        Self {
            directory,
            names,
            stand_in,
            durable: Durable::default(),
            followed: Arc::default(),
            reach: Reach::default(),
            announcer: Announcer::default(),
        }
    }

    /// Keeps it up to date whenever one changes.
    pub(super) async fn follow(mut self, hub: Arc<Hub>) {
        let mut changed = hub.registry().changed();
        let mut paths = hub.tunnels().watch_paths();
        let mut catalog = hub.catalog_handle().changed();
        let mut shown = hub.catalog_handle().watch_shown();
        let mut clamps = hub.clamps().changed();
        let mut written = hub.registry().written();
        let mut tick = tokio::time::interval(TICK);
        let mut rest = Rest::new(GATHER);
        loop {
            tokio::select! {
                result = changed.changed() => if result.is_err() { return },
                result = paths.changed() => if result.is_err() { return },
                result = catalog.changed() => if result.is_err() { return },
                result = shown.changed() => if result.is_err() { return },
                result = clamps.changed() => if result.is_err() { return },
                result = written.changed() => if result.is_err() { return },
                _ = tick.tick() => {}
            }
            sleep(rest.gather()).await;
            changed.mark_unchanged();
            paths.mark_unchanged();
            catalog.mark_unchanged();
            shown.mark_unchanged();
            clamps.mark_unchanged();
            written.mark_unchanged();
            rest.after(|| self.look(&hub));
        }
    }

    /// Brings it up to date once.
    pub(super) fn look(&mut self, hub: &Hub) {
        let state = hub.registry().state();
        if !Arc::ptr_eq(&state, &self.followed) && state.domain().is_some() {
            self.followed = Arc::clone(&state);
            hub.bundles().replace(bundles(&state));
            hub.tunnels().set_peers(peers(&state, hub.node()));
            let own = state.cluster(hub.cluster());
            let consents = own.is_some_and(|own| own.spec.relay == RelayConsent::Allow);
            hub.tunnels().set_consent(consents);
            hub.clamp_keeper().follow(&state);
        }
        let seen = hub.tunnels().paths();
        if let Some(rtt) = slowest(&seen) {
            hub.registry().set_rtt(rtt);
        }
        let before = std::mem::take(&mut self.reach);
        self.reach = Reach::of(&seen, &before, std::time::Instant::now());
        self.announcer.look(hub);
        let silence = hub.registry().applied().silence();
        hub.catalog_handle().set_surroundings(Surroundings {
            federation: Arc::clone(&state),
            silence,
            reach: self.reach.clone(),
            clamps: hub.clamps().load(),
        });
        let written = *hub.registry().written().borrow();
        let named = self.durable.of(&state, written);
        let shown = hub.catalog_handle().shown().view;
        self.names
            .update(&named, &shown, &hub.outlook(), hub.clock().now());
        self.directory.store(Arc::new(directory(hub)));
        self.stand_in.update(Situation {
            federation: state,
            catalog: hub.catalog(),
            reach: self.reach.clone(),
            silence,
            clamps: hub.clamps().load(),
            addresses: Address::of(&hub.zones()),
        });
    }
}

/// What relayed connections are judged by now.
pub(super) fn directory(hub: &Hub) -> Directory {
    Directory::new(
        hub.registry().state(),
        hub.catalog(),
        hub.outlook(),
        hub.clock().now(),
    )
}

/// Peers that were told to us: enough to reach the log.
pub(super) fn targets(peers: &[KnownPeer]) -> Vec<PeerTarget> {
    let target = |peer: &KnownPeer| PeerTarget {
        node: peer.node,
        cluster: peer.cluster.clone(),
        gateway: peer.gateway.clone(),
        id: SpiffeId::gateway(peer.bundle.trust_domain().clone(), peer.gateway.clone()),
        address: peer.tunnel.clone(),
        key: None,
        relays: false,
    };
    peers.iter().map(target).collect()
}

fn peers(state: &Federation, own: NodeId) -> Vec<PeerTarget> {
    state
        .nodes()
        .filter(|(id, _)| *id != own)
        .filter_map(|(id, node)| {
            let member = state.cluster(&node.cluster)?;
            Some(PeerTarget {
                node: id,
                cluster: node.cluster.clone(),
                gateway: node.gateway.name.clone(),
                id: SpiffeId::gateway(member.trust_domain.clone(), node.gateway.name.clone()),
                address: node.gateway.tunnel.clone(),
                key: Some(node.gateway.key),
                relays: member.spec.relay == RelayConsent::Allow,
            })
        })
        .collect()
}

/// Everybody's bundles. One that does not read is left out: its identities are then refused,
/// which concerns its owner alone.
fn bundles(state: &Federation) -> Bundles {
    let members = state
        .clusters()
        .map(|(_, member)| (member.trust_domain.clone(), &member.bundle[..]));
    let operators = state
        .domain()
        .map(|domain| (TrustDomain::of_operators(domain), state.operators()));
    members
        .chain(operators)
        .filter_map(|(domain, certificates)| {
            let ders = certificates
                .iter()
                .map(|der| CertificateDer::from(der.clone()));
            Bundle::new(domain, ders)
                .inspect_err(|error| tracing::warn!(%error, "a bundle in the log does not read"))
                .ok()
        })
        .collect()
}

/// The longest round trip to a gateway that answers: what an election has to wait for.
fn slowest(paths: &Paths) -> Option<Duration> {
    paths
        .peers
        .values()
        .filter(|path| path.state == PathState::Up)
        .filter_map(|path| path.rtt)
        .max()
}
