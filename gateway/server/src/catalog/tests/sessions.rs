//! A gateway and the sidecars of its cluster.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use weft_model::fixture::name;
use weft_model::{EndpointId, Health};
use weft_proto::catalog as wire;
use weft_proto::catalog::catalog_client::CatalogClient as Raw;
use weft_proxy::catalog as client;

use super::{
    EU, Gateway, PATIENCE, US, checkout, connect, endpoint, gateway, identity, listed, ready,
    sidecar, until, until_ready,
};

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
async fn a_gateway_that_ends_ends_its_sessions_first() {
    let gateway = gateway(EU, "gw", None, None).await;
    let sidecar = sidecar(EU, &[&gateway], None);
    until("a session", || {
        (!sidecar.relays().load().is_empty()).then_some(())
    })
    .await;
    gateway.handle.end_sessions();
    until("none, and none again", || {
        let status = sidecar.status();
        let troubles = status.values().filter_map(|status| status.trouble.as_ref());
        let told = troubles.filter(|why| why.contains("shutting down")).count();
        (sidecar.relays().load().is_empty() && told == 1).then_some(())
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
