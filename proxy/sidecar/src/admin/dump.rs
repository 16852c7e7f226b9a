//! The table as JSON, with why each endpoint takes work or not.

use serde_json::{Value, json};
use weft_decide::{EndpointView, Level, Locality, ServiceRoutes, ServiceTable};

pub(super) fn table(table: &ServiceTable) -> Value {
    let place = table.place();
    json!({
        "appliedIndex": table.applied().0,
        "place": {
            "cluster": place.cluster.as_str(),
            "region": place.region.as_str(),
            "zone": place.zone.as_ref().map(|zone| zone.as_str()),
        },
        "services": table.services().map(|s| service(s)).collect::<Vec<_>>(),
    })
}

fn service(service: &ServiceRoutes) -> Value {
    json!({
        "service": service.key().to_string(),
        "headless": service.spec().headless,
        "virtualIPs": service.virtual_ips(),
        "identities": service.identities(),
        "ports": service.ports().iter().map(|routes| json!({
            "port": routes.port.port,
            "name": routes.port.name,
            "appProtocol": routes.port.app_protocol,
            "endpoints": service
                .endpoints()
                .iter()
                .map(|view| verdict(service, view, routes.port.port))
                .collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn verdict(service: &ServiceRoutes, view: &EndpointView, port: std::num::NonZeroU16) -> Value {
    let endpoint = &view.endpoint;
    let refused = view.admit(port, service.identities()).err();
    let rtt = match &view.locality {
        Locality::Local => None,
        Locality::Remote { rtt, .. } => Some(rtt.as_secs_f64()),
    };
    json!({
        "id": endpoint.id.to_string(),
        "cluster": endpoint.cluster.as_str(),
        "zone": endpoint.zone.as_ref().map(|zone| zone.as_str()),
        "version": endpoint.version.as_ref().map(|version| version.as_str()),
        "address": endpoint.address,
        "identity": endpoint.identity,
        "weight": endpoint.weight,
        "level": level(&Level::of(view, service.place())),
        "rttSeconds": rtt,
        "refused": refused.map(|why| why.to_string()),
    })
}

fn level(level: &Level) -> &'static str {
    match level {
        Level::SameZone => "same-zone",
        Level::SameCluster => "same-cluster",
        Level::SameRegion { .. } => "same-region",
        Level::OtherRegion { .. } => "other-region",
    }
}
