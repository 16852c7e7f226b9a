//! What a sidecar of this cluster may know, as wire items. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weft_model::{
    ClusterName, Endpoint, Federation, Health, OnStale, Service, ServiceKey, ServiceType, SpiffeId,
    SpiffePath,
};
use weft_plan::catalog::CatalogView;
use weft_plan::{Lease, Moment, Path, Traffic, judge};
use weft_proto::catalog as wire;
use weft_proxy::catalog::wire as convert;

/// Everything that decides what a sidecar may know.
pub(super) struct Scene<'a> {
    pub(super) cluster: &'a ClusterName,
    pub(super) federation: &'a Federation,
    pub(super) view: &'a CatalogView,
    pub(super) paths: &'a BTreeMap<ClusterName, (Path, Duration)>,
    /// How long ago this replica heard the leader.
    pub(super) silence: Duration,
    pub(super) now: Moment,
}

impl Scene<'_> {
    /// The services that sidecars of this cluster may see.
    pub(super) fn services(&self) -> BTreeSet<ServiceKey> {
        let exported = self.federation.services();
        let exported = exported.filter(|service| service.is_visible_to(self.cluster));
        let local = self.view.local_services(self.federation);
        exported
            .map(|service| service.key.clone())
            .chain(local.into_iter().map(|service| service.key))
            .collect()
    }

    /// A service's record; none if sidecars of this cluster may not see it.
    pub(super) fn service(&self, key: &ServiceKey) -> Option<wire::Service> {
        let derived = self.federation.service(key);
        match derived.filter(|service| service.is_visible_to(self.cluster)) {
            Some(service) => Some(self.exported_service(service)),
            None => self.local_service(key),
        }
    }

    /// A service's endpoints, as sidecars of this cluster are to use them.
    pub(super) fn endpoints(&self, key: &ServiceKey) -> Vec<Arc<Endpoint>> {
        let Some(known) = self.view.service(key) else {
            return Vec::new();
        };
        let derived = self.federation.service(key);
        let usable = |endpoint: &Arc<Endpoint>| {
            if endpoint.cluster == *self.cluster {
                return Some(Arc::clone(endpoint));
            }
            let exporter = derived?.exporters.get(&endpoint.cluster)?;
            exporter
                .export_to
                .admits(self.cluster)
                .then(|| self.judged(endpoint, exporter.on_stale))
        };
        known.endpoints.iter().filter_map(usable).collect()
    }

    /// How this gateway sees another member.
    pub(super) fn cluster_state(&self, cluster: &ClusterName) -> Option<wire::ClusterState> {
        let member = self.federation.cluster(cluster)?;
        let (path, rtt) = self.path(cluster);
        Some(wire::ClusterState {
            cluster: cluster.to_string(),
            region: member.spec.region.to_string(),
            path: match path {
                Path::Up => wire::PathState::Up.into(),
                Path::Down(_) => wire::PathState::Down.into(),
            },
            rtt_us: u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX),
            lapsed: Lease::known(member.lapsed, self.silence) == Lease::Lapsed,
            drain: member.spec.drain,
        })
    }

    /// A path goes by cluster and is told once; what a lapsed lease means goes
    /// by service, and is told with each endpoint.
    fn judged(&self, endpoint: &Arc<Endpoint>, policy: OnStale) -> Arc<Endpoint> {
        let member = self.federation.cluster(&endpoint.cluster);
        let lapsed = member.and_then(|member| member.lapsed);
        let lease = Lease::known(lapsed, self.silence);
        let traffic = match self.path(&endpoint.cluster).0 {
            Path::Up => judge(lease, Path::Up, policy, self.now).traffic,
            Path::Down(_) => Traffic::All,
        };
        let health = match traffic {
            Traffic::All => return Arc::clone(endpoint),
            Traffic::OnlyExisting => Health::Draining,
            Traffic::None => Health::NotReady,
        };
        Arc::new(Endpoint {
            health: health.max(endpoint.health),
            ..Endpoint::clone(endpoint)
        })
    }

    fn path(&self, cluster: &ClusterName) -> (Path, Duration) {
        let unknown = (Path::Down(Moment::default()), Duration::ZERO);
        self.paths.get(cluster).copied().unwrap_or(unknown)
    }

    fn exported_service(&self, service: &Service) -> wire::Service {
        let own = self.federation.cluster(self.cluster);
        let ranges = own.map(|member| member.spec.virtual_ips);
        let mut virtual_ips = Vec::new();
        if let Some(ranges) = ranges
            && service.service_type == ServiceType::ClusterSetIP
        {
            virtual_ips.push(service.virtual_ipv4(&ranges).to_string());
            virtual_ips.extend(service.virtual_ipv6(&ranges).map(|ip| ip.to_string()));
        }
        wire::Service {
            key: Some(convert::to_service_key(&service.key)),
            headless: service.service_type == ServiceType::Headless,
            ports: service.ports.iter().map(convert::to_service_port).collect(),
            virtual_ips,
            identities: texts(self.identities(service)),
            local_only: false,
        }
    }

    /// Who may serve it: the workloads that its exporters name, the gateways
    /// that front its entries there, and this cluster's own unexported
    /// endpoints, each admitted when it registered.
    fn identities(&self, service: &Service) -> BTreeSet<SpiffeId> {
        let mut identities = BTreeSet::new();
        for (cluster, exporter) in &service.exporters {
            let visible = cluster == self.cluster || exporter.export_to.admits(self.cluster);
            let Some(member) = self.federation.cluster(cluster).filter(|_| visible) else {
                continue;
            };
            for (namespace, account) in &exporter.identities {
                let (domain, namespace) = (member.trust_domain.clone(), namespace.clone());
                identities.insert(SpiffeId::workload(domain, namespace, account.clone()));
            }
            identities.extend(self.stand_ins(cluster, service));
        }
        if !service.exporters.contains_key(self.cluster) {
            identities.extend(self.own_identities(&service.key));
        }
        identities
    }

    fn stand_ins(&self, cluster: &ClusterName, service: &Service) -> BTreeSet<SpiffeId> {
        let fronted = self
            .federation
            .workload_entries()
            .any(|((c, ns, _), record)| {
                c == cluster
                    && *ns == service.key.namespace
                    && record.spec.service == service.key.name
            });
        let (Some(member), Some(exporter), true) = (
            self.federation.cluster(cluster),
            service.exporters.get(cluster),
            fronted,
        ) else {
            return BTreeSet::new();
        };
        let gateways = self
            .federation
            .nodes()
            .filter(|(_, node)| node.cluster == *cluster);
        gateways
            .flat_map(|(_, node)| {
                exporter
                    .identities
                    .iter()
                    .map(|(namespace, account)| SpiffeId {
                        trust_domain: member.trust_domain.clone(),
                        path: SpiffePath::StandIn {
                            gateway: node.gateway.name.clone(),
                            namespace: namespace.clone(),
                            account: account.clone(),
                        },
                    })
            })
            .collect()
    }

    fn local_service(&self, key: &ServiceKey) -> Option<wire::Service> {
        let local = self.view.local_service(key)?;
        Some(wire::Service {
            key: Some(convert::to_service_key(key)),
            headless: false,
            ports: local.ports.iter().map(convert::to_service_port).collect(),
            virtual_ips: Vec::new(),
            identities: texts(self.own_identities(key)),
            local_only: true,
        })
    }

    fn own_identities(&self, key: &ServiceKey) -> BTreeSet<SpiffeId> {
        let known = self.view.service(key);
        let own = known
            .into_iter()
            .flat_map(|service| service.of(self.cluster));
        own.map(|endpoint| endpoint.identity.clone()).collect()
    }
}

fn texts(identities: BTreeSet<SpiffeId>) -> Vec<String> {
    identities.iter().map(ToString::to_string).collect()
}
