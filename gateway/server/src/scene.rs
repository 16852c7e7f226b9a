//! What a place may know of services: intent, liveness and reach, judged once. Pure.
//!
//! What it is: the one reading of exports, entries, leases and paths that the data plane decides
//! by. Sidecars get it as records of the catalog, the gateway's own data plane and `route explain`
//! as a [`ServiceTable`](weft_decide::ServiceTable): the same facts, which
//! `catalog::tests::tables` compares.
//! What it is not: it picks no endpoint and knows no wire type.

mod identities;
mod reach;
mod table;
#[cfg(test)]
mod tests;

pub use reach::Reach;
pub use table::service_table;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weft_decide::{ClusterView, Place, ReleaseView, RouteSource, ServiceSpec};
use weft_model::{
    Clamp, ClusterName, Endpoint, Exporter, Federation, RouteRecord, Service, ServiceKey,
    ServiceType, TrafficPolicySpec,
};
use weft_plan::catalog::CatalogView;
use weft_plan::release::{self, CallerPlace};
use weft_plan::{Lease, Moment, Path, Traffic, judge};

/// Everything that decides what a place may know.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Intent.
    pub federation: &'a Federation,
    /// Liveness.
    pub catalog: &'a CatalogView,
    /// The tunnels.
    pub reach: &'a Reach,
    /// How long ago this replica heard the leader.
    pub silence: Duration,
    /// Local lowerings of releases' weights, all that this gateway knows.
    pub clamps: &'a [Clamp],
    /// Where the reader is.
    pub place: &'a Place,
}

impl<'a> Scene<'a> {
    /// The services that the place may see.
    pub fn services(&self) -> BTreeSet<ServiceKey> {
        let exported = self.federation.services();
        let exported = exported.filter(|service| service.is_visible_to(self.own()));
        let local = self.catalog.local_services(self.federation);
        exported
            .map(|service| service.key.clone())
            .chain(local.into_iter().map(|service| service.key))
            .collect()
    }

    /// A service; none if the place may not see it.
    pub fn service(&self, key: &ServiceKey) -> Option<ServiceSpec> {
        match self.derived(key) {
            Some(service) => Some(self.exported(service)),
            None => self.local(key),
        }
    }

    /// A service's endpoints, as far as the place may use them.
    pub fn endpoints(&self, key: &ServiceKey) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        let known = self.catalog.service(key);
        let derived = self.derived(key);
        let own = self.own();
        let endpoints = known.into_iter().flat_map(|known| &known.endpoints);
        endpoints.filter(move |endpoint| {
            let offers = |service: &Service| {
                let exporter = service.exporters.get(&endpoint.cluster);
                exporter.is_some_and(|exporter| exporter.export_to.admits(own))
            };
            endpoint.cluster == *own || derived.is_some_and(offers)
        })
    }

    /// How another member is seen; none if it is no member.
    pub fn cluster(&self, cluster: &ClusterName) -> Option<ClusterView> {
        let member = self.federation.cluster(cluster)?;
        Some(ClusterView {
            region: member.spec.region.clone(),
            rtt: self.reach.rtt(cluster),
            drain: member.spec.drain,
            max_share: member.spec.max_share,
        })
    }

    fn own(&self) -> &'a ClusterName {
        &self.place.cluster
    }

    fn derived(&self, key: &ServiceKey) -> Option<&'a Service> {
        let derived = self.federation.service(key);
        derived
            .map(Arc::as_ref)
            .filter(|service| service.is_visible_to(self.own()))
    }

    fn exported(&self, service: &Service) -> ServiceSpec {
        ServiceSpec {
            key: service.key.clone(),
            ports: service.ports.clone(),
            identities: self.identities(service),
            headless: service.service_type == ServiceType::Headless,
            virtual_ips: self.virtual_ips(service),
            stale: self.stale(service),
            routes: self.routes_for(&service.key),
            policy: self.policy_for(&service.key),
            release: self.release_for(&service.key),
        }
    }

    /// A service that exists in this cluster by registration alone.
    fn local(&self, key: &ServiceKey) -> Option<ServiceSpec> {
        let local = self.catalog.local_service(key)?;
        Some(ServiceSpec {
            key: local.key,
            ports: local.ports,
            identities: self.registered(key),
            headless: false,
            virtual_ips: Vec::new(),
            stale: BTreeSet::new(),
            routes: self.routes_for(key),
            policy: self.policy_for(key),
            release: self.release_for(key),
        })
    }

    fn routes_for(&self, key: &ServiceKey) -> Vec<RouteSource> {
        let source = |(name, record): (&ServiceKey, &Arc<RouteRecord>)| RouteSource {
            name: name.clone(),
            created: record.created,
            spec: Arc::new(record.spec.clone()),
        };
        self.federation.routes_for(key).map(source).collect()
    }

    fn policy_for(&self, key: &ServiceKey) -> Option<Arc<TrafficPolicySpec>> {
        let record = self.federation.policy_for(key)?;
        Some(Arc::new(record.spec.clone()))
    }

    /// The release in effect, with what it gives the canary where the reader is.
    fn release_for(&self, service: &ServiceKey) -> Option<ReleaseView> {
        let (key, record) = self.federation.release_for(service)?;
        let own = self.federation.cluster(self.own());
        let caller = CallerPlace {
            cluster: self.own().clone(),
            // What administrators say of the cluster: every gateway of it says the same.
            region: own
                .map_or(&self.place.region, |own| &own.spec.region)
                .clone(),
        };
        let effective = release::weight(key, record, &caller, self.clamps);
        Some(ReleaseView {
            key: key.clone(),
            run: record.created,
            generation: record.generation,
            stable: record.spec.stable.clone(),
            canary: record.spec.canary.clone(),
            weight: effective.weight,
            audience: Arc::new(record.spec.audience.clone()),
        })
    }

    fn virtual_ips(&self, service: &Service) -> Vec<IpAddr> {
        let own = self.federation.cluster(self.own());
        let addressed = own.filter(|_| service.service_type == ServiceType::ClusterSetIP);
        let Some(ranges) = addressed.map(|member| &member.spec.virtual_ips) else {
            return Vec::new();
        };
        let ipv4 = IpAddr::V4(service.virtual_ipv4(ranges));
        let ipv6 = service.virtual_ipv6(ranges).map(IpAddr::V6);
        std::iter::once(ipv4).chain(ipv6).collect()
    }

    /// Exporters whose lease lapsed and who are then to take nothing new. Whether a path is up
    /// goes by cluster, and is told once for all services.
    fn stale(&self, service: &Service) -> BTreeSet<ClusterName> {
        let is_stale = |(cluster, exporter): &(&ClusterName, &Exporter)| {
            let member = self.federation.cluster(cluster);
            let lapsed = member.and_then(|member| member.lapsed);
            let lease = Lease::known(lapsed, self.silence);
            let verdict = judge(lease, Path::Up, exporter.on_stale, Moment::default());
            *cluster != self.own() && verdict.traffic != Traffic::All
        };
        let exporters = service.exporters.iter().filter(is_stale);
        exporters.map(|(cluster, _)| cluster.clone()).collect()
    }
}
