//! Gateways of one process over real UDP on loopback.

mod calls;
mod detour;
mod hostile;
mod meeting;
mod membership;
mod mutants;
mod nonsense;
mod outage;
mod spread;

use std::collections::BTreeSet;

use quinn::Connection;
use weft_model::{ClusterName, NodeId};

use super::hello::{self, Hello, HelloError, Purpose};
use super::tls::{SERVER_NAME, Tls};
use crate::testing::Gateway;

/// The sequences of the live connections to `node`, and how many there are.
fn links(gateway: &Gateway, node: NodeId) -> BTreeSet<u64> {
    let links = gateway.tunnels.shared.links.load();
    let live = links.of(node).iter().filter(|link| link.is_alive());
    live.map(|link| link.sequence).collect()
}

/// Dials `to` by hand, from the first worker of `from`, and says `hello`.
async fn dial(
    from: &Gateway,
    tls: &Tls,
    to: &Gateway,
    hello: &Hello,
) -> Result<(Connection, Hello), HelloError> {
    let config = tls.client(&to.target.id).unwrap();
    let address = to.address();
    let endpoint = &from.tunnels.shared.endpoints[0].dial;
    let connecting = endpoint.connect_with(config, address, SERVER_NAME).unwrap();
    let connection = connecting.await?;
    let answer = hello::offer(&connection, hello).await?;
    Ok((connection, answer))
}

/// What `gateway` would say of itself.
fn hello(gateway: &Gateway, purpose: Purpose, worker: u32) -> Hello {
    Hello {
        node: gateway.node(),
        gateway: gateway.target.gateway.clone(),
        incarnation: gateway.tunnels.shared.incarnation,
        purpose,
        worker,
    }
}

/// The TLS of a gateway, to dial with by hand.
fn tls(gateway: &Gateway) -> Tls {
    let tuning = &gateway.tunnels.shared.tuning;
    Tls::new(
        gateway.svid.clone(),
        gateway.bundles.clone(),
        tuning.transport(),
    )
}

impl super::Tunnels {
    /// The sequences of the live data connections to a cluster.
    pub(crate) fn data_links(&self, cluster: &ClusterName) -> BTreeSet<u64> {
        let links = self.shared.links.load();
        links
            .iter()
            .filter(|link| link.origin.purpose == Purpose::Data && link.is_alive())
            .filter(|link| link.origin.cluster == *cluster)
            .map(|link| link.sequence)
            .collect()
    }
}
