//! The other gateways, as they are told to one that has no state.

use bytes::Bytes;
use weft_identity::Bundle;
use weft_model::{
    ClusterName, Federation, FederationDomain, GatewayName, HostPort, NodeId, TrustDomain,
};
use weft_proto::identity as wire;

use super::certificate;

/// Another gateway, as known before the log is read.
#[derive(Debug, Clone)]
pub struct KnownPeer {
    /// Its id.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name there.
    pub gateway: GatewayName,
    /// Where it is dialled (UDP); none if it cannot be.
    pub tunnel: Option<HostPort>,
    /// Its cluster's CA certificates.
    pub bundle: Bundle,
    /// Whether it may vote, and so may say what the log holds.
    pub votes: bool,
}

/// Every gateway but `own`, with its cluster's bundle.
pub(crate) fn peers(state: &Federation, own: NodeId) -> Vec<wire::Peer> {
    let others = state.nodes().filter(|(id, _)| *id != own);
    let address = |address: &Option<HostPort>| {
        let address = address.as_ref();
        address.map(ToString::to_string).unwrap_or_default()
    };
    others
        .filter_map(|(id, node)| {
            let member = state.cluster(&node.cluster)?;
            Some(wire::Peer {
                node: id.0,
                cluster: node.cluster.to_string(),
                gateway: node.gateway.name.to_string(),
                tunnel: address(&node.gateway.tunnel),
                api: address(&node.gateway.api),
                bundle: member
                    .bundle
                    .iter()
                    .map(|der| Bytes::copy_from_slice(der))
                    .collect(),
                votes: state.may_vote(id),
            })
        })
        .collect()
}

/// Peers as a gateway or a file names them.
pub(crate) fn known_peers(
    peers: &[wire::Peer],
    domain: &FederationDomain,
) -> Result<Vec<KnownPeer>, String> {
    peers.iter().map(|peer| known_peer(peer, domain)).collect()
}

/// One; its bundle is of its own cluster's trust domain.
fn known_peer(peer: &wire::Peer, domain: &FederationDomain) -> Result<KnownPeer, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let cluster: ClusterName = peer.cluster.parse().map_err(|error| text(&error))?;
    let trust_domain = TrustDomain::of_cluster(&cluster, domain);
    let tunnel = match peer.tunnel.as_str() {
        "" => None,
        address => Some(address.parse().map_err(|error| text(&error))?),
    };
    Ok(KnownPeer {
        node: NodeId(peer.node),
        gateway: peer.gateway.parse().map_err(|error| text(&error))?,
        tunnel,
        bundle: Bundle::new(trust_domain, peer.bundle.iter().map(certificate))
            .map_err(|error| text(&error))?,
        cluster,
        votes: peer.votes,
    })
}
