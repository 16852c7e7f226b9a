//! A scene as the table that the data plane decides by.

use std::sync::Arc;

use weft_decide::{EndpointView, Locality, ServiceRoutes, ServiceTable};
use weft_model::{Endpoint, ServiceKey};

use super::Scene;

/// The table of every service that the scene's place may use. Services that did not change share
/// their routes with `previous`, and balancers keep what they learnt.
pub fn service_table(scene: &Scene<'_>, previous: Option<&ServiceTable>) -> ServiceTable {
    let services = scene.services();
    let routes = services.iter().filter_map(|key| scene.routes(key));
    let shared = routes.map(|routes| {
        let known = previous.and_then(|table| table.service(routes.key()));
        match known {
            Some(known) if **known == routes => Arc::clone(known),
            _ => Arc::new(routes),
        }
    });
    ServiceTable::new(scene.place.clone(), scene.federation.applied(), shared)
}

impl Scene<'_> {
    fn routes(&self, key: &ServiceKey) -> Option<ServiceRoutes> {
        let spec = self.service(key)?;
        let view = |endpoint: &Arc<Endpoint>| {
            let seen = self.cluster(&endpoint.cluster);
            let (place, cluster) = (self.place, &endpoint.cluster);
            Arc::new(EndpointView {
                locality: Locality::of(place, cluster, seen.as_ref(), &spec.stale),
                endpoint: Endpoint::clone(endpoint),
            })
        };
        let views: Vec<_> = self.endpoints(key).map(view).collect();
        Some(ServiceRoutes::new(spec, self.place, views))
    }
}
