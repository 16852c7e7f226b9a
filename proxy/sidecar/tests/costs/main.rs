//! What a request costs a sidecar's worker: allocations and wake-ups, counted.
//!
//! Bounds with a little room, so that something wasteful is noticed when it comes; the
//! figures are printed (`--no-capture`) and stand in `docs/status.md`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on may panic anywhere in this crate"
)]

mod counting;

#[path = "../data_plane/app.rs"]
#[allow(dead_code, reason = "shared with the data plane's tests")]
mod app;
#[path = "../data_plane/client.rs"]
#[allow(dead_code, reason = "shared with the data plane's tests")]
mod client;
#[path = "../data_plane/world.rs"]
#[allow(dead_code, reason = "shared with the data plane's tests")]
mod world;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};

use client::HOST;
use counting::{Costs, Worker};
use world::{World, local, within};

/// Requests before the counting: pools, tables and buffers are there by then.
const WARM_UP: u32 = 200;
const REQUESTS: u32 = 500;

/// One after the other on one connection: two sidecars, their app and their client are in this
/// process, and only the sidecars' threads are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_costs_a_worker_no_more_than_it_did() {
    let world = World::new();
    let server = world.server(app::constant(200, "ok").await, "http");
    let destination = Worker::started_after(&[]).await;
    let side = world.client();
    let source = Worker::started_after(&[&destination]).await;
    side.sees([local(server.endpoint())]);
    let outbound = side.addresses.outbound;

    let mut h1 = client::connect::<Empty<Bytes>>(outbound).await;
    let mut before = None;
    for number in 0..WARM_UP + REQUESTS {
        if number == WARM_UP {
            before = Some(Costs::of(&source, &destination));
        }
        h1.ready().await.unwrap();
        let answer = within("an answer", h1.send_request(request("/")));
        answer.await.unwrap().into_body().collect().await.unwrap();
    }
    let before = before.unwrap();
    check(
        "HTTP/1.1",
        before.until_now(&source, &destination),
        [30, 30],
    );

    let stream = tokio::net::TcpStream::connect(outbound).await.unwrap();
    let (mut h2, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(driver);
    let uri = format!("http://{HOST}/");
    let mut before = None;
    for number in 0..WARM_UP + REQUESTS {
        if number == WARM_UP {
            before = Some(Costs::of(&source, &destination));
        }
        let answer = within("an answer", h2.send_request(request(&uri)));
        answer.await.unwrap().into_body().collect().await.unwrap();
    }
    let before = before.unwrap();
    check("HTTP/2", before.until_now(&source, &destination), [30, 30]);
}

fn request(uri: &str) -> http::Request<Empty<Bytes>> {
    let request = http::Request::get(uri).header("host", HOST);
    request.body(Empty::new()).unwrap()
}

/// Says what a request cost the source and the destination, and bounds the allocations.
#[expect(clippy::print_stdout, reason = "the figures are the point")]
fn check(what: &str, [source, destination]: [Costs; 2], most: [u64; 2]) {
    for (side, costs, most) in [
        ("source", source, most[0]),
        ("destination", destination, most[1]),
    ] {
        let per = |count: u64| count as f64 / f64::from(REQUESTS);
        println!(
            "{what}, {side}: {:.1} allocations, {:.0} bytes, {:.2} wake-ups a request",
            per(costs.allocations),
            per(costs.bytes),
            per(costs.wakeups),
        );
        let bound = most * u64::from(REQUESTS);
        assert!(costs.allocations <= bound, "{what}, {side}: {costs:?}");
    }
}
