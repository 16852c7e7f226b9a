//! What readers see of liveness: immutable, shared, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_model::{
    ClusterName, Digest, Endpoint, EndpointId, Federation, Health, ServiceKey, ServicePort,
    TransportProtocol,
};

use super::set_hash::word;
use super::{Interest, SetHash};
use crate::Moment;

/// Endpoints, digests and how fresh they are, as one gateway sees them.
///
/// Services that did not change share their endpoints with the view before.
#[derive(Debug, Clone)]
pub struct CatalogView {
    pub(crate) generation: u64,
    pub(crate) cluster: ClusterName,
    pub(crate) services: BTreeMap<ServiceKey, Arc<ServiceEndpoints>>,
    pub(crate) clusters: BTreeMap<ClusterName, Arc<ClusterLiveness>>,
}

/// The endpoints of one service in every cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceEndpoints {
    /// In the order of cluster and id. Those of this cluster have an address,
    /// the others have none. Health is as it is to be used: an endpoint that
    /// nobody attests any longer is not ready.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Clusters where more endpoints vanished at once than is believed: they
    /// are still listed.
    pub suspect: BTreeSet<ClusterName>,
}

/// What is known of one cluster's liveness.
#[derive(Debug, Clone)]
pub struct ClusterLiveness {
    /// How much of what it has ready.
    pub digest: Arc<Digest>,
    /// How fresh that is.
    pub freshness: Freshness,
    /// The services whose endpoints are known; of others only the digest is.
    pub covered: Interest,
}

/// What the last view on disk knew of another cluster besides its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastKnown {
    /// When one of its gateways was last heard.
    pub heard: Moment,
    /// The services whose endpoints were known.
    pub covered: Interest,
    /// How much of what it had ready.
    pub digest: Arc<Digest>,
}

/// How fresh something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// A gateway of its cluster is heard.
    Live,
    /// None has been heard since then; this is the last known.
    Stale(Moment),
}

/// Whether the endpoints of a service in a cluster are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Knowledge {
    /// They are, up to now.
    Current,
    /// They were, at that moment.
    Stale(Moment),
    /// Nobody has told yet: an empty list means nothing.
    Unknown,
}

/// A service that exists in this cluster by registration alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalService {
    /// Its name.
    pub key: ServiceKey,
    /// The union of its endpoints' ports; of two with one number the first stays.
    pub ports: Vec<ServicePort>,
}

impl CatalogView {
    /// A view of nothing.
    pub fn empty(cluster: ClusterName) -> Self {
        Self {
            generation: 0,
            cluster,
            services: BTreeMap::new(),
            clusters: BTreeMap::new(),
        }
    }

    /// Counted up with each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A hash of all endpoints and how they are to be used: gateways that see the same
    /// have the same.
    pub fn hash(&self) -> SetHash {
        let endpoints = self
            .services
            .values()
            .flat_map(|service| &service.endpoints);
        let mut hash = SetHash::default();
        for endpoint in endpoints {
            let health = match endpoint.health {
                Health::Ready => 1,
                Health::NotReady => 2,
                Health::Draining => 3,
            };
            hash.insert(word(endpoint.id, endpoint.sequence).wrapping_mul(health));
        }
        hash
    }

    /// The cluster whose gateway sees it like this.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// The endpoints of a service; none if none is known.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<ServiceEndpoints>> {
        self.services.get(key)
    }

    /// All services with endpoints, by key.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<ServiceEndpoints>)> {
        self.services.iter()
    }

    /// What is known of a cluster.
    pub fn liveness(&self, cluster: &ClusterName) -> Option<&Arc<ClusterLiveness>> {
        self.clusters.get(cluster)
    }

    /// All clusters that have been heard of, by name.
    pub fn clusters(&self) -> impl Iterator<Item = (&ClusterName, &Arc<ClusterLiveness>)> {
        self.clusters.iter()
    }

    /// Whether the list of `service`'s endpoints in `cluster` can be believed.
    pub fn knowledge(&self, cluster: &ClusterName, service: &ServiceKey) -> Knowledge {
        let Some(liveness) = self.clusters.get(cluster) else {
            return Knowledge::Unknown;
        };
        match liveness.freshness {
            _ if !liveness.covered.covers(service) => Knowledge::Unknown,
            Freshness::Live => Knowledge::Current,
            Freshness::Stale(since) => Knowledge::Stale(since),
        }
    }

    /// An endpoint of this gateway's own cluster.
    pub fn own_endpoint(&self, service: &ServiceKey, id: EndpointId) -> Option<&Arc<Endpoint>> {
        let endpoints = &self.services.get(service)?.endpoints;
        endpoints
            .iter()
            .find(|e| e.id == id && e.cluster == self.cluster)
    }

    /// What this cluster's registrations make of a service; none without any here.
    pub fn local_service(&self, key: &ServiceKey) -> Option<LocalService> {
        let ports = self.services.get(key)?.ports_in(&self.cluster);
        (!ports.is_empty()).then(|| LocalService {
            key: key.clone(),
            ports,
        })
    }

    /// Services that only this cluster's registrations make exist.
    pub fn local_services(&self, federation: &Federation) -> Vec<LocalService> {
        let derived = |key: &ServiceKey| {
            let service = federation.service(key);
            service.is_some_and(|service| service.is_visible_to(&self.cluster))
        };
        let keys = self.services.keys().filter(|key| !derived(key));
        keys.filter_map(|key| self.local_service(key)).collect()
    }
}

impl ServiceEndpoints {
    /// Those of one cluster.
    pub fn of<'a>(&'a self, cluster: &'a ClusterName) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        self.endpoints.iter().filter(move |e| e.cluster == *cluster)
    }

    /// Those that take new work.
    pub fn ready(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter().filter(|e| e.health == Health::Ready)
    }

    fn ports_in(&self, cluster: &ClusterName) -> Vec<ServicePort> {
        let mut ports = BTreeMap::new();
        for port in self.of(cluster).flat_map(|endpoint| &endpoint.ports) {
            ports
                .entry(port.service_port)
                .or_insert_with(|| ServicePort {
                    name: port.name.clone(),
                    protocol: TransportProtocol::Tcp,
                    app_protocol: port.protocol,
                    port: port.service_port,
                });
        }
        ports.into_values().collect()
    }
}
