//! Who may serve a service, as a place is to believe it.

use std::collections::BTreeSet;

use weft_model::{ClusterName, Exporter, Service, ServiceKey, SpiffeId, SpiffePath};

use super::Scene;

impl Scene<'_> {
    /// The workloads that exporters name, the gateways that front servers for them, and, where
    /// this cluster does not export it, its own endpoints, each admitted when it registered.
    pub(super) fn identities(&self, service: &Service) -> BTreeSet<SpiffeId> {
        let own = self.own();
        let offers = service
            .exporters
            .iter()
            .filter(|(cluster, exporter)| *cluster == own || exporter.export_to.admits(own));
        let mut identities = BTreeSet::new();
        for (cluster, exporter) in offers {
            self.workloads(cluster, exporter, &mut identities);
            if self.is_fronted(cluster, service) {
                self.stand_ins(cluster, exporter, &mut identities);
            }
        }
        if !service.exporters.contains_key(own) {
            identities.extend(self.registered(&service.key));
        }
        identities
    }

    /// The identities of this cluster's own endpoints.
    pub(super) fn registered(&self, key: &ServiceKey) -> BTreeSet<SpiffeId> {
        let known = self.catalog.service(key).into_iter();
        let own = known.flat_map(|known| known.of(self.own()));
        own.map(|endpoint| endpoint.identity.clone()).collect()
    }

    fn workloads(&self, cluster: &ClusterName, from: &Exporter, into: &mut BTreeSet<SpiffeId>) {
        let Some(member) = self.federation.cluster(cluster) else {
            return;
        };
        into.extend(from.identities.iter().map(|(namespace, account)| {
            let domain = member.trust_domain.clone();
            SpiffeId::workload(domain, namespace.clone(), account.clone())
        }));
    }

    fn stand_ins(&self, cluster: &ClusterName, from: &Exporter, into: &mut BTreeSet<SpiffeId>) {
        let Some(member) = self.federation.cluster(cluster) else {
            return;
        };
        let nodes = self.federation.nodes();
        for (_, node) in nodes.filter(|(_, node)| node.cluster == *cluster) {
            into.extend(from.identities.iter().map(|(namespace, account)| SpiffeId {
                trust_domain: member.trust_domain.clone(),
                path: SpiffePath::StandIn {
                    gateway: node.gateway.name.clone(),
                    namespace: namespace.clone(),
                    account: account.clone(),
                },
            }));
        }
    }

    /// Whether `cluster` has an entry for the service: without one, no gateway may stand in for it.
    fn is_fronted(&self, cluster: &ClusterName, service: &Service) -> bool {
        let mut entries = self.federation.workload_entries();
        entries.any(|((of, namespace, _), record)| {
            of == cluster
                && *namespace == service.key.namespace
                && record.spec.service == service.key.name
        })
    }
}
