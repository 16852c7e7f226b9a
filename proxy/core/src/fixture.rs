//! Tables for this crate's tests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use weft_model::{
    AppProtocol, Endpoint, EndpointId, EndpointPort, Health, Percent, ServiceKey, ServicePort,
    SpiffeId, TrafficPolicySpec, TransportProtocol,
};

use crate::{EndpointView, Locality, PathState, Place, ReleaseView, ServiceRoutes, ServiceSpec};

pub(crate) const PORT: NonZeroU16 = NonZeroU16::new(8080).unwrap();
const LOCAL_TRUST_DOMAIN: &str = "eu-west-1.fed.example.org";

pub(crate) fn place() -> Place {
    Place {
        cluster: "eu-west-1".parse().unwrap(),
        region: "eu-west".parse().unwrap(),
        zone: Some("a".parse().unwrap()),
    }
}

pub(crate) fn key() -> ServiceKey {
    "shop/checkout".parse().unwrap()
}

fn identity(account: &str) -> SpiffeId {
    format!("spiffe://{LOCAL_TRUST_DOMAIN}/ns/shop/sa/{account}")
        .parse()
        .unwrap()
}

/// An endpoint under construction.
#[derive(Clone)]
pub(crate) struct Draft(EndpointView);

pub(crate) fn id(n: u32) -> EndpointId {
    let mut id = [0; 16];
    id[12..].copy_from_slice(&n.to_be_bytes());
    EndpointId(id)
}

pub(crate) fn endpoint(n: u32) -> Draft {
    Draft(EndpointView {
        endpoint: Endpoint {
            id: id(n),
            service: key(),
            cluster: place().cluster,
            zone: place().zone,
            version: None,
            hostname: None,
            address: Some(SocketAddr::from(([10, 0, 0, 1], 15006))),
            workload: None,
            ports: vec![EndpointPort {
                name: None,
                service_port: PORT,
                protocol: AppProtocol::Http,
            }],
            identity: identity("checkout"),
            weight: 100,
            health: Health::Ready,
            unready: None,
            sequence: 1,
        },
        locality: Locality::Local,
    })
}

pub(crate) fn remote(mut draft: Draft, cluster: &str, region: &str, rtt_ms: u64) -> Draft {
    draft.0.endpoint.cluster = cluster.parse().unwrap();
    draft.0.endpoint.address = None;
    draft.0.locality = Locality::Remote {
        region: region.parse().unwrap(),
        rtt: Duration::from_millis(rtt_ms),
        path: PathState::Up,
        max_share: None,
    };
    draft
}

impl Draft {
    pub(crate) fn numbered(mut self, n: u32) -> Self {
        self.0.endpoint.id = id(n);
        self
    }
    pub(crate) fn zone(mut self, zone: &str) -> Self {
        self.0.endpoint.zone = Some(zone.parse().unwrap());
        self
    }
    pub(crate) fn version(mut self, version: &str) -> Self {
        self.0.endpoint.version = Some(version.parse().unwrap());
        self
    }
    pub(crate) fn health(mut self, health: Health) -> Self {
        self.0.endpoint.health = health;
        self
    }
    pub(crate) fn weight(mut self, weight: u32) -> Self {
        self.0.endpoint.weight = weight;
        self
    }
    pub(crate) fn account(mut self, account: &str) -> Self {
        self.0.endpoint.identity = identity(account);
        self
    }
    pub(crate) fn address(mut self, address: Option<SocketAddr>) -> Self {
        self.0.endpoint.address = address;
        self
    }
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.0.endpoint.ports[0].service_port = port.try_into().unwrap();
        self
    }
    pub(crate) fn path(mut self, state: PathState) -> Self {
        if let Locality::Remote { path, .. } = &mut self.0.locality {
            *path = state;
        }
        self
    }
    pub(crate) fn max_share(mut self, percent: u8) -> Self {
        if let Locality::Remote { max_share, .. } = &mut self.0.locality {
            *max_share = Percent::new(percent);
        }
        self
    }
    pub(crate) fn view(self) -> Arc<EndpointView> {
        Arc::new(self.0)
    }
}

pub(crate) fn routes(endpoints: impl IntoIterator<Item = Draft>) -> ServiceRoutes {
    routes_with(endpoints, None)
}

pub(crate) fn routes_with(
    endpoints: impl IntoIterator<Item = Draft>,
    policy: Option<Arc<TrafficPolicySpec>>,
) -> ServiceRoutes {
    let spec = ServiceSpec {
        key: key(),
        ports: vec![ServicePort {
            name: Some("http".parse().unwrap()),
            protocol: TransportProtocol::Tcp,
            app_protocol: AppProtocol::Http,
            port: PORT,
        }],
        identities: [identity("checkout")].into(),
        headless: false,
        virtual_ips: vec!["240.0.0.7".parse().unwrap()],
        stale: BTreeSet::new(),
        routes: Vec::new(),
        policy,
        release: None,
    };
    ServiceRoutes::new(spec, &place(), endpoints.into_iter().map(Draft::view))
}

/// The same under a release.
pub(crate) fn routes_under(
    endpoints: impl IntoIterator<Item = Draft>,
    release: ReleaseView,
) -> ServiceRoutes {
    let plain = routes([]);
    let spec = ServiceSpec {
        release: Some(release),
        ..plain.spec().clone()
    };
    ServiceRoutes::new(spec, &place(), endpoints.into_iter().map(Draft::view))
}
