//! What the data plane knows: services, their ports and endpoints, as one
//! immutable snapshot. The catalog client builds it; everyone else reads it.

mod endpoint;
mod level;
mod service;

pub use endpoint::{ClusterView, EndpointRefusal, EndpointView, Locality, PathState, Place};
pub use level::{Level, LevelMembers};
pub(crate) use service::LaneLevels;
pub use service::{PortRoutes, ServiceRoutes, ServiceSpec};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use weft_model::{Index, ServiceKey};

/// Every service this process may send to, seen from one [`Place`].
///
/// Readers never lock and never copy: a change is a new table that shares the
/// unchanged [`ServiceRoutes`].
#[derive(Debug, Clone)]
pub struct ServiceTable {
    place: Place,
    applied: Index,
    services: BTreeMap<ServiceKey, Arc<ServiceRoutes>>,
    by_host: BTreeMap<Box<str>, Arc<ServiceRoutes>>,
    by_virtual_ip: BTreeMap<IpAddr, Arc<ServiceRoutes>>,
}

impl ServiceTable {
    /// A table of `services` as of log position `applied`. Of two services with
    /// one key, or one virtual IP, the later stays.
    pub fn new(
        place: Place,
        applied: Index,
        services: impl IntoIterator<Item = Arc<ServiceRoutes>>,
    ) -> Self {
        let services: BTreeMap<_, _> = services
            .into_iter()
            .map(|routes| (routes.key().clone(), routes))
            .collect();
        let by_host = services
            .values()
            .map(|routes| (short_host(routes.key()).into(), Arc::clone(routes)))
            .collect();
        let by_virtual_ip = services
            .values()
            .flat_map(|routes| {
                routes
                    .virtual_ips()
                    .iter()
                    .map(|ip| (*ip, Arc::clone(routes)))
            })
            .collect();
        Self {
            place,
            applied,
            services,
            by_host,
            by_virtual_ip,
        }
    }

    /// A table without services: what a process has before its first snapshot.
    pub fn empty(place: Place) -> Self {
        Self::new(place, Index(0), [])
    }

    /// Where its reader is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The log position it reflects.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// All services in the order of their keys.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceRoutes>> {
        self.services.values()
    }

    /// The service with this key.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<ServiceRoutes>> {
        self.services.get(key)
    }

    /// The service that owns this virtual IP here.
    pub fn by_virtual_ip(&self, ip: IpAddr) -> Option<&Arc<ServiceRoutes>> {
        self.by_virtual_ip.get(&ip)
    }

    /// The service by `<service>.<namespace>`, lower case.
    pub(crate) fn by_short_host(&self, host: &str) -> Option<&Arc<ServiceRoutes>> {
        self.by_host.get(host)
    }
}

fn short_host(key: &ServiceKey) -> String {
    format!("{}.{}", key.name, key.namespace)
}

#[cfg(test)]
mod tests;
