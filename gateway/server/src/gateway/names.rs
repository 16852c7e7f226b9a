//! DNS zones, built whenever the state, the catalog or the outlook changes; never while a
//! question waits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use weft_model::{Federation, Health, ServiceType, VirtualIpRanges};
use weft_plan::catalog::{CatalogView, Knowledge, ServiceEndpoints};
use weft_plan::dns::{
    AddressFamilies, ClusterLiveness, HeadlessEndpoint, Input, Liveness, LocalService, LocalVips,
    Name, Standing, Zones,
};
use weft_plan::{Moment, Outlook, Presence};

use super::serial::Serials;
use crate::config::GatewayConfig;
use crate::dns::{ZonesSource, publish};

/// Builds and publishes the zones of one gateway.
pub(super) struct Names {
    zone: Name,
    families: AddressFamilies,
    servers: Vec<IpAddr>,
    addresses: Option<(VirtualIpRanges, LocalVips)>,
    serials: Serials,
    zones: ZonesSource,
}

impl Names {
    /// Nothing published yet.
    pub(super) fn new(config: &GatewayConfig, zone: Name, zones: ZonesSource) -> Self {
        let serials = Serials::open(config.state_dir.join("serial.pb"));
        let bind = config.dns.bind.ip();
        Self {
            zone,
            families: if config.dns.aaaa {
                AddressFamilies::DualStack
            } else {
                AddressFamilies::Ipv4
            },
            servers: (!bind.is_unspecified())
                .then_some(bind)
                .into_iter()
                .collect(),
            addresses: None,
            serials,
            zones,
        }
    }

    /// Publishes what the snapshots say. Without a state there is nothing to say.
    pub(super) fn update(
        &mut self,
        federation: &Federation,
        view: &CatalogView,
        outlook: &Outlook,
        now: Moment,
    ) {
        let Some(member) = federation.cluster(outlook.own()) else {
            return;
        };
        let ranges = member.spec.virtual_ips;
        if self
            .addresses
            .as_ref()
            .is_none_or(|(known, _)| *known != ranges)
        {
            self.addresses = Some((ranges, LocalVips::new(&ranges)));
        }
        let Some((ranges, vips)) = &mut self.addresses else {
            return;
        };
        let number = self.serials.take();
        let previous = self.zones.load_full();
        let liveness = liveness(federation, view, outlook, now, number);
        let input = Input {
            federation,
            liveness: &liveness,
            cluster: outlook.own(),
            ranges,
            families: self.families,
            zone: &self.zone,
            servers: &self.servers,
            previous: Some(&previous),
        };
        let zones = Zones::build(&input, vips);
        publish(&self.zones, Arc::new(zones));
    }
}

fn liveness(
    federation: &Federation,
    view: &CatalogView,
    outlook: &Outlook,
    now: Moment,
    generation: u64,
) -> Liveness {
    let mut liveness = Liveness {
        generation,
        local: local(federation, view),
        ..Liveness::default()
    };
    for service in federation
        .services()
        .filter(|service| service.is_visible_to(outlook.own()))
    {
        for cluster in service.exporters.keys() {
            let verdict = outlook.verdict(federation, &service.key, cluster, now);
            let standing = match verdict.dns {
                Presence::Listed => Standing::Listed,
                Presence::Withdrawn => Standing::Withdrawn,
            };
            let ready = view
                .liveness(cluster)
                .map_or(0, |known| known.digest.ready(&service.key));
            let place = (service.key.clone(), cluster.clone());
            liveness
                .clusters
                .insert(place.clone(), ClusterLiveness { ready, standing });
            if service.service_type == ServiceType::Headless {
                let listed = endpoints(view.service(&service.key), cluster);
                let known = match view.knowledge(cluster, &service.key) {
                    Knowledge::Current => true,
                    // Of what may be outdated, what is there counts, and not what is missing.
                    Knowledge::Stale(_) => listed.iter().any(|e| e.health == Health::Ready),
                    Knowledge::Unknown => false,
                };
                if known {
                    liveness.endpoints.insert(place, listed);
                }
            }
        }
    }
    liveness
}

fn endpoints(
    listed: Option<&Arc<ServiceEndpoints>>,
    cluster: &weft_model::ClusterName,
) -> Vec<HeadlessEndpoint> {
    let of = listed.into_iter().flat_map(|listed| listed.of(cluster));
    of.map(|endpoint| HeadlessEndpoint {
        id: endpoint.id,
        hostname: endpoint.hostname.clone(),
        workload: endpoint.workload,
        weight: endpoint.weight,
        health: endpoint.health,
    })
    .collect()
}

/// What this cluster's registrations alone make exist; one virtual IP each, as they have no say.
fn local(
    federation: &Federation,
    view: &CatalogView,
) -> BTreeMap<weft_model::ServiceKey, LocalService> {
    let services = view.local_services(federation).into_iter();
    services
        .map(|service| {
            let record = LocalService {
                service_type: ServiceType::ClusterSetIP,
                ports: service.ports,
            };
            (service.key, record)
        })
        .collect()
}
