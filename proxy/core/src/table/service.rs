//! One service: its ports, who may serve it, and its endpoints by nearness.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use weft_model::{ClusterName, ServiceKey, ServicePort, SpiffeId};

use super::{EndpointView, Level, LevelMembers, Place};

/// What the catalog says of a service, without its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name.
    pub key: ServiceKey,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Who may serve it; nobody if empty.
    pub identities: BTreeSet<SpiffeId>,
    /// Whether clients ask for endpoints instead of one address.
    pub headless: bool,
    /// Its virtual IPs in the reader's cluster.
    pub virtual_ips: Vec<IpAddr>,
    /// Clusters that take nothing new for it: their lease lapsed, and their export's `onStale`
    /// forbids to serve then.
    pub stale: BTreeSet<ClusterName>,
}

/// A port and the endpoints that take work on it, nearest level first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRoutes {
    /// The port.
    pub port: ServicePort,
    /// Levels that have endpoints; empty levels are left out.
    pub levels: Box<[LevelMembers]>,
}

/// A service and its endpoints, compiled so that a pick needs no search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRoutes {
    spec: ServiceSpec,
    place: Place,
    ports: Box<[PortRoutes]>,
    endpoints: Arc<[Arc<EndpointView>]>,
}

impl ServiceRoutes {
    /// Compiles `endpoints` of the service, given in any order; of two with one
    /// id the later stays.
    pub fn new(
        spec: ServiceSpec,
        place: &Place,
        endpoints: impl IntoIterator<Item = Arc<EndpointView>>,
    ) -> Self {
        let by_id: BTreeMap<_, _> = endpoints
            .into_iter()
            .map(|view| (view.endpoint.id, view))
            .collect();
        let endpoints: Arc<[_]> = by_id.into_values().collect();
        let ports = spec
            .ports
            .iter()
            .map(|port| PortRoutes {
                port: port.clone(),
                levels: levels(&spec.identities, place, &endpoints, port.port),
            })
            .collect();
        Self {
            spec,
            place: place.clone(),
            ports,
            endpoints,
        }
    }

    /// Its name.
    pub fn key(&self) -> &ServiceKey {
        &self.spec.key
    }

    /// What the catalog says of it.
    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// Where its reader is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Who may serve it.
    pub fn identities(&self) -> &BTreeSet<SpiffeId> {
        &self.spec.identities
    }

    /// Its virtual IPs.
    pub fn virtual_ips(&self) -> &[IpAddr] {
        &self.spec.virtual_ips
    }

    /// Its ports, each with its levels.
    pub fn ports(&self) -> &[PortRoutes] {
        &self.ports
    }

    /// The port with this number.
    pub fn port(&self, port: NonZeroU16) -> Option<&PortRoutes> {
        self.ports.iter().find(|routes| routes.port.port == port)
    }

    /// All endpoints, usable or not, in the order of their ids.
    pub fn endpoints(&self) -> &Arc<[Arc<EndpointView>]> {
        &self.endpoints
    }
}

fn levels(
    identities: &BTreeSet<SpiffeId>,
    place: &Place,
    endpoints: &[Arc<EndpointView>],
    port: NonZeroU16,
) -> Box<[LevelMembers]> {
    let mut levels: BTreeMap<Level, Vec<(u32, u32)>> = BTreeMap::new();
    for (position, view) in (0u32..).zip(endpoints) {
        if view.admit(port, identities).is_ok() {
            levels
                .entry(Level::of(view, place))
                .or_default()
                .push((position, view.endpoint.weight));
        }
    }
    levels
        .into_iter()
        .map(|(level, members)| LevelMembers::new(level, members))
        .collect()
}
