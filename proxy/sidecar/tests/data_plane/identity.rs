//! An endpoint must prove the identity that its record says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_model::AppProtocol;

use crate::app;
use crate::client::{HOST, get, head, header, raw, tunnel};
use crate::world::{Side, World, local, within};

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

const CLAIMS: [&str; 20] = [
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "forwarded",
    "x-real-ip",
    "x-envoy-external-address",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "client-cert",
    "client-cert-chain",
    "x-ssl-client-verify",
    "l5d-client-id",
    "weft-service",
    "weft-endpoint",
    "weft-client",
    "weft-method",
    "x-weft-reason",
];

/// What an app was sent: heads, and the trailers after them.
type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;

async fn recording() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let record = Arc::clone(&seen);
    let app = app::http(move |request| {
        let record = Arc::clone(&record);
        async move {
            let headers = request.headers().clone();
            let body = request.into_body().collect().await.unwrap();
            let trailers = format!("{:?}", body.trailers());
            record.lock().unwrap().push((headers, trailers));
            Response::new(app::full("ok"))
        }
    })
    .await;
    (app, seen)
}

/// Requests with every spelling of every claim: each twice, and once more as a trailer.
fn claiming(connection: &str) -> Vec<String> {
    let all: Vec<String> = CLAIMS.iter().flat_map(|claim| spellings(claim)).collect();
    assert!(all.len() >= 100, "{}", all.len());
    let ask = |names: &[String]| {
        let fields: String = names
            .iter()
            .map(|name| format!("{name}: evil\r\n{name}: evil\r\n"))
            .collect();
        let trailers: String = names
            .iter()
            .map(|name| format!("{name}: evil\r\n"))
            .collect();
        format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\nconnection: {connection}\r\ntransfer-encoding: chunked\r\ntrailer: {}\r\n{fields}\r\n0\r\n{trailers}\r\n",
            names.join(", ")
        )
    };
    all.chunks(20).map(ask).collect()
}

/// No claim came through, and who the client is stands there once.
fn hears_the_truth(seen: &Seen, client: &Side, server: &Side) {
    let truth = format!("By={};URI={}", server.id, client.id);
    for (head, trailers) in &*seen.lock().unwrap() {
        assert!(!format!("{head:?}").contains("evil"), "{head:?}");
        assert!(!trailers.contains("evil"), "{trailers}");
        let said: Vec<_> = head.get_all("x-forwarded-client-cert").iter().collect();
        assert_eq!(said, [&*truth], "{head:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_claim_reaches_the_app() {
    let (app, seen) = recording().await;
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    for ask in claiming("close") {
        let answer = raw(client.addresses.outbound, ask.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{ask}: {answer}");
    }
    hears_the_truth(&seen, &client, &server);
}

/// The requests in a tunnel are as good as bytes to the client's sidecar, which passes them on.
#[tokio::test(flavor = "multi_thread")]
async fn no_claim_reaches_the_app_through_a_tunnel() {
    let (app, seen) = recording().await;
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let mut stream = tunnel(client.addresses.outbound).await;
    let asked = claiming("keep-alive");
    for ask in &asked {
        stream.write_all(ask.as_bytes()).await.unwrap();
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{ask}: {answer}");
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"ok");
    }
    assert_eq!(seen.lock().unwrap().len(), asked.len());
    hears_the_truth(&seen, &client, &server);
}

/// The workload calls its port TCP, as it does if it says nothing; its export says HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn no_claim_reaches_the_app_whose_export_alone_says_http() {
    let (app, seen) = recording().await;
    let world = World::new();
    let server = world.server(app, "tcp");
    let client = world.client();
    for side in [&server, &client] {
        side.sees_as([local(server.endpoint())], |spec| {
            spec.ports[0].app_protocol = AppProtocol::Http;
        });
    }
    let asked = claiming("close");
    for ask in &asked {
        let mut stream = tunnel(client.addresses.outbound).await;
        stream.write_all(ask.as_bytes()).await.unwrap();
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{ask}: {answer}");
        let answer = raw(client.addresses.outbound, ask.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{ask}: {answer}");
    }
    assert_eq!(seen.lock().unwrap().len(), 2 * asked.len());
    hears_the_truth(&seen, &client, &server);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_claim_reaches_the_app_by_http2_in_a_tunnel() {
    let (app, seen) = recording().await;
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let stream = TokioIo::new(tunnel(client.addresses.outbound).await);
    let (mut send, driver) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(driver);
    for _ in 0..2 {
        let mut ask = Request::builder().uri(format!("http://{HOST}/"));
        for claim in CLAIMS {
            ask = ask.header(claim, "evil");
        }
        let ask = ask.header("host", "evil.shop").body(app::full("")).unwrap();
        let answer = within("an answer", send.send_request(ask)).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
    hears_the_truth(&seen, &client, &server);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_fit_request_in_a_tunnel_reaches_no_app() {
    let (app, seen) = recording().await;
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let close = "connection: close\r\n\r\n";
    for (ask, status) in [
        ("\x16\x03\x01\x02\x00\x01\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{close}"), 400),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n{close}"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: {HOST};for=10.0.0.1\r\n{close}"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: evil@{HOST}\r\n{close}"),
            400,
        ),
        (
            format!("CONNECT {HOST}:80 HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
            501,
        ),
    ] {
        let mut stream = tunnel(client.addresses.outbound).await;
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within("the end", stream.read_to_string(&mut answer))
            .await
            .unwrap();
        let line = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&line), "{ask:?}: {answer}");
    }
    assert!(seen.lock().unwrap().is_empty());
}
