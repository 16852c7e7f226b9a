//! An endpoint must prove the identity that its record says.

use std::sync::{Arc, Mutex};

use http::Response;
use http_body_util::BodyExt;

use crate::app;
use crate::client::{HOST, get, header, raw};
use crate::world::{World, local};

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_another_identity_gets_nothing() {
    let world = World::new();
    let intruder = world.server_as("intruder", app::constant(200, "stolen").await, "http");
    let client = world.client();
    let mut claimed = intruder.endpoint();
    claimed.identity = "spiffe://eu-west-1.fed.example.org/ns/shop/sa/checkout"
        .parse()
        .unwrap();
    client.sees([local(claimed)]);
    let response = get(client.addresses.outbound).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "x-weft-reason"), "identity_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_may_not_serve_is_never_tried() {
    let world = World::new();
    let intruder = world.server_as("intruder", app::constant(200, "stolen").await, "http");
    let client = world.client();
    client.sees([local(intruder.endpoint())]);
    let response = get(client.addresses.outbound).await;
    assert_eq!(header(&response, "x-weft-reason"), "no_endpoints");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_known_identity_is_refused() {
    let world = World::new();
    let stranger = World::new();
    let server = world.server(app::constant(200, "secret").await, "http");
    let client = stranger.client();
    client.sees([local(server.endpoint())]);
    let response = get(client.addresses.outbound).await;
    assert_eq!(response.status(), 503);
}

/// Every way to write `name` that some server folds into it: `_` for each `-`, and
/// capitals.
fn spellings(name: &str) -> Vec<String> {
    let dashes: Vec<usize> = name.match_indices('-').map(|(at, _)| at).collect();
    let mut all: Vec<String> = (0..1 << dashes.len())
        .map(|mask: usize| {
            let mut bytes = name.as_bytes().to_vec();
            for (bit, at) in dashes.iter().enumerate() {
                if mask >> bit & 1 == 1 {
                    bytes[*at] = b'_';
                }
            }
            String::from_utf8(bytes).unwrap()
        })
        .collect();
    all.extend(all.clone().iter().map(|name| name.to_uppercase()));
    all
}

const CLAIMS: [&str; 14] = [
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "forwarded",
    "x-real-ip",
    "x-envoy-external-address",
    "l5d-client-id",
    "weft-service",
    "weft-endpoint",
    "weft-client",
    "weft-method",
    "x-weft-reason",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_claim_reaches_the_app() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let app = app::http(move |request| {
        let record = Arc::clone(&record);
        async move {
            let text = format!("{:?}", request.headers());
            let body = request.into_body().collect().await.unwrap();
            record
                .lock()
                .unwrap()
                .push((text, format!("{:?}", body.trailers())));
            Response::new(app::full("ok"))
        }
    })
    .await;
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let all: Vec<String> = CLAIMS.iter().flat_map(|claim| spellings(claim)).collect();
    assert!(all.len() >= 100, "{}", all.len());
    for names in all.chunks(20) {
        // Each twice, and once more as a trailer.
        let fields: String = names
            .iter()
            .map(|name| format!("{name}: evil\r\n{name}: evil\r\n"))
            .collect();
        let trailers: String = names
            .iter()
            .map(|name| format!("{name}: evil\r\n"))
            .collect();
        let ask = format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: {}\r\n{fields}\r\n0\r\n{trailers}\r\n",
            names.join(", ")
        );
        let answer = raw(client.addresses.outbound, ask.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{names:?}: {answer}");
    }
    for (head, trailers) in &*seen.lock().unwrap() {
        assert!(!head.contains("evil"), "{head}");
        assert!(!trailers.contains("evil"), "{trailers}");
    }
}
