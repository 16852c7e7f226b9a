//! Builds zones from the state and from liveness.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use weft_model::{ClusterName, Health, ServiceKey, ServiceType};

use super::entry::{Addresses, Addressing, ClusterEndpoints, Entry, HeadlessAddress, LeftOut};
use super::wanted::{Wanted, wanted_entries};
use super::zones::{Content, Services, Table};
use super::{
    AddressFamilies, ClusterLiveness, Generation, HeadlessEndpoint, Input, LocalVips, Scope,
    Standing, Target, Zones,
};

impl Zones {
    /// Builds the zones that follow `input.previous`.
    ///
    /// Takes places in `vips` for every name that needs an address of its own and
    /// releases those that no name needs any longer.
    pub fn build(input: &Input<'_>, vips: &mut LocalVips) -> Self {
        let endpoints = known_endpoints(input);
        let entries = wanted_entries(input);
        vips.settle(&local_targets(input, &entries, &endpoints));
        let builder = Builder {
            input,
            vips,
            endpoints: &endpoints,
        };
        let (services, targets) = builder.build(entries);
        Self {
            content: Content::Services(services),
            generation: Generation {
                state: input.federation.applied(),
                liveness: input.liveness.generation,
            },
            targets,
            endpoints,
            ..Self::unknown(input.zone.clone())
        }
    }
}

type Endpoints = BTreeMap<(ServiceKey, ClusterName), Arc<[HeadlessEndpoint]>>;

/// What liveness says, else what was known before.
fn known_endpoints(input: &Input<'_>) -> Endpoints {
    let now = &input.liveness.endpoints;
    let mut known: Endpoints = now
        .iter()
        .map(|(place, endpoints)| (place.clone(), endpoints.as_slice().into()))
        .collect();
    let before = input.previous.iter().flat_map(|zones| &zones.endpoints);
    for (place, endpoints) in before {
        let (key, cluster) = place;
        let service = input.federation.service(key);
        let exported = service.is_some_and(|service| service.exporters.contains_key(cluster));
        let local = cluster == input.cluster && input.liveness.local.contains_key(key);
        if (exported || local) && !known.contains_key(place) {
            known.insert(place.clone(), Arc::clone(endpoints));
        }
    }
    known
}

/// What needs an address that the log does not give.
fn local_targets(input: &Input<'_>, entries: &[Wanted], endpoints: &Endpoints) -> BTreeSet<Target> {
    let services = entries
        .iter()
        .filter(|wanted| wanted.service_type == ServiceType::ClusterSetIP && wanted.own.is_none())
        .map(|wanted| Target::Service(wanted.key.clone(), wanted.scope.clone()));
    let remote = endpoints
        .iter()
        .filter(|((_, cluster), _)| cluster != input.cluster)
        .flat_map(|((key, cluster), list)| {
            list.iter()
                .filter(|endpoint| endpoint.health == Health::Ready)
                .map(|endpoint| Target::Endpoint(key.clone(), cluster.clone(), endpoint.id))
        });
    services.chain(remote).collect()
}

/// Gives wanted entries their addresses.
struct Builder<'a> {
    input: &'a Input<'a>,
    vips: &'a LocalVips,
    endpoints: &'a Endpoints,
}

impl Builder<'_> {
    fn build(&self, entries: Vec<Wanted>) -> (Services, BTreeMap<IpAddr, Target>) {
        let mut services = self.frame();
        let mut targets = BTreeMap::new();
        for wanted in entries {
            let scope = wanted.scope.clone();
            let entry = self.entry(wanted, &mut targets);
            let table = match &scope {
                Scope::Federation => Some(&mut services.federation),
                Scope::Cluster(name) => services
                    .clusters
                    .get_mut(name.as_str().as_bytes())
                    .map(|(_, table)| table),
                Scope::Region(name) => services
                    .regions
                    .get_mut(name.as_str().as_bytes())
                    .map(|(_, table)| table),
            };
            let Some(table) = table else { continue };
            let namespace = entry.key.namespace.as_str().as_bytes().into();
            let name = entry.key.name.as_str().as_bytes().into();
            let names: &mut BTreeMap<_, _> = table.entry(namespace).or_default();
            names.insert(name, entry);
        }
        self.virtual_targets(&services, &mut targets);
        (services, targets)
    }

    /// Clusters and regions that exist, whether or not they serve anything.
    fn frame(&self) -> Services {
        let mut services = Services::default();
        let bytes = |name: &str| -> Box<[u8]> { name.as_bytes().into() };
        for (cluster, member) in self.input.federation.clusters() {
            let region = &member.spec.region;
            services
                .clusters
                .insert(bytes(cluster.as_str()), (cluster.clone(), Table::new()));
            services
                .regions
                .insert(bytes(region.as_str()), (region.clone(), Table::new()));
        }
        for service in self.input.federation.services() {
            if !service.is_visible_to(self.input.cluster) {
                let exporters = service.exporters.keys().cloned().collect();
                services.hidden.insert(service.key.clone(), exporters);
            }
        }
        for server in self.input.servers {
            match server {
                IpAddr::V4(v4) => services.servers_v4.push(*v4),
                IpAddr::V6(v6) => services.servers_v6.push(*v6),
            }
        }
        services
    }

    fn entry(&self, wanted: Wanted, targets: &mut BTreeMap<IpAddr, Target>) -> Entry {
        let addressing = match wanted.service_type {
            ServiceType::ClusterSetIP => {
                let target = Target::Service(wanted.key.clone(), wanted.scope.clone());
                Addressing::Virtual(
                    wanted
                        .own
                        .or_else(|| self.local(&target))
                        .map(|a| self.given_out(a)),
                )
            }
            ServiceType::Headless => Addressing::Headless(
                wanted
                    .clusters
                    .iter()
                    .map(|cluster| self.cluster_endpoints(&wanted.key, cluster, targets))
                    .collect(),
            ),
        };
        let live = |cluster: &ClusterName| (cluster.clone(), self.liveness(&wanted.key, cluster));
        let exporters = match wanted.exported {
            true => wanted.clusters.iter().map(live).collect(),
            false => Vec::new(),
        };
        Entry {
            key: wanted.key,
            scope: wanted.scope,
            ttl: wanted.ttl,
            ports: wanted.ports,
            addressing,
            exporters,
        }
    }

    fn liveness(&self, key: &ServiceKey, cluster: &ClusterName) -> ClusterLiveness {
        let place = (key.clone(), cluster.clone());
        let clusters = &self.input.liveness.clusters;
        clusters.get(&place).copied().unwrap_or_default()
    }

    fn cluster_endpoints(
        &self,
        key: &ServiceKey,
        cluster: &ClusterName,
        targets: &mut BTreeMap<IpAddr, Target>,
    ) -> ClusterEndpoints {
        let standing = self.liveness(key, cluster).standing;
        let known = self.endpoints.get(&(key.clone(), cluster.clone()));
        let mut resolve = |endpoint: &HeadlessEndpoint| {
            let outcome = self.endpoint(key, cluster, endpoint, standing);
            if let (Ok(addresses), true) = (&outcome, cluster != self.input.cluster) {
                let target = Target::Endpoint(key.clone(), cluster.clone(), endpoint.id);
                record(targets, addresses, &target);
            }
            HeadlessAddress {
                label: match &endpoint.hostname {
                    Some(hostname) => hostname.as_str().to_owned(),
                    None => endpoint.id.to_string(),
                },
                weight: u16::try_from(endpoint.weight).unwrap_or(u16::MAX),
                outcome,
            }
        };
        ClusterEndpoints {
            cluster: cluster.clone(),
            known: match (known, standing) {
                (Some(list), _) => Some(list.iter().map(&mut resolve).collect()),
                // Whatever a withdrawn cluster has, names do not answer with it.
                (None, Standing::Withdrawn) => Some([].into()),
                (None, Standing::Listed) => None,
            },
        }
    }

    fn endpoint(
        &self,
        key: &ServiceKey,
        cluster: &ClusterName,
        endpoint: &HeadlessEndpoint,
        standing: Standing,
    ) -> Result<Addresses, LeftOut> {
        if endpoint.health != Health::Ready {
            return Err(LeftOut::NotReady);
        }
        if standing == Standing::Withdrawn {
            return Err(LeftOut::Withdrawn);
        }
        let found = if cluster == self.input.cluster {
            match endpoint.workload.ok_or(LeftOut::NoAddress)? {
                IpAddr::V4(v4) => Addresses {
                    ipv4: Some(v4),
                    ipv6: None,
                },
                IpAddr::V6(v6) => Addresses {
                    ipv4: None,
                    ipv6: Some(v6),
                },
            }
        } else {
            let target = Target::Endpoint(key.clone(), cluster.clone(), endpoint.id);
            self.local(&target).ok_or(LeftOut::NoPlace)?
        };
        let given = self.given_out(found);
        let some = given.iter().next().is_some();
        some.then_some(given).ok_or(LeftOut::NoAddress)
    }

    fn local(&self, target: &Target) -> Option<Addresses> {
        let (ipv4, ipv6) = self.vips.addresses(target)?;
        Some(Addresses {
            ipv4: Some(ipv4),
            ipv6,
        })
    }

    /// Without the family that is not given out.
    fn given_out(&self, addresses: Addresses) -> Addresses {
        match self.input.families {
            AddressFamilies::DualStack => addresses,
            AddressFamilies::Ipv4 => Addresses {
                ipv6: None,
                ..addresses
            },
        }
    }

    /// Virtual IPs of services. The federation's come last: an index that has grown
    /// into the upper half keeps the meaning that the log gives it.
    fn virtual_targets(&self, services: &Services, targets: &mut BTreeMap<IpAddr, Target>) {
        let regions = services.regions.values().map(|(_, table)| table);
        let clusters = services.clusters.values().map(|(_, table)| table);
        let tables = regions.chain(clusters).chain([&services.federation]);
        for entry in tables.flat_map(|table| table.values().flat_map(BTreeMap::values)) {
            if let Addressing::Virtual(Some(addresses)) = &entry.addressing {
                let target = Target::Service(entry.key.clone(), entry.scope.clone());
                record(targets, addresses, &target);
            }
        }
    }
}

fn record(targets: &mut BTreeMap<IpAddr, Target>, addresses: &Addresses, target: &Target) {
    for address in addresses.iter() {
        targets.insert(address, target.clone());
    }
}
