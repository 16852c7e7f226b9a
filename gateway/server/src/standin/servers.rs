//! Servers without a sidecar, as endpoints and as what stands behind them. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_model::{Endpoint, Federation, Namespace, ServiceName, SpiffeId, WorkloadEntrySpec};
use weft_plan::catalog::{EntryFront, Probed, entry_endpoints};
use weft_proxy::LocalEndpoint;
use weft_proxy::config::{LocalPort, LocalService};

/// A `WorkloadEntry` of one cluster by its name there.
pub(super) type EntryName = (Namespace, ServiceName);

/// A server that the gateway fronts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// As others see it; its address is for the front to fill in.
    pub(super) endpoint: Endpoint,
    /// As the inbound side forwards to it.
    pub(super) local: LocalEndpoint,
}

impl Server {
    /// Whose SVID the gateway presents for it.
    pub(super) fn identity(&self) -> &SpiffeId {
        &self.endpoint.identity
    }
}

/// Every server of the front's cluster.
pub(super) fn servers(
    federation: &Federation,
    front: &EntryFront,
    health: &BTreeMap<EntryName, Probed>,
) -> Vec<Server> {
    // An entry's endpoint has the entry's name as its host name.
    let by_name: BTreeMap<EntryName, _> = entries(federation, front).collect();
    let entry_of = |endpoint: &Endpoint| {
        let name = endpoint.hostname.as_ref()?.as_str().parse().ok()?;
        by_name.get(&(endpoint.service.namespace.clone(), name))
    };
    let endpoints = entry_endpoints(federation, front, health).into_iter();
    endpoints
        .filter_map(|endpoint| {
            let local = local(&endpoint, entry_of(&endpoint)?);
            Some(Server { endpoint, local })
        })
        .collect()
}

/// The entries of the front's cluster with their checks.
pub(super) fn entries<'a>(
    federation: &'a Federation,
    front: &'a EntryFront,
) -> impl Iterator<Item = (EntryName, &'a WorkloadEntrySpec)> {
    let entries = federation.workload_entries();
    entries
        .filter(|((cluster, _, _), _)| *cluster == front.cluster)
        .map(|((_, namespace, name), record)| ((namespace.clone(), name.clone()), &record.spec))
}

fn local(endpoint: &Endpoint, entry: &WorkloadEntrySpec) -> LocalEndpoint {
    let ports = endpoint.ports.iter().filter_map(|port| {
        let app_port = port.name.as_ref().and_then(|name| entry.ports.get(name))?;
        Some(LocalPort {
            name: port.name.clone(),
            service_port: port.service_port,
            app_port: *app_port,
            protocol: port.protocol,
        })
    });
    LocalEndpoint {
        id: endpoint.id,
        service: LocalService {
            key: endpoint.service.clone(),
            version: endpoint.version.clone(),
            hostname: endpoint.hostname.clone(),
            weight: endpoint.weight,
            app: entry.address,
            ports: ports.collect(),
            checks: Vec::new(),
        },
    }
}

/// An address that says nothing yet: the front fills in where it listens.
pub(super) const UNPLACED: std::net::SocketAddr =
    std::net::SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
