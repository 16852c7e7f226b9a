//! Gateways and sidecars in one process: sessions over TCP on loopback, links
//! over in-memory streams.

mod clamps;
mod intent;
mod leases;
mod links;
mod mutants;
mod reports;
mod restarts;
mod sessions;
mod tables;

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
    AppProtocol, Command, Endpoint, EndpointId, EndpointPort, Federation, Health, ServiceKey,
    SpiffeId,
};
use weft_plan::catalog::{Interest, ShrinkGuard, Timing};
use weft_proxy::catalog as client;

use super::{CatalogConfig, CatalogHandle, RelayGrant, RelayGrants, Surroundings};
use crate::PeerIdentity;
use crate::clamps::ClampKeeper;
use crate::scene::Reach;

pub(super) const EU: &str = "eu-west-1";
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

pub(super) fn identity(cluster: &str) -> SpiffeId {
    name(&format!(
        "spiffe://{cluster}.fed.example.org/ns/shop/sa/checkout"
    ))
}

pub(super) fn endpoint(cluster: &str, n: u8) -> Endpoint {
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
        unready: None,
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
    start_among(fixture::federation(), cluster, gateway, state_file)
}

/// The federation without this cluster.
fn removed(cluster: &str) -> Federation {
    let mut log = fixture::Log::founded();
    for (node, (joins, _)) in (2..).zip(&fixture::CLUSTERS[1..]) {
        log.join(node, joins);
    }
    log.accept(log.admin(), Command::RemoveCluster(name(cluster)));
    log.state
}

fn start_among(
    federation: Federation,
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
        clamps: ClampKeeper::in_memory(),
    };
    let hooks = RelayGrants {
        grant: Arc::new(move |grant: RelayGrant| granted.lock().unwrap().push(grant.session)),
        revoke: Arc::new(move |session| revoked.lock().unwrap().retain(|s| *s != session)),
    };
    (
        CatalogHandle::start(config, hooks, surroundings(federation)),
        grants,
    )
}

fn surroundings(federation: Federation) -> Surroundings {
    let mut reach = Reach::default();
    for (cluster, _) in fixture::CLUSTERS {
        reach.add(name(cluster), Duration::from_millis(80));
    }
    Surroundings {
        federation: Arc::new(federation),
        silence: Duration::ZERO,
        reach,
        clamps: Arc::default(),
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
