//! Malformed and ambiguous requests are refused and never reach the app.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;

use crate::app;
use crate::client::{HOST, raw};
use crate::world::{World, local};

/// Sends each request; expects its status, a close, and that the app saw nothing.
async fn check(cases: &[(&str, String, u16)]) {
    let hits = Arc::new(AtomicUsize::new(0));
    let app = {
        let hits = Arc::clone(&hits);
        app::http(move |_| {
            hits.fetch_add(1, Ordering::SeqCst);
            async { Response::new(app::full("reached")) }
        })
        .await
    };
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    for (name, request, status) in cases {
        let answer = raw(client.addresses.outbound, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{name}: {answer:?}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{name}: {answer:?}");
        assert_eq!(hits.load(Ordering::SeqCst), 0, "{name} reached the app");
    }
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n{body}")
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_over_the_limits_are_431() {
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(61 << 10));
    check(&[
        ("101 fields", post(&many, ""), 431),
        ("a long field", post(&long, ""), 431),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_framing_is_400() {
    let chunked = "transfer-encoding: chunked\r\n";
    let zero = "0\r\n\r\n";
    let smuggled = format!("0\r\n\r\nGET /admin HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    check(&[
        (
            "length, then chunked",
            post(&format!("content-length: 5\r\n{chunked}"), &smuggled),
            400,
        ),
        (
            "chunked, then length",
            post(&format!("{chunked}content-length: 5\r\n"), &smuggled),
            400,
        ),
        (
            "two lengths",
            post("content-length: 1\r\ncontent-length: 2\r\n", "ab"),
            400,
        ),
        (
            "one length twice",
            post("content-length: 2\r\ncontent-length: 2\r\n", "ab"),
            400,
        ),
        (
            "a list of lengths",
            post("content-length: 2, 2\r\n", "ab"),
            400,
        ),
        ("a signed length", post("content-length: +2\r\n", "ab"), 400),
        (
            "chunked is not last",
            post("transfer-encoding: chunked, gzip\r\n", zero),
            400,
        ),
        (
            "chunked twice",
            post(&format!("{chunked}{chunked}"), zero),
            400,
        ),
        (
            "another coding",
            post("transfer-encoding: gzip, chunked\r\n", zero),
            400,
        ),
        (
            "a space before the colon",
            post("content-length : 2\r\n", "ab"),
            400,
        ),
        (
            "a folded line",
            post("x-a: 1\r\n content-length: 2\r\n", "ab"),
            400,
        ),
        (
            "a bare line feed",
            format!("POST / HTTP/1.1\nhost: {HOST}\ncontent-length: 2\n\nab"),
            400,
        ),
        (
            "chunked in HTTP/1.0",
            format!("POST / HTTP/1.0\r\nhost: {HOST}\r\n{chunked}\r\n{zero}"),
            400,
        ),
        (
            "two hosts",
            post(
                "host: payments.shop\r\ncontent-length: 0\r\nconnection: close\r\n",
                "",
            ),
            400,
        ),
        (
            "no host",
            "GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(),
            400,
        ),
    ])
    .await;
}
