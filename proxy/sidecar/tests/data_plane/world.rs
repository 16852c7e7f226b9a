//! Sidecars of a small federation, wired by hand.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use weft_decide::{
    EndpointView, Locality, PathState, Place, RouteSource, ServiceRoutes, ServiceSpec, ServiceTable,
};
use weft_identity::{Authority, SvidSource, fixture};
use weft_model::{
    AppProtocol, Endpoint, EndpointId, EndpointPort, Health, Index, RouteSpec, ServicePort,
    SpiffeId, TransportProtocol, WallTime, spec_from_json,
};
use weft_proxy::{
    Addresses, Config, LocalEndpoint, Metrics, RelaySessions, Sidecar, Sources, TableSource,
};

/// Longest wait for anything that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// The service's port in every test.
pub(crate) const PORT: u16 = 80;

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Waits until `level` holds.
pub(crate) async fn until(what: &str, mut level: impl FnMut() -> bool) {
    within(what, async {
        while !level() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn now() -> WallTime {
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    WallTime(u64::try_from(elapsed.as_millis()).unwrap())
}

/// Two clusters' authorities.
pub(crate) struct World {
    eu: Authority,
    us: Authority,
}

/// One sidecar.
pub(crate) struct Side {
    pub(crate) sidecar: Sidecar,
    pub(crate) addresses: Addresses,
    pub(crate) tables: TableSource,
    pub(crate) relays: RelaySessions,
    pub(crate) metrics: Metrics,
    pub(crate) id: SpiffeId,
    endpoints: Arc<[LocalEndpoint]>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            eu: fixture::authority("eu-west-1.fed.example.org", now()),
            us: fixture::authority("us-east-1.fed.example.org", now()),
        }
    }

    /// A client's sidecar, whose upstream port leads to `shop/checkout`.
    pub(crate) fn client(&self) -> Side {
        self.client_waiting(json!({}))
    }

    /// The same with times of its own for HTTP.
    pub(crate) fn client_waiting(&self, http: serde_json::Value) -> Side {
        self.start_waiting(&self.eu, "web", json!([]), http)
    }

    /// The sidecar of a `shop/checkout` at `app` that speaks `protocol`.
    pub(crate) fn server(&self, app: SocketAddr, protocol: &str) -> Side {
        self.server_as("checkout", app, protocol)
    }

    /// The same under another account's identity.
    pub(crate) fn server_as(&self, account: &str, app: SocketAddr, protocol: &str) -> Side {
        self.start(&self.eu, account, checkout(app, protocol))
    }

    /// The same in the other cluster.
    pub(crate) fn remote_server(&self, app: SocketAddr, protocol: &str) -> Side {
        self.start(&self.us, "checkout", checkout(app, protocol))
    }

    fn start(&self, authority: &Authority, account: &str, services: serde_json::Value) -> Side {
        self.start_waiting(authority, account, services, json!({}))
    }

    fn start_waiting(
        &self,
        authority: &Authority,
        account: &str,
        services: serde_json::Value,
        http: serde_json::Value,
    ) -> Side {
        let file = json!({
            "apiVersion": "weft.dev/v1",
            "kind": "SidecarConfig",
            "spec": {
                "workload": { "namespace": "shop", "serviceAccount": account },
                "gateways": [],
                "stateDir": "unused",
                "workers": 1,
                "outbound": "127.0.0.1:0",
                "inbound": { "bind": "127.0.0.1:0" },
                "admin": "127.0.0.1:0",
                "upstreams": [{ "service": "shop/checkout", "port": PORT, "bind": "127.0.0.1:0" }],
                "services": services,
                "http": http,
            },
        });
        let config =
            Config::try_from(serde_json::from_value::<weft_proxy::SidecarConfig>(file).unwrap())
                .unwrap();
        let id = format!("spiffe://{}/ns/shop/sa/{account}", authority.trust_domain());
        let endpoints: Arc<[LocalEndpoint]> = config
            .services
            .iter()
            .map(|service| LocalEndpoint {
                id: EndpointId(unique()),
                service: service.clone(),
            })
            .collect();
        let sources = Sources {
            tables: TableSource::new(ServiceTable::empty(place())),
            relays: RelaySessions::default(),
            svid: SvidSource::new(fixture::svid(authority, &id, now())),
            bundles: fixture::bundles(&[&self.eu, &self.us]),
        };
        let metrics = Metrics::new().unwrap();
        let sidecar = Sidecar::start(&config, Arc::clone(&endpoints), &sources, &metrics).unwrap();
        Side {
            addresses: sidecar.addresses().clone(),
            sidecar,
            tables: sources.tables,
            relays: sources.relays,
            metrics,
            id: id.parse().unwrap(),
            endpoints,
        }
    }
}

impl Side {
    /// Its only endpoint, as a table in its own cluster has it.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let local = &self.endpoints[0];
        Endpoint {
            id: local.id,
            service: local.service.key.clone(),
            cluster: place().cluster,
            zone: None,
            version: None,
            hostname: None,
            address: Some(self.addresses.inbound),
            workload: None,
            ports: local
                .service
                .ports
                .iter()
                .map(|port| EndpointPort {
                    name: None,
                    service_port: port.service_port,
                    protocol: port.protocol,
                })
                .collect(),
            identity: self.id.clone(),
            weight: 100,
            health: Health::Ready,
            unready: None,
            sequence: 1,
        }
    }

    /// Lets this side see `endpoints` of `shop/checkout`.
    pub(crate) fn sees(&self, endpoints: impl IntoIterator<Item = EndpointView>) {
        self.sees_ruled(endpoints, "[]", None);
    }

    /// The same under one route with these `rules`, if there are any, and a policy.
    pub(crate) fn sees_ruled(
        &self,
        endpoints: impl IntoIterator<Item = EndpointView>,
        rules: &str,
        policy: Option<&str>,
    ) {
        self.sees_as(endpoints, |spec| {
            spec.routes.extend(route(rules));
            spec.policy = policy.map(|json| Arc::new(spec_from_json(json.as_bytes()).unwrap()));
        });
    }

    /// The same with what `change` makes of the service.
    pub(crate) fn sees_as(
        &self,
        endpoints: impl IntoIterator<Item = EndpointView>,
        change: impl FnOnce(&mut ServiceSpec),
    ) {
        let endpoints: Vec<_> = endpoints.into_iter().map(Arc::new).collect();
        let protocol = endpoints
            .first()
            .map_or(AppProtocol::Http, |e| e.endpoint.ports[0].protocol);
        let mut spec = ServiceSpec {
            key: "shop/checkout".parse().unwrap(),
            ports: vec![ServicePort {
                name: None,
                protocol: TransportProtocol::Tcp,
                app_protocol: protocol,
                port: NonZeroU16::new(PORT).unwrap(),
            }],
            identities: ["eu-west-1", "us-east-1"]
                .map(|cluster| {
                    format!("spiffe://{cluster}.fed.example.org/ns/shop/sa/checkout")
                        .parse()
                        .unwrap()
                })
                .into(),
            headless: false,
            virtual_ips: Vec::new(),
            stale: BTreeSet::new(),
            routes: Vec::new(),
            policy: None,
            release: None,
        };
        change(&mut spec);
        let routes = ServiceRoutes::new(spec, &place(), endpoints);
        let table = ServiceTable::new(place(), Index(1), [Arc::new(routes)]);
        self.tables.store(Arc::new(table));
    }
}

pub(crate) fn route(rules: &str) -> Option<RouteSource> {
    let json = format!(r#"{{"parentRefs":[{{"name":"checkout"}}],"rules":{rules}}}"#);
    let spec: RouteSpec = spec_from_json(json.as_bytes()).unwrap();
    (!spec.rules.is_empty()).then(|| {
        assert_eq!(spec.check(), Ok(()), "{json}");
        RouteSource {
            name: "shop/checkout".parse().unwrap(),
            created: Index(1),
            spec: Arc::new(spec),
        }
    })
}

pub(crate) fn local(endpoint: Endpoint) -> EndpointView {
    EndpointView {
        endpoint,
        locality: Locality::Local,
    }
}

pub(crate) fn remote(mut endpoint: Endpoint) -> EndpointView {
    endpoint.cluster = "us-east-1".parse().unwrap();
    endpoint.address = None;
    EndpointView {
        endpoint,
        locality: Locality::Remote {
            region: "us-east".parse().unwrap(),
            rtt: Duration::from_millis(80),
            path: PathState::Up,
            max_share: None,
        },
    }
}

/// An address where nothing listens.
pub(crate) fn closed_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn checkout(app: SocketAddr, protocol: &str) -> serde_json::Value {
    json!([{
        "name": "checkout",
        "appAddress": app.ip().to_string(),
        "ports": [{ "port": PORT, "appPort": app.port(), "protocol": protocol }],
    }])
}

fn place() -> Place {
    Place {
        cluster: "eu-west-1".parse().unwrap(),
        region: "eu-west".parse().unwrap(),
        zone: None,
    }
}

pub(crate) fn unique() -> [u8; 16] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}
