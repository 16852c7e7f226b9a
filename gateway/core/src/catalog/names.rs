//! What names need to know of the catalog.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_model::{ClusterName, Exporter, Federation, OnStale, Service, ServiceType};

use super::{CatalogView, Knowledge};
use crate::dns::{ClusterLiveness, HeadlessEndpoint, Liveness, LocalService, Standing};
use crate::{Lease, Moment, Path, Presence, judge};

/// What decides, beside the view, whether names answer with a cluster.
#[derive(Debug, Clone, Copy)]
pub struct NameScene<'a> {
    /// The replicated state.
    pub federation: &'a Federation,
    /// The way to each other cluster; one that is missing is down.
    pub paths: &'a BTreeMap<ClusterName, Path>,
    /// How long ago this replica heard the leader.
    pub silence: Duration,
    /// Now.
    pub now: Moment,
}

impl CatalogView {
    /// Liveness as the DNS zones are built from it.
    ///
    /// Where endpoints are known they are counted; elsewhere the cluster's own
    /// digest is believed.
    pub fn for_names(&self, scene: NameScene<'_>) -> Liveness {
        let mut liveness = Liveness {
            generation: self.generation(),
            ..Liveness::default()
        };
        for service in scene.federation.services() {
            for (cluster, exporter) in &service.exporters {
                let visible =
                    cluster == self.cluster() || exporter.export_to.admits(self.cluster());
                if visible {
                    self.tell(&mut liveness, scene, service, (cluster, exporter));
                }
            }
        }
        for local in self.local_services(scene.federation) {
            let ports = local.ports;
            let service_type = ServiceType::ClusterSetIP;
            let record = LocalService {
                service_type,
                ports,
            };
            liveness.local.insert(local.key, record);
        }
        liveness
    }

    fn tell(
        &self,
        liveness: &mut Liveness,
        scene: NameScene<'_>,
        service: &Service,
        (cluster, exporter): (&ClusterName, &Exporter),
    ) {
        let at = (service.key.clone(), cluster.clone());
        let known = self.knowledge(cluster, &service.key) != Knowledge::Unknown;
        let endpoints = self.service(&service.key);
        let ready = if known {
            let ready = endpoints
                .into_iter()
                .flat_map(|endpoints| endpoints.ready());
            let ready = ready.filter(|endpoint| endpoint.cluster == *cluster);
            u32::try_from(ready.count()).unwrap_or(u32::MAX)
        } else {
            let told = self.liveness(cluster);
            told.map_or(0, |told| told.digest.ready(&service.key))
        };
        let standing = self.standing(scene, cluster, exporter.on_stale);
        let summary = ClusterLiveness { ready, standing };
        liveness.clusters.insert(at.clone(), summary);
        if known && service.service_type == ServiceType::Headless {
            let of = endpoints
                .into_iter()
                .flat_map(|endpoints| endpoints.of(cluster));
            let told = of.map(|endpoint| HeadlessEndpoint {
                id: endpoint.id,
                hostname: endpoint.hostname.clone(),
                workload: endpoint.workload,
                weight: endpoint.weight,
                health: endpoint.health,
            });
            liveness.endpoints.insert(at, told.collect());
        }
    }

    fn standing(&self, scene: NameScene<'_>, cluster: &ClusterName, policy: OnStale) -> Standing {
        if cluster == self.cluster() {
            return Standing::Listed;
        }
        let member = scene.federation.cluster(cluster);
        let lease = Lease::known(member.and_then(|m| m.lapsed), scene.silence);
        let path = scene.paths.get(cluster).copied();
        let path = path.unwrap_or(Path::Down(Moment::default()));
        match judge(lease, path, policy, scene.now).dns {
            Presence::Listed => Standing::Listed,
            Presence::Withdrawn => Standing::Withdrawn,
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::{self, name};
    use weft_model::{Command, ServiceKey};

    use super::*;
    use crate::catalog::fixture::{EU, Link, US, at, catalog, checkout, endpoint, identity};
    use crate::catalog::{Interest, SessionId};

    fn scene<'a>(
        federation: &'a Federation,
        paths: &'a BTreeMap<ClusterName, Path>,
    ) -> NameScene<'a> {
        NameScene {
            federation,
            paths,
            silence: Duration::ZERO,
            now: at(100),
        }
    }

    /// The fixture's federation, to write on. Requests are numbered by the length
    /// of the log: beyond those that made the state.
    fn writable() -> fixture::Log {
        let mut log = fixture::Log {
            state: fixture::federation(),
            ..fixture::Log::default()
        };
        let filler = log.entry(log.gateway(1), Command::LapseLease(name(US)));
        log.entries = vec![filler; 1000];
        log
    }

    #[test]
    fn names_follow_endpoints_where_known_and_leases_elsewhere() {
        let mut log = writable();
        let mut us = catalog(US, "gw", 1, at(0));
        let session = SessionId([1; 16]);
        us.open_session(session, identity(US), at(1));
        us.put(session, endpoint(US, 1, 1), &log.state, at(1))
            .unwrap();
        let mut eu = catalog(EU, "gw", 2, at(0));
        Link::open(&us, US, "gw", &mut eu, at(2)).deliver(&us, &mut eu, 10, at(2));
        let (view, _) = eu.refresh();
        let key = |cluster: &str| (checkout(), name::<ClusterName>(cluster));
        let paths = BTreeMap::from([(name(US), Path::Down(at(1)))]);
        let told = view.for_names(scene(&log.state, &paths));
        let listed = ClusterLiveness {
            ready: 1,
            standing: Standing::Listed,
        };
        assert_eq!(
            told.clusters[&key(US)],
            listed,
            "a path alone takes nobody out"
        );
        assert_eq!(told.clusters[&key(EU)].ready, 0);
        let orders = (name::<ServiceKey>("data/orders"), name(US));
        assert_eq!(told.endpoints[&orders], [], "known: there are none");
        log.accept(log.gateway(1), Command::LapseLease(name(US)));
        let told = view.for_names(scene(&log.state, &paths));
        assert_eq!(told.clusters[&key(US)].standing, Standing::Withdrawn);
        eu.narrow(&Interest::default());
        let (view, _) = eu.refresh();
        let told = view.for_names(scene(&log.state, &paths));
        assert!(
            !told.endpoints.contains_key(&orders),
            "not known any longer"
        );
    }
}
