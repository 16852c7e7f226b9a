//! Which names there are, before they have addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use weft_model::{
    ClusterName, Exporter, RegionName, Service, ServiceKey, ServicePort, ServiceType,
};

use super::entry::Addresses;
use super::{Input, LocalService, Scope};

/// TTL of a service that exists by registration alone, in seconds.
const LOCAL_TTL: u32 = 5;

/// A service under a scope, before it has addresses.
pub(super) struct Wanted {
    pub(super) key: ServiceKey,
    pub(super) scope: Scope,
    pub(super) service_type: ServiceType,
    pub(super) ports: Vec<ServicePort>,
    pub(super) ttl: u32,
    /// Where its endpoints are, in the order of names.
    pub(super) clusters: Vec<ClusterName>,
    /// Whether those clusters export it.
    pub(super) exported: bool,
    /// Its own virtual IP, if that is what this scope answers with.
    pub(super) own: Option<Addresses>,
}

/// Every service under every scope that this cluster may name it by.
pub(super) fn wanted_entries(input: &Input<'_>) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let mut exported_here = BTreeSet::new();
    for service in input.federation.services() {
        let visible = visible_exporters(input, service);
        if visible.contains_key(input.cluster) {
            exported_here.insert(&service.key);
        }
        wanted.extend(scopes(input, service, &visible));
    }
    let only_local = input
        .liveness
        .local
        .iter()
        .filter(|(key, _)| !exported_here.contains(key));
    wanted.extend(only_local.map(|(key, local)| wanted_local(input, key, local)));
    wanted
}

fn visible_exporters<'s>(
    input: &Input<'_>,
    service: &'s Service,
) -> BTreeMap<&'s ClusterName, &'s Exporter> {
    let admits = |(cluster, exporter): &(&ClusterName, &Exporter)| {
        *cluster == input.cluster || exporter.export_to.admits(input.cluster)
    };
    service.exporters.iter().filter(admits).collect()
}

/// A service under the federation, under each cluster and under each region.
fn scopes(
    input: &Input<'_>,
    service: &Service,
    visible: &BTreeMap<&ClusterName, &Exporter>,
) -> Vec<Wanted> {
    if visible.is_empty() {
        return Vec::new();
    }
    let under = |scope: Scope, clusters: Vec<ClusterName>, own: Option<Addresses>| {
        let served: BTreeSet<NonZeroU16> = clusters
            .iter()
            .filter_map(|cluster| visible.get(cluster))
            .flat_map(|exporter| exporter.ports.iter().copied())
            .collect();
        let ports = service
            .ports
            .iter()
            .filter(|port| served.contains(&port.port));
        Wanted {
            key: service.key.clone(),
            scope,
            service_type: service.service_type,
            ports: ports.cloned().collect(),
            ttl: seconds(service.ttl),
            clusters,
            exported: true,
            own,
        }
    };
    let all: Vec<ClusterName> = visible.keys().map(|cluster| (*cluster).clone()).collect();
    let mut regions: BTreeMap<RegionName, Vec<ClusterName>> = BTreeMap::new();
    for cluster in &all {
        if let Some(member) = input.federation.cluster(cluster) {
            let region = member.spec.region.clone();
            regions.entry(region).or_default().push(cluster.clone());
        }
    }
    let own = Addresses {
        ipv4: Some(service.virtual_ipv4(input.ranges)),
        ipv6: service.virtual_ipv6(input.ranges),
    };
    let mut wanted = vec![under(Scope::Federation, all.clone(), Some(own))];
    wanted.extend(
        all.into_iter()
            .map(|cluster| under(Scope::Cluster(cluster.clone()), vec![cluster], None)),
    );
    wanted.extend(
        regions
            .into_iter()
            .map(|(region, clusters)| under(Scope::Region(region), clusters, None)),
    );
    wanted
}

fn wanted_local(input: &Input<'_>, key: &ServiceKey, local: &LocalService) -> Wanted {
    Wanted {
        key: key.clone(),
        scope: Scope::Cluster(input.cluster.clone()),
        service_type: local.service_type,
        ports: local.ports.clone(),
        ttl: LOCAL_TTL,
        clusters: vec![input.cluster.clone()],
        exported: false,
        own: None,
    }
}

/// Rounded up: a record with TTL 0 would not be kept at all.
fn seconds(ttl: Duration) -> u32 {
    let whole = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    u32::try_from(whole)
        .unwrap_or(u32::MAX >> 1)
        .min(u32::MAX >> 1)
}
