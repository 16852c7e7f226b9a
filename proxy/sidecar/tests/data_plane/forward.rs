//! Requests and answers pass through two sidecars unchanged but for what must change.

use std::convert::Infallible;

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app;
use crate::client::{HOST, call, connect, get, header, raw, request, text};
use crate::world::{Side, World, local, within};

async fn pair() -> (World, Side, Side) {
    let world = World::new();
    let server = world.server(app::echo().await, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    (world, client, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn get_and_post_reach_the_app() {
    let (_world, client, server) = pair().await;
    let response = call(client.addresses.outbound, request("GET", "/cart?id=7", "")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "x-saw-method"), "GET");
    assert_eq!(header(&response, "x-saw-path"), "/cart?id=7");
    assert_eq!(header(&response, "x-saw-host"), HOST);
    assert_eq!(header(&response, "x-saw-x-request-id").len(), 32);
    assert_eq!(
        header(&response, "x-saw-x-forwarded-client-cert"),
        format!("By={};URI={}", server.id, client.id)
    );
    let response = call(
        client.addresses.outbound,
        request("POST", "/cart", "two eggs"),
    )
    .await;
    assert_eq!(header(&response, "x-saw-content-length"), "8");
    assert_eq!(text(response).await, "two eggs");
    let metrics = client.metrics.text().unwrap();
    assert!(metrics.contains("destination_service_name=\"checkout\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_target_and_a_local_port_reach_it_too() {
    let (_world, client, _server) = pair().await;
    let mut absolute = request("GET", "http://CHECKOUT.shop./p", "");
    absolute
        .headers_mut()
        .insert("host", "elsewhere.example".parse().unwrap());
    let response = call(client.addresses.outbound, absolute).await;
    assert_eq!(header(&response, "x-saw-path"), "/p");
    // A local port knows its service: the host is the app's own affair.
    let mut any_host = request("GET", "/q", "");
    any_host
        .headers_mut()
        .insert("host", "localhost:1234".parse().unwrap());
    let response = call(client.addresses.upstreams[0], any_host).await;
    assert_eq!(header(&response, "x-saw-path"), "/q");
    assert_eq!(header(&response, "x-saw-host"), "localhost:1234");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_identity_do_not_reach_the_app() {
    let (_world, client, _server) = pair().await;
    let mut spoofed = request("GET", "/", "");
    for (name, value) in [
        ("x-forwarded-client-cert", "URI=spiffe://evil/ns/a/sa/b"),
        ("x_forwarded_client_cert", "URI=spiffe://evil/ns/a/sa/b"),
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("weft-service", "shop/payments"),
        ("weft-endpoint", "00000000000000000000000000000000"),
        ("connection", "x-private, content-length"),
        ("x-private", "1"),
        ("proxy-authorization", "Basic eA=="),
        ("x-user", "kept"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("x-request-id", "mine"),
    ] {
        spoofed.headers_mut().append(name, value.parse().unwrap());
    }
    let response = call(client.addresses.outbound, spoofed).await;
    assert_eq!(response.status(), 200);
    let mut saw: Vec<_> = response
        .headers()
        .keys()
        .filter_map(|name| name.as_str().strip_prefix("x-saw-"))
        .collect();
    saw.sort_unstable();
    assert_eq!(
        saw,
        [
            "forwarded",
            "host",
            "method",
            "path",
            "traceparent",
            "via",
            "x-forwarded-client-cert",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
            "x-user"
        ]
    );
    let forwarded = format!("proto=http;host=\"{HOST}\"");
    assert_eq!(header(&response, "x-saw-forwarded"), forwarded);
    assert_eq!(header(&response, "x-saw-x-forwarded-host"), HOST);
    // The trace goes on, under another parent.
    let parent = header(&response, "x-saw-traceparent");
    assert!(
        parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"),
        "{parent}"
    );
    assert!(!parent.contains("b7ad6b7169203331"), "{parent}");
    assert!(!header(&response, "x-saw-x-forwarded-client-cert").contains("evil"));
    assert_eq!(header(&response, "x-saw-x-request-id"), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_arrives_byte_for_byte() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 64;
    let (_world, client, _server) = pair().await;
    let chunk = |n: usize| -> Bytes {
        (0..CHUNK)
            .map(|i| (i.wrapping_mul(31) ^ (i >> 8) ^ n) as u8)
            .collect::<Vec<_>>()
            .into()
    };
    let body = StreamBody::new(stream::iter(
        (0..CHUNKS).map(move |n| Ok::<_, Infallible>(Frame::data(chunk(n)))),
    ));
    let upload = Request::builder()
        .method("POST")
        .uri("/")
        .header("host", HOST)
        .body(body)
        .unwrap();
    let mut send = connect(client.addresses.outbound).await;
    let response = within("an answer", send.send_request(upload))
        .await
        .unwrap();
    let mut received = digest::Context::new(&digest::SHA256);
    let mut length = 0;
    let mut body = response.into_body();
    while let Some(frame) = within("a frame", body.frame()).await {
        let data = frame.unwrap().into_data().unwrap();
        length += data.len();
        received.update(&data);
    }
    let mut sent = digest::Context::new(&digest::SHA256);
    (0..CHUNKS).for_each(|n| sent.update(&chunk(n)));
    assert_eq!(length, CHUNK * CHUNKS);
    assert_eq!(received.finish().as_ref(), sent.finish().as_ref());
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let (_world, client, _server) = pair().await;
    let one = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n{more}\r\n");
    let bytes = one("/1", "") + &one("/2", "") + &one("/3", "connection: close\r\n");
    let answer = raw(client.addresses.outbound, bytes.as_bytes()).await;
    let paths: Vec<_> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("x-saw-path: "))
        .collect();
    assert_eq!(paths, ["/1", "/2", "/3"], "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_why_and_next() {
    let (_world, client, _server) = pair().await;
    let mut unknown = request("GET", "/secret", "");
    unknown
        .headers_mut()
        .insert("host", "basket.shop".parse().unwrap());
    let response = call(client.addresses.outbound, unknown).await;
    assert_eq!(response.status(), 404);
    assert_eq!(header(&response, "server"), "weft");
    assert_eq!(header(&response, "x-weft-reason"), "no_route");
    assert_eq!(header(&response, "x-weft-response-flags"), "NR");
    let text = text(response).await;
    assert!(text.starts_with("WEFT-4001: "), "{text}");
    assert!(
        text.contains("GET basket.shop") && text.contains("next: "),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
    client.sees([]);
    let response = get(client.addresses.outbound).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "x-weft-response-flags"), "UH");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_gets_it() {
    let (_world, client, _server) = pair().await;
    let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 4\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    within("100", stream.read_exact(&mut interim))
        .await
        .unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"eggs").await.unwrap();
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\neggs"), "{answer}");
    assert!(!answer.contains("x-saw-expect"), "{answer}");
}
