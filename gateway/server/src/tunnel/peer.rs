//! Whom this gateway should have tunnels with.

use std::collections::BTreeMap;

use weft_model::{ClusterName, GatewayName, HostPort, NodeId, PublicKey, SpiffeId};

/// One gateway of the federation, as the state has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTarget {
    /// Its Raft id.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub gateway: GatewayName,
    /// The identity that its certificate must show.
    pub id: SpiffeId,
    /// Where it can be dialled; none if it cannot be, then it dials us.
    pub address: Option<HostPort>,
    /// The key that it signs with; none before the log is known.
    pub key: Option<PublicKey>,
    /// Whether its cluster carries connections between two others.
    pub relays: bool,
}

/// All of them, at one moment. Never contains this gateway itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PeerTable {
    targets: BTreeMap<NodeId, PeerTarget>,
}

impl PeerTable {
    pub(super) fn new(own: NodeId, targets: Vec<PeerTarget>) -> Self {
        let targets = targets
            .into_iter()
            .filter(|target| target.node != own)
            .map(|target| (target.node, target))
            .collect();
        Self { targets }
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&PeerTarget> {
        self.targets.get(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PeerTarget> {
        self.targets.values()
    }

    /// Whether `node` is a member and `id` is its identity.
    pub(super) fn admits(&self, node: NodeId, id: &SpiffeId) -> bool {
        self.get(node).is_some_and(|target| target.id == *id)
    }
}
