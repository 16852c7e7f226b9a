//! What clients see while some endpoints fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::app;
use crate::client::{call, get, header, request, text};
use crate::world::{World, closed_port, local, unique, within};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_goes_elsewhere() {
    let hits = Arc::new(AtomicUsize::new(0));
    let closing = {
        let hits = Arc::clone(&hits);
        app::tcp(move |_| {
            hits.fetch_add(1, Ordering::SeqCst);
            async {}
        })
        .await
    };
    let world = World::new();
    let server = world.server(app::echo().await, "http");
    let client = world.client();
    let at = |address| {
        let mut endpoint = server.endpoint();
        endpoint.id.0 = unique();
        endpoint.address = Some(address);
        local(endpoint)
    };
    client.sees([local(server.endpoint()), at(closing), at(closed_port())]);
    for _ in 0..50 {
        let response = call(client.addresses.outbound, request("POST", "/", "once")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, "once");
    }
    assert!(hits.load(Ordering::SeqCst) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_five_times_in_a_row_is_ejected() {
    let world = World::new();
    let good = world.server(app::constant(200, "good").await, "http");
    let bad = world.server(app::constant(500, "bad").await, "http");
    let client = world.client();
    client.sees([local(good.endpoint()), local(bad.endpoint())]);
    let mut failures = 0;
    for _ in 0..400 {
        failures += usize::from(get(client.addresses.outbound).await.status() == 500);
    }
    assert!(failures <= 5, "{failures} failures seen");
}

/// A link that can be cut: forwards to `to` until `cut` is notified.
async fn link(to: SocketAddr, cut: Arc<Notify>) -> SocketAddr {
    app::tcp(move |mut stream| {
        let cut = Arc::clone(&cut);
        async move {
            let mut onward = TcpStream::connect(to).await.unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut stream, &mut onward) => {}
                () = cut.notified() => {}
            }
        }
    })
    .await
}

/// Cuts the link while the app holds the first request; says what the client got
/// and how often the app was asked.
async fn cut_under_way(method: &str) -> (u16, usize) {
    let (hits, arrived) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let app = {
        let (hits, arrived) = (Arc::clone(&hits), Arc::clone(&arrived));
        app::http(move |_| {
            let first = hits.fetch_add(1, Ordering::SeqCst) == 0;
            let arrived = Arc::clone(&arrived);
            async move {
                if first {
                    arrived.notify_one();
                    std::future::pending::<()>().await;
                }
                http::Response::new(app::full("second"))
            }
        })
        .await
    };
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    let cut = Arc::new(Notify::new());
    // Two endpoints in front of one app, so that the retry has somewhere to go.
    let (other, mut first) = (world.server(app, "http"), server.endpoint());
    first.address = Some(link(server.addresses.inbound, Arc::clone(&cut)).await);
    client.sees([local(first.clone())]);
    let outbound = client.addresses.outbound;
    let asked = tokio::spawn(call(outbound, request(method, "/", "")));
    within("the request's arrival", arrived.notified()).await;
    client.sees([local(first), local(other.endpoint())]);
    cut.notify_waiters();
    let response = within("the answer", asked).await.unwrap();
    (response.status().as_u16(), hits.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cut_under_way_is_repeated_only_if_that_is_safe() {
    assert_eq!(cut_under_way("GET").await, (200, 2));
    assert_eq!(cut_under_way("POST").await, (503, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_cuts_its_connection_is_not_asked_twice() {
    let hits = Arc::new(AtomicUsize::new(0));
    let cutting = {
        let hits = Arc::clone(&hits);
        app::tcp(move |mut stream| {
            let hits = Arc::clone(&hits);
            async move {
                let _ = stream.read_u8().await;
                hits.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await
    };
    let world = World::new();
    let server = world.server(cutting, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let response = call(client.addresses.outbound, request("POST", "/", "pay")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "x-weft-reason"), "upstream_reset");
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_requests_at_once_share_a_few_connections() {
    let world = World::new();
    let server = world.server(app::constant(200, "ok").await, "http");
    let client = world.client();
    let opened = Arc::new(AtomicUsize::new(0));
    let counting = {
        let (opened, to) = (Arc::clone(&opened), server.addresses.inbound);
        app::tcp(move |mut stream| {
            opened.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut onward = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        })
        .await
    };
    let mut endpoint = server.endpoint();
    endpoint.address = Some(counting);
    client.sees([local(endpoint)]);
    let calls = (0..300).map(|_| get(client.addresses.outbound));
    let answers = within("all answers", futures_util::future::join_all(calls)).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    let opened = opened.load(Ordering::SeqCst);
    assert!((1..=8).contains(&opened), "{opened} inner connections");
}
