//! What the federation's records change for sidecars.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use weft_model::fixture::name;
use weft_model::{Command, HealthCheck, ServiceKey, TcpProbe, WorkloadEntrySpec};
use weft_proxy::catalog as client;

use super::{EU, gateway, listed, sidecar, surroundings, until, writable};

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
