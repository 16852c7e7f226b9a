//! Gateways and sidecars in one process: sessions over TCP on loopback, links
//! over in-memory streams.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Server};
use weft_decide::Place;
use weft_model::fixture::{self, name};
use weft_model::{
    AppProtocol, Command, Endpoint, EndpointId, EndpointPort, Federation, Health, HealthCheck,
    ServiceKey, SpiffeId, TcpProbe, WorkloadEntrySpec,
};
use weft_plan::catalog::{Interest, Knowledge, ShrinkGuard, Timing};
use weft_proto::catalog as wire;
use weft_proto::catalog::catalog_client::CatalogClient as Raw;
use weft_proxy::catalog as client;

use super::*;
use crate::PeerIdentity;

const EU: &str = "eu-west-1";
const US: &str = "us-east-1";
/// Levels are reached within this time, or the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a level.
async fn until<T>(what: &str, mut level: impl FnMut() -> Option<T>) -> T {
    let reached = async {
        loop {
            if let Some(value) = level() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    reached.unwrap_or_else(|_| panic!("not reached: {what}"))
}

fn checkout() -> ServiceKey {
    name("shop/checkout")
}

fn identity(cluster: &str) -> SpiffeId {
    name(&format!(
        "spiffe://{cluster}.fed.example.org/ns/shop/sa/checkout"
    ))
}

fn endpoint(cluster: &str, n: u8) -> Endpoint {
    Endpoint {
        id: EndpointId([n; 16]),
        service: checkout(),
        cluster: name(cluster),
        zone: None,
        version: None,
        hostname: None,
        address: Some(SocketAddr::from(([127, 0, 0, n], 15006))),
        workload: None,
        ports: vec![EndpointPort {
            name: Some(name("http")),
            service_port: NonZeroU16::new(80).unwrap(),
            protocol: AppProtocol::Http,
        }],
        identity: identity(cluster),
        weight: 100,
        health: Health::Ready,
        sequence: 0,
    }
}

/// Seconds become tenths, so that tests of graces are short.
fn quick() -> Timing {
    Timing {
        session_grace: Duration::from_millis(2600),
        witness_patience: Duration::from_millis(500),
        recovery: Duration::from_millis(1500),
        withdrawal_memory: Duration::from_secs(10),
        guard: ShrinkGuard {
            linger: Duration::from_millis(300),
            confirm: Duration::from_secs(60),
            ..ShrinkGuard::default()
        },
    }
}

/// A gateway under test, its API listening for one identity.
struct Gateway {
    handle: CatalogHandle,
    address: String,
    grants: Arc<Mutex<Vec<[u8; 16]>>>,
    /// All its tasks, so that it can die as by SIGKILL.
    tasks: Option<Runtime>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.tasks
            .take()
            .into_iter()
            .for_each(Runtime::shutdown_background);
    }
}

fn start(
    cluster: &str,
    gateway: &str,
    state_file: Option<PathBuf>,
) -> (CatalogHandle, Arc<Mutex<Vec<[u8; 16]>>>) {
    let grants: Arc<Mutex<Vec<[u8; 16]>>> = Arc::default();
    let (granted, revoked) = (Arc::clone(&grants), Arc::clone(&grants));
    let config = CatalogConfig {
        cluster: name(cluster),
        region: name("eu-west"),
        gateway: name(gateway),
        relay: Some(SocketAddr::from(([127, 0, 0, 1], 7445))),
        state_file,
        interest: Interest::Everything,
        timing: quick(),
    };
    let hooks = RelayGrants {
        grant: Arc::new(move |grant: RelayGrant| granted.lock().unwrap().push(grant.session)),
        revoke: Arc::new(move |session| revoked.lock().unwrap().retain(|s| *s != session)),
    };
    (
        CatalogHandle::start(config, hooks, surroundings(fixture::federation())),
        grants,
    )
}

fn surroundings(federation: Federation) -> Surroundings {
    let path = PathReport {
        up: true,
        rtt: Duration::from_millis(80),
    };
    let others = fixture::CLUSTERS
        .iter()
        .map(|(cluster, _)| (name(cluster), path));
    Surroundings {
        federation: Arc::new(federation),
        silence: Duration::ZERO,
        paths: others.collect(),
    }
}

async fn gateway(
    cluster: &str,
    gateway: &str,
    at: Option<&str>,
    state_file: Option<PathBuf>,
) -> Gateway {
    let tasks = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (cluster, gateway) = (cluster.to_owned(), gateway.to_owned());
    let at = at.unwrap_or("127.0.0.1:0").to_owned();
    let started = tasks.spawn(async move {
        let (handle, grants) = start(&cluster, &gateway, state_file);
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let proved = PeerIdentity(identity(&cluster));
        let with_identity = move |mut request: tonic::Request<()>| {
            request.extensions_mut().insert(proved.clone());
            Ok(request)
        };
        let service = InterceptedService::new(handle.service(), with_identity);
        let serve = Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serve);
        (handle, grants, address)
    });
    let (handle, grants, address) = started.await.unwrap();
    Gateway {
        handle,
        address,
        grants,
        tasks: Some(tasks),
    }
}

fn connect() -> client::Connect {
    Arc::new(|address| {
        Box::pin(async move {
            let endpoint = Channel::from_shared(format!("http://{address}"))?;
            Ok(endpoint.connect().await?)
        })
    })
}

fn sidecar(
    cluster: &str,
    gateways: &[&Gateway],
    state_file: Option<PathBuf>,
) -> client::CatalogClient {
    let config = client::ClientConfig {
        place: Place {
            cluster: name(cluster),
            region: name("eu-west"),
            zone: None,
        },
        gateways: gateways
            .iter()
            .map(|gateway| gateway.address.clone())
            .collect(),
        interest: client::Interest::Everything,
        state_file,
    };
    client::CatalogClient::start(config, connect())
}

/// The endpoints of shop/checkout that this sidecar lists, and whether they are ready.
fn listed(sidecar: &client::CatalogClient) -> BTreeMap<u8, Health> {
    let table = sidecar.table().load_full();
    let routes = table.service(&checkout()).cloned();
    let endpoints = routes.iter().flat_map(|routes| routes.endpoints().iter());
    endpoints
        .map(|view| (view.endpoint.id.0[0], view.endpoint.health))
        .collect()
}

fn ready(sidecar: &client::CatalogClient) -> Vec<u8> {
    let listed = listed(sidecar).into_iter();
    listed
        .filter(|(_, health)| *health == Health::Ready)
        .map(|(n, _)| n)
        .collect()
}

async fn until_ready(sidecar: &client::CatalogClient, numbers: &[u8]) {
    until(&format!("ready: {numbers:?}"), || {
        (ready(sidecar) == numbers).then_some(())
    })
    .await;
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

/// Joins two gateways until the returned task is aborted.
fn join(one: &CatalogHandle, other: &CatalogHandle) -> JoinHandle<()> {
    let (one, other) = (one.clone(), other.clone());
    let who = |handle: &CatalogHandle| {
        let config = &handle.inner.config;
        (config.cluster.clone(), config.gateway.clone())
    };
    tokio::spawn(async move {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let (here_reads, here_writes) = tokio::io::split(here);
        let (there_reads, there_writes) = tokio::io::split(there);
        let ((one_cluster, one_name), (other_cluster, other_name)) = (who(&one), who(&other));
        let _ended = tokio::join!(
            one.link(other_cluster, other_name, here_reads, here_writes),
            other.link(one_cluster, one_name, there_reads, there_writes),
        );
    })
}

#[tokio::test]
async fn sidecars_hear_of_each_other_and_of_who_leaves() {
    let gateway = gateway(EU, "gw", None, None).await;
    let first = sidecar(EU, &[&gateway], None);
    let second = sidecar(EU, &[&gateway], None);
    first.register(endpoint(EU, 1));
    second.register(endpoint(EU, 2));
    until_ready(&first, &[1, 2]).await;
    until_ready(&second, &[1, 2]).await;
    let table = first.table().load_full();
    let routes = table.service(&checkout()).unwrap();
    assert!(
        routes
            .endpoints()
            .iter()
            .all(|e| e.endpoint.address.is_some())
    );
    assert_eq!(routes.virtual_ips().len(), 2);
    assert!(
        first
            .bundles()
            .borrow()
            .contains_key(&identity(US).trust_domain)
    );
    assert_eq!(first.relays().load().len(), 1);
    assert_eq!(gateway.grants.lock().unwrap().len(), 2);

    second.set_health(EndpointId([2; 16]), Health::NotReady);
    until_ready(&first, &[1]).await;
    second.set_health(EndpointId([2; 16]), Health::Ready);
    until_ready(&first, &[1, 2]).await;
    second.drain();
    until("draining", || {
        (listed(&first).get(&2) == Some(&Health::Draining)).then_some(())
    })
    .await;
    second.withdraw(PATIENCE).await;
    // Heard by the gateway before withdraw() returned.
    let view = gateway.handle.view();
    assert!(
        view.service(&checkout())
            .is_none_or(|s| s.endpoints.len() <= 2)
    );
    until("gone", || (!listed(&first).contains_key(&2)).then_some(())).await;
    until("revoked", || {
        (gateway.grants.lock().unwrap().len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_whose_session_dies_leaves_after_its_grace() {
    let gateway = gateway(EU, "gw", None, None).await;
    let watcher = sidecar(EU, &[&gateway], None);
    let mut raw = Raw::new(connect()(gateway.address.clone()).await.unwrap());
    let (up, frames) = tokio::sync::mpsc::channel(8);
    let say = |frame| wire::Upstream { frame: Some(frame) };
    up.send(say(wire::upstream::Frame::Hello(wire::Hello::default())))
        .await
        .unwrap();
    let mut put = client::wire::to_endpoint(&endpoint(EU, 7));
    put.sequence = 1;
    up.send(say(wire::upstream::Frame::Put(put))).await.unwrap();
    let down = raw
        .session(tokio_stream::wrappers::ReceiverStream::new(frames))
        .await;
    until_ready(&watcher, &[7]).await;
    let began = tokio::time::Instant::now();
    drop((down, up, raw));
    until_ready(&watcher, &[]).await;
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "no withdrawal was heard"
    );
    until("gone", || listed(&watcher).is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_foreign_or_unproved_endpoint_is_refused() {
    let gateway = gateway(EU, "gw", None, None).await;
    let sidecar = sidecar(EU, &[&gateway], None);
    let mut other = endpoint(EU, 1);
    other.service = name("shop/payments");
    sidecar.register(other);
    let trouble = until("refused", || {
        sidecar.status()[&gateway.address].trouble.clone()
    })
    .await;
    assert!(trouble.contains("may not serve shop/payments"), "{trouble}");
}

#[tokio::test]
async fn a_session_resumes_without_a_snapshot() {
    let gateway = gateway(EU, "gw", None, None).await;
    // A relay between the two, so that the connection can break while both live.
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = relay.local_addr().unwrap().to_string();
    let target = gateway.address.clone();
    let (cut, _) = tokio::sync::broadcast::channel::<()>(1);
    let cutter = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = relay.accept().await {
            let mut cut = cutter.subscribe();
            let mut far = tokio::net::TcpStream::connect(&target).await.unwrap();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cut.recv() => {}
                }
            });
        }
    });
    let other = sidecar(EU, &[&gateway], None);
    other.register(endpoint(EU, 1));
    let relayed = Gateway {
        handle: gateway.handle.clone(),
        address: through.clone(),
        grants: Arc::default(),
        tasks: None,
    };
    let sidecar = sidecar(EU, &[&relayed], None);
    sidecar.register(endpoint(EU, 2));
    until_ready(&sidecar, &[1, 2]).await;
    until("synced", || sidecar.status()[&through].synced.then_some(())).await;
    cut.send(()).unwrap();
    until("a second session", || {
        let status = &sidecar.status()[&through];
        (status.sessions == 2 && status.synced).then_some(())
    })
    .await;
    other.set_health(EndpointId([1; 16]), Health::NotReady);
    until_ready(&sidecar, &[2]).await;
    assert_eq!(sidecar.status()[&through].snapshots, 1);
}

#[tokio::test]
async fn a_restarted_gateway_keeps_the_set() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("catalog");
    let us = start(US, "gw", None).0;
    let first = gateway(EU, "gw", None, Some(state.clone())).await;
    let sidecars: Vec<_> = (1..=4).map(|_| sidecar(EU, &[&first], None)).collect();
    for (n, sidecar) in (1..).zip(&sidecars) {
        sidecar.register(endpoint(EU, n));
    }
    let linked = join(&first.handle, &us);
    let abroad = |us: &CatalogHandle| {
        let view = us.view();
        let service = view.service(&checkout()).cloned().unwrap_or_default();
        service.ready().map(|e| e.id.0[0]).collect::<Vec<_>>()
    };
    until("all abroad", || (abroad(&us) == [1, 2, 3, 4]).then_some(())).await;
    until_ready(&sidecars[0], &[1, 2, 3, 4]).await;
    let view = us.view();
    assert_eq!(view.knowledge(&name(EU), &checkout()), Knowledge::Current);
    assert!(
        view.service(&checkout())
            .unwrap()
            .endpoints
            .iter()
            .all(|e| e.address.is_none())
    );
    until("on disk", || state.exists().then_some(())).await;
    let digest = until("a digest", || {
        let view = us.view();
        let liveness = view.liveness(&name(EU))?.digest.ready(&checkout());
        (liveness == 4).then_some(liveness)
    });
    assert_eq!(digest.await, 4);

    // It dies as by SIGKILL: no word to anybody.
    linked.abort();
    let address = first.address.clone();
    let sessions = |s: &client::CatalogClient| s.status()[&address].sessions;
    drop(first);
    let second = until_bound(EU, &address, state).await;
    let relinked = join(&second.handle, &us);
    until("everybody back", || {
        assert_eq!(ready(&sidecars[0]), [1, 2, 3, 4]);
        assert_eq!(abroad(&us), [1, 2, 3, 4]);
        let back = second.handle.session_count() == 4;
        let settled = !second.handle.inner.state().catalog.is_recovering();
        (back && settled && sidecars.iter().all(|s| sessions(s) >= 2)).then_some(())
    })
    .await;
    let settled = tokio::time::Instant::now();
    until("past every grace", || {
        assert_eq!(ready(&sidecars[0]), [1, 2, 3, 4]);
        assert_eq!(abroad(&us), [1, 2, 3, 4]);
        (settled.elapsed() > Duration::from_millis(1500)).then_some(())
    })
    .await;
    relinked.abort();
}

/// A gateway at the address of one that just died.
async fn until_bound(cluster: &str, address: &str, state: PathBuf) -> Gateway {
    let began = tokio::time::Instant::now();
    loop {
        if let Ok(listener) = TcpListener::bind(address).await {
            drop(listener);
            return gateway(cluster, "gw", Some(address), Some(state)).await;
        }
        assert!(began.elapsed() < PATIENCE, "{address} stays in use");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_gateway_and_a_sidecar_that_start_alone_serve_the_last_known() {
    let folder = tempfile::tempdir().unwrap();
    let (of_gateway, of_sidecar) = (folder.path().join("gateway"), folder.path().join("sidecar"));
    {
        let us = start(US, "gw", Some(of_gateway.clone())).0;
        let eu = gateway(EU, "gw", None, None).await;
        let sidecar = sidecar(EU, &[&eu], Some(of_sidecar.clone()));
        sidecar.register(endpoint(EU, 1));
        let linked = join(&eu.handle, &us);
        until("on disk", || {
            (of_gateway.exists() && of_sidecar.exists()).then_some(())
        })
        .await;
        linked.abort();
    }
    let us = start(US, "gw", Some(of_gateway)).0;
    let view = us.view();
    assert_eq!(view.service(&checkout()).unwrap().ready().count(), 1);
    assert!(matches!(
        view.liveness(&name(EU)).unwrap().freshness,
        weft_plan::catalog::Freshness::Stale(_)
    ));
    let alone = sidecar(EU, &[], Some(of_sidecar));
    assert_eq!(ready(&alone), [1]);
}

#[tokio::test]
async fn a_link_that_breaks_resumes_by_its_hash() {
    let us = start(US, "gw", None).0;
    let eu = gateway(EU, "gw", None, None).await;
    let sidecar = sidecar(EU, &[&eu], None);
    sidecar.register(endpoint(EU, 1));
    let current = |us: &CatalogHandle| {
        let view = us.view();
        let current = view.knowledge(&name(EU), &checkout()) == Knowledge::Current;
        let service = view.service(&checkout());
        (current && service.is_some_and(|s| s.ready().count() == 1)).then_some(())
    };
    for _ in 0..3 {
        let linked = join(&eu.handle, &us);
        until("current", || current(&us)).await;
        linked.abort();
        until("stale", || {
            let view = us.view();
            matches!(view.knowledge(&name(EU), &checkout()), Knowledge::Stale(_)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_not_exported_does_not_leave_its_cluster() {
    let us = start(US, "gw", None).0;
    let eu = gateway(EU, "gw", None, None).await;
    let second = start(EU, "gw-2", None).0;
    let here = sidecar(EU, &[&eu], None);
    let mut cart = endpoint(EU, 1);
    cart.service = name("shop/cart");
    here.register(cart);
    here.register(endpoint(EU, 2));
    let _links = [join(&eu.handle, &us), join(&eu.handle, &second)];
    let cart: ServiceKey = name("shop/cart");
    until("its own cluster knows", || {
        second.view().service(&cart).map(|_| ())
    })
    .await;
    until("others know what is exported", || {
        us.view().service(&checkout()).map(|_| ())
    })
    .await;
    assert!(us.view().service(&cart).is_none());
    let digest = until("a digest", || {
        let view = us.view();
        let digest = Arc::clone(&view.liveness(&name(EU))?.digest);
        (digest.ready(&checkout()) == 1).then_some(digest)
    })
    .await;
    assert_eq!(digest.ready(&cart), 0);
    until("a local service", || {
        here.table().load().service(&cart).map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_harms_nobody() {
    let gateway = gateway(EU, "gw", None, None).await;
    let mut raw = Raw::new(connect()(gateway.address.clone()).await.unwrap());
    let (up, frames) = tokio::sync::mpsc::channel(8);
    let hello = wire::Hello {
        interest: Some(wire::Interest {
            everything: true,
            ..wire::Interest::default()
        }),
        ..wire::Hello::default()
    };
    let frame = Some(wire::upstream::Frame::Hello(hello));
    up.send(wire::Upstream { frame }).await.unwrap();
    let stuck = raw
        .session(tokio_stream::wrappers::ReceiverStream::new(frames))
        .await
        .unwrap();
    let reader = sidecar(EU, &[&gateway], None);
    let writer = sidecar(EU, &[&gateway], None);
    for n in 1..=100 {
        writer.register(endpoint(EU, n));
    }
    for round in 0..20 {
        let health = if round % 2 == 0 {
            Health::NotReady
        } else {
            Health::Ready
        };
        for n in 1..=100 {
            writer.set_health(EndpointId([n; 16]), health);
        }
        let count = if round % 2 == 0 { 0 } else { 100 };
        until(&format!("round {round}"), || {
            (ready(&reader).len() == count && listed(&reader).len() == 100).then_some(())
        })
        .await;
    }
    drop((stuck, up));
}

#[tokio::test]
async fn a_server_without_a_sidecar_is_checked_and_fronted() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let mut log = writable();
    let spec = WorkloadEntrySpec {
        service: name("checkout"),
        address: [127, 0, 0, 1].into(),
        ports: BTreeMap::from([(name("http"), NonZeroU16::new(port).unwrap())]),
        service_account: None,
        version: None,
        zone: None,
        weight: 100,
        checks: vec![HealthCheck {
            http: None,
            grpc: None,
            tcp: Some(TcpProbe {
                port: NonZeroU16::new(port).unwrap(),
            }),
            interval: Duration::from_millis(200),
            timeout: Duration::from_millis(200),
            failures: 2,
            successes: 1,
        }],
    };
    let cluster = log.cluster_of(2);
    let put = Command::PutWorkloadEntry(cluster, name("shop"), name("vm-1"), Box::new(spec));
    log.accept(log.gateway(2), put);
    let gateway = gateway(EU, "gw", None, None).await;
    gateway
        .handle
        .set_surroundings(surroundings(log.state.clone()));
    let sidecar = sidecar(EU, &[&gateway], None);
    let fronting = gateway.handle.clone();
    let fronting = tokio::spawn(async move {
        fronting
            .front(SocketAddr::from(([127, 0, 0, 1], 15006)))
            .await;
    });
    let ready = |sidecar: &client::CatalogClient| {
        let table = sidecar.table().load_full();
        let routes = Arc::clone(table.service(&checkout())?);
        let view = routes.endpoints().first().cloned()?;
        let admitted = view.admit(NonZeroU16::new(80).unwrap(), routes.identities());
        Some((view.endpoint.identity.to_string(), admitted.is_ok()))
    };
    let (identity, _) = until("fronted", || ready(&sidecar).filter(|(_, ready)| *ready)).await;
    assert_eq!(
        identity,
        "spiffe://eu-west-1.fed.example.org/gateway/gw/for/ns/shop/sa/checkout"
    );
    drop(server);
    until("its check fails", || {
        ready(&sidecar).filter(|(_, ready)| !ready)
    })
    .await;
    let cluster = log.cluster_of(2);
    let gone = Command::DeleteWorkloadEntry(cluster, name("shop"), name("vm-1"));
    log.accept(log.gateway(2), gone);
    gateway
        .handle
        .set_surroundings(surroundings(log.state.clone()));
    until("gone", || listed(&sidecar).is_empty().then_some(())).await;
    fronting.abort();
}

#[tokio::test]
async fn intent_reaches_sidecars() {
    let gateway = gateway(EU, "gw", None, None).await;
    let sidecar = sidecar(EU, &[&gateway], None);
    let orders: ServiceKey = name("data/orders");
    until("a service of elsewhere", || {
        sidecar.table().load().service(&orders).map(|_| ())
    })
    .await;
    let mut log = writable();
    let cluster = log.cluster_of(1);
    log.accept(
        log.gateway(1),
        Command::DeleteExport(cluster, orders.clone()),
    );
    gateway.handle.set_surroundings(surroundings(log.state));
    until("gone", || {
        sidecar
            .table()
            .load()
            .service(&orders)
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_leader_lapses_a_silent_cluster_and_returns_it() {
    let keeper = LeaseKeeper::new(name(US));
    let state = Arc::new(Mutex::new(Arc::new(fixture::federation())));
    let proposed: Arc<Mutex<Vec<Command>>> = Arc::default();
    let (read, written) = (Arc::clone(&state), Arc::clone(&proposed));
    let lead: Lead = Arc::new(move || (Some(3), Arc::clone(&read.lock().unwrap())));
    let propose: Propose = Arc::new(move |command| {
        written.lock().unwrap().push(command);
        Box::pin(async { Ok(()) })
    });
    let judged = keeper.clone();
    let judging = tokio::spawn(async move { judged.judge(lead, propose).await });
    let renewing = keeper.clone();
    let (own, ap) = (keeper.clone(), keeper.clone());
    let renew: Renew = Arc::new(move |cluster| {
        own.renewed(cluster);
        ap.renewed(name("ap-south-1"));
        Box::pin(async { Ok(()) })
    });
    let renewing = tokio::spawn(async move { renewing.renew(renew).await });
    let began = tokio::time::Instant::now();
    let first = until("a lapse", || proposed.lock().unwrap().first().cloned()).await;
    assert_eq!(first, Command::LapseLease(name(EU)));
    assert!(began.elapsed() >= Duration::from_secs(10));
    let mut log = writable();
    log.accept(log.gateway(1), Command::LapseLease(name(EU)));
    *state.lock().unwrap() = Arc::new(log.state);
    proposed.lock().unwrap().clear();
    keeper.renewed(name(EU));
    let second = until("a return", || proposed.lock().unwrap().first().cloned()).await;
    assert_eq!(second, Command::ReturnLease(name(EU)));
    judging.abort();
    renewing.abort();
}
