//! What the federation's records change for sidecars.

use weft_model::fixture::name;
use weft_model::{Command, ServiceKey};

use super::{EU, gateway, sidecar, surroundings, until, writable};

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
