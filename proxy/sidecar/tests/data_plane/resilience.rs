//! What clients see while some endpoints fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;

use crate::app;
use crate::client::{call, get, header, request, text};
use crate::world::{World, closed_port, local, unique};

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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_safe_to_repeat_is_sent_once_more_and_nothing_else() {
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
    // Its sidecar answers for the app: the request was not lost between sidecars.
    let response = call(client.addresses.outbound, request("POST", "/", "pay")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "x-weft-reason"), "upstream_reset");
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}
