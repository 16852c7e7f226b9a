//! The services as a gateway's own data plane sees them. Pure.
//!
//! The same facts as the catalog tells sidecars, in the form that both decide by.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use weft_decide::{
    EndpointView, Locality, PathState, Place, ServiceRoutes, ServiceSpec, ServiceTable,
};
use weft_model::{
    ClusterName, Endpoint, Exporter, Federation, OnStale, Service, ServiceKey, ServiceType,
    SpiffeId, SpiffePath,
};
use weft_plan::catalog::{CatalogView, LocalService, ServiceEndpoints};

use super::Reach;

/// Everything that a table is made of.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Intent.
    pub federation: &'a Federation,
    /// Liveness.
    pub catalog: &'a CatalogView,
    /// The tunnels.
    pub reach: &'a Reach,
    /// Where the reader is.
    pub place: &'a Place,
}

/// The table of every service that `scene.place.cluster` may use. Services that
/// did not change share their routes with `previous`, and balancers keep what
/// they learnt.
pub fn service_table(scene: &Scene<'_>, previous: Option<&ServiceTable>) -> ServiceTable {
    let own = &scene.place.cluster;
    let visible = scene.federation.services();
    let visible = visible.filter(|service| service.is_visible_to(own));
    let local = scene.catalog.local_services(scene.federation);
    let routes = visible
        .map(|service| scene.exported(service))
        .chain(local.iter().map(|service| scene.local(service)));
    let shared = routes.map(|routes| {
        let known = previous.and_then(|table| table.service(routes.key()));
        match known {
            Some(known) if **known == routes => Arc::clone(known),
            _ => Arc::new(routes),
        }
    });
    ServiceTable::new(scene.place.clone(), scene.federation.applied(), shared)
}

impl Scene<'_> {
    fn exported(&self, service: &Service) -> ServiceRoutes {
        let spec = ServiceSpec {
            key: service.key.clone(),
            ports: service.ports.clone(),
            identities: self.identities(service),
            headless: service.service_type == ServiceType::Headless,
            virtual_ips: self.virtual_ips(service),
        };
        let endpoints = self.endpoints(&service.key);
        let views = endpoints.filter_map(|endpoint| {
            let exporter = service.exporters.get(&endpoint.cluster);
            let locality = self.locality(&endpoint.cluster, exporter)?;
            let endpoint = Endpoint::clone(endpoint);
            Some(Arc::new(EndpointView { endpoint, locality }))
        });
        ServiceRoutes::new(spec, self.place, views)
    }

    /// A service that exists in this cluster by registration alone.
    fn local(&self, service: &LocalService) -> ServiceRoutes {
        let own = &self.place.cluster;
        let spec = ServiceSpec {
            key: service.key.clone(),
            ports: service.ports.clone(),
            identities: self.registered(&service.key),
            headless: false,
            virtual_ips: Vec::new(),
        };
        let endpoints = self.endpoints(&service.key);
        let views = endpoints.filter(|e| e.cluster == *own).map(|endpoint| {
            Arc::new(EndpointView {
                endpoint: Endpoint::clone(endpoint),
                locality: Locality::Local,
            })
        });
        ServiceRoutes::new(spec, self.place, views)
    }

    fn endpoints(&self, key: &ServiceKey) -> impl Iterator<Item = &Arc<Endpoint>> {
        let known = self.catalog.service(key);
        known.into_iter().flat_map(|known| &known.endpoints)
    }

    /// How far `cluster` is; none if it does not offer the service here.
    fn locality(&self, cluster: &ClusterName, exporter: Option<&Exporter>) -> Option<Locality> {
        if *cluster == self.place.cluster {
            return Some(Locality::Local);
        }
        let exporter = exporter.filter(|e| e.export_to.admits(&self.place.cluster))?;
        let member = self.federation.cluster(cluster)?;
        let rtt = self.reach.rtt(cluster);
        let lapsed = member.lapsed.is_some() && exporter.on_stale != OnStale::Serve;
        let path = match rtt {
            _ if member.spec.drain => PathState::Draining,
            None => PathState::Down,
            Some(_) if lapsed => PathState::Lapsed,
            Some(_) => PathState::Up,
        };
        Some(Locality::Remote {
            region: member.spec.region.clone(),
            rtt: rtt.unwrap_or_default(),
            path,
        })
    }

    fn virtual_ips(&self, service: &Service) -> Vec<IpAddr> {
        let own = self.federation.cluster(&self.place.cluster);
        let addressed = own.filter(|_| service.service_type == ServiceType::ClusterSetIP);
        let Some(ranges) = addressed.map(|member| &member.spec.virtual_ips) else {
            return Vec::new();
        };
        let ipv4 = IpAddr::V4(service.virtual_ipv4(ranges));
        let ipv6 = service.virtual_ipv6(ranges).map(IpAddr::V6);
        std::iter::once(ipv4).chain(ipv6).collect()
    }

    /// Who may serve it: the workloads that exporters name, gateways that front
    /// servers for them, and, where this cluster does not export it, its own
    /// endpoints, each admitted when it registered.
    fn identities(&self, service: &Service) -> BTreeSet<SpiffeId> {
        let own = &self.place.cluster;
        let offers = service
            .exporters
            .iter()
            .filter(|(cluster, exporter)| *cluster == own || exporter.export_to.admits(own));
        let mut identities = BTreeSet::new();
        for (cluster, exporter) in offers {
            self.serving(cluster, exporter, &mut identities);
        }
        if !service.exporters.contains_key(own) {
            identities.extend(self.registered(&service.key));
        }
        identities
    }

    fn serving(&self, cluster: &ClusterName, exporter: &Exporter, into: &mut BTreeSet<SpiffeId>) {
        let Some(member) = self.federation.cluster(cluster) else {
            return;
        };
        let nodes = self.federation.nodes();
        let gateways: Vec<_> = nodes
            .filter(|(_, node)| node.cluster == *cluster)
            .map(|(_, node)| &node.gateway.name)
            .collect();
        for (namespace, account) in &exporter.identities {
            let domain = &member.trust_domain;
            into.insert(SpiffeId::workload(
                domain.clone(),
                namespace.clone(),
                account.clone(),
            ));
            into.extend(gateways.iter().map(|gateway| SpiffeId {
                trust_domain: domain.clone(),
                path: SpiffePath::StandIn {
                    gateway: (*gateway).clone(),
                    namespace: namespace.clone(),
                    account: account.clone(),
                },
            }));
        }
    }

    fn registered(&self, key: &ServiceKey) -> BTreeSet<SpiffeId> {
        let own = &self.place.cluster;
        let known = self.catalog.service(key).map(AsRef::as_ref);
        let of_own = |known: &ServiceEndpoints| -> BTreeSet<SpiffeId> {
            known.of(own).map(|e| e.identity.clone()).collect()
        };
        known.map(of_own).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
