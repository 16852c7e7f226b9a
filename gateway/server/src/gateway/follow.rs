//! Follows the log: peers, bundles and timing are what the state says they are.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use weft_identity::{Bundle, Bundles};
use weft_model::{Federation, NodeId, SpiffeId, TrustDomain};

use crate::hub::Hub;
use crate::membership::Membership;
use crate::tunnel::{PathState, PeerTarget};

/// Applies the state to tunnels and trust, now and whenever it changes.
pub(super) async fn follow(hub: Arc<Hub>) {
    let mut changed = hub.registry().changed();
    let mut paths = hub.tunnels().watch_paths();
    loop {
        changed.mark_unchanged();
        paths.mark_unchanged();
        let state = hub.registry().state();
        if state.domain().is_some() {
            hub.bundles().replace(bundles(&state));
            hub.tunnels().set_peers(peers(&state, hub.node()));
        }
        if let Some(rtt) = slowest(&hub) {
            hub.registry().set_rtt(rtt);
        }
        tokio::select! {
            result = changed.changed() => if result.is_err() { return },
            result = paths.changed() => if result.is_err() { return },
        }
    }
}

/// The peers we were told of when we joined: enough to reach the log.
pub(super) fn first_peers(membership: &Membership) -> Vec<PeerTarget> {
    let target = |peer: &crate::membership::KnownPeer| PeerTarget {
        node: peer.node,
        cluster: peer.cluster.clone(),
        gateway: peer.gateway.clone(),
        id: SpiffeId::gateway(peer.bundle.trust_domain().clone(), peer.gateway.clone()),
        address: peer.tunnel,
    };
    membership.peers.iter().map(target).collect()
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
                address: node.gateway.tunnel,
            })
        })
        .collect()
}

/// Everybody's bundles. One that does not read is left out: its identities are then refused,
/// which concerns its owner alone.
fn bundles(state: &Federation) -> Bundles {
    let members = state.clusters().map(|(_, member)| (member.trust_domain.clone(), &member.bundle[..]));
    let operators = state.domain().map(|domain| (TrustDomain::of_operators(domain), state.operators()));
    members
        .chain(operators)
        .filter_map(|(domain, certificates)| {
            let ders = certificates.iter().map(|der| CertificateDer::from(der.clone()));
            Bundle::new(domain, ders)
                .inspect_err(|error| tracing::warn!(%error, "a bundle in the log does not read"))
                .ok()
        })
        .collect()
}

/// The longest round trip to a gateway that answers: what an election has to wait for.
fn slowest(hub: &Hub) -> Option<Duration> {
    let paths = hub.tunnels().paths();
    paths.peers.values().filter(|path| path.state == PathState::Up).filter_map(|path| path.rtt).max()
}
