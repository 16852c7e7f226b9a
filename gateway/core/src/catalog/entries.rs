//! Endpoints for servers without a sidecar, which a gateway of their cluster fronts.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use weft_model::{
    ClusterName, Endpoint, EndpointId, EndpointPort, Federation, GatewayName, Health, Namespace,
    ServiceKey, ServiceName, SpiffeId, SpiffePath, Unready, WorkloadEntrySpec,
};

use super::{Epoch, set_hash};

/// The gateway that fronts them, in one of its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFront {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub gateway: GatewayName,
    /// Its run: ids are stable within it.
    pub epoch: Epoch,
    /// Where it takes inner mTLS for them.
    pub address: SocketAddr,
}

/// Whether a server takes work, and why not.
pub type Probed = (Health, Option<Unready>);

/// The endpoints of all `WorkloadEntry`s of the front's cluster, in the order
/// of their names, with sequence 0: the caller counts changes.
///
/// An entry that `health` does not name is not ready: nobody has probed it yet.
/// One without checks counts as ready. An entry whose service its cluster does
/// not export has no named ports to answer and gives no endpoint.
pub fn entry_endpoints(
    federation: &Federation,
    front: &EntryFront,
    health: &BTreeMap<(Namespace, ServiceName), Probed>,
) -> Vec<Endpoint> {
    let own = |cluster: &ClusterName| *cluster == front.cluster;
    federation
        .workload_entries()
        .filter(|((cluster, _, _), _)| own(cluster))
        .filter_map(|((_, namespace, name), record)| {
            let spec = &record.spec;
            let (state, unready) = if spec.checks.is_empty() {
                (Health::Ready, None)
            } else {
                let at = (namespace.clone(), name.clone());
                let probed = health.get(&at).cloned();
                probed.unwrap_or((Health::NotReady, None))
            };
            let endpoint = endpoint(federation, front, (namespace, name), spec, state)?;
            Some(Endpoint {
                unready,
                ..endpoint
            })
        })
        .collect()
}

fn endpoint(
    federation: &Federation,
    front: &EntryFront,
    (namespace, name): (&Namespace, &ServiceName),
    spec: &WorkloadEntrySpec,
    health: Health,
) -> Option<Endpoint> {
    let service = ServiceKey::new(namespace.clone(), spec.service.clone());
    let export = federation.export(&service, &front.cluster)?;
    let ports: Vec<EndpointPort> = export
        .spec
        .ports
        .iter()
        .filter(|port| {
            port.name
                .as_ref()
                .is_some_and(|n| spec.ports.contains_key(n))
        })
        .map(|port| EndpointPort {
            name: port.name.clone(),
            service_port: port.port,
            protocol: port.app_protocol,
        })
        .collect();
    let account = match &spec.service_account {
        Some(account) => account.clone(),
        None => spec.service.as_str().parse().ok()?,
    };
    if ports.is_empty() {
        return None;
    }
    Some(Endpoint {
        id: entry_id(front, namespace, name),
        service,
        cluster: front.cluster.clone(),
        zone: spec.zone.clone(),
        version: spec.version.clone(),
        hostname: name.as_str().parse().ok(),
        address: Some(front.address),
        workload: Some(spec.address),
        ports,
        identity: SpiffeId {
            trust_domain: federation.cluster(&front.cluster)?.trust_domain.clone(),
            path: SpiffePath::StandIn {
                gateway: front.gateway.clone(),
                namespace: namespace.clone(),
                account,
            },
        },
        weight: spec.weight,
        health,
        unready: None,
        sequence: 0,
    })
}

/// The same for one entry within a run, another in the next.
fn entry_id(front: &EntryFront, namespace: &Namespace, name: &ServiceName) -> EndpointId {
    let text = format!("{namespace}/{name}");
    let mut id = front.epoch.0;
    for (round, chunk) in (1u64..).zip(text.as_bytes().chunks(8)) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let low = set_hash::word(EndpointId(id), u64::from_be_bytes(word) ^ round);
        let high = set_hash::word(EndpointId(id), low);
        id[..8].copy_from_slice(&high.to_be_bytes());
        id[8..].copy_from_slice(&low.to_be_bytes());
    }
    let mut unique = [0; EndpointId::RANDOM];
    unique.copy_from_slice(&id[..EndpointId::RANDOM]);
    EndpointId::of_cluster(&front.cluster, unique)
}
