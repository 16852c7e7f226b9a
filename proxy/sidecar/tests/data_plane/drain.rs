//! A drain finishes what runs and takes nothing new.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::app;
use crate::client::{connect, request, text};
use crate::world::{DEADLINE, World, local, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_request_finishes_on_both_sides() {
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = {
        let (arrived, release) = (Arc::clone(&arrived), Arc::clone(&release));
        app::http(move |_| {
            let (arrived, release) = (Arc::clone(&arrived), Arc::clone(&release));
            async move {
                arrived.notify_one();
                release.notified().await;
                Response::new(app::full("finished"))
            }
        })
        .await
    };
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let outbound = client.addresses.outbound;
    let mut send = connect(outbound).await;
    let running = tokio::spawn(send.send_request(request("GET", "/", "")));
    within("the request's arrival", arrived.notified()).await;
    let drains = tokio::spawn(async move {
        tokio::join!(
            client.sidecar.shutdown(DEADLINE),
            server.sidecar.shutdown(DEADLINE)
        );
    });
    until("the listener's end", || {
        std::net::TcpStream::connect(outbound).is_err()
    })
    .await;
    assert!(!drains.is_finished());
    release.notify_one();
    let response = within("the answer", running).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "finished");
    within("the drains", drains).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_cuts_what_does_not_end() {
    let world = World::new();
    let server = world.server(
        app::tcp(|stream| async move {
            let _open = stream;
            std::future::pending::<()>().await;
        })
        .await,
        "tcp",
    );
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let stream = TcpStream::connect(client.addresses.upstreams[0])
        .await
        .unwrap();
    until("the connection's count", || {
        client
            .metrics
            .text()
            .unwrap()
            .contains("weft_tcp_connections_opened_total{")
    })
    .await;
    within(
        "the cut",
        client.sidecar.shutdown(Duration::from_millis(100)),
    )
    .await;
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_a_draining_endpoint_notice_nothing() {
    let world = World::new();
    let leaving = world.server(app::constant(200, "leaving").await, "http");
    let staying = world.server(app::constant(200, "staying").await, "http");
    let client = world.client();
    // The table does not know of the drain: callers find out by themselves.
    client.sees([local(leaving.endpoint()), local(staying.endpoint())]);
    let outbound = client.addresses.outbound;
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                let mut send = connect(outbound).await;
                for n in 0..250 {
                    let method = if n % 2 == 0 { "GET" } else { "POST" };
                    send.ready().await.unwrap();
                    let response = send.send_request(request(method, "/", "")).await.unwrap();
                    assert_eq!(response.status(), 200, "request {n}");
                    text(response).await;
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    until("load", || answered.load(Ordering::SeqCst) > 200).await;
    within("the drain", leaving.sidecar.shutdown(DEADLINE)).await;
    let all = futures_util::future::join_all(callers);
    for caller in within("all callers", all).await {
        caller.unwrap();
    }
    assert_eq!(answered.load(Ordering::SeqCst), 2000);
}
