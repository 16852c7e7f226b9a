//! What a sidecar makes of routes and traffic policies.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use tokio::sync::Notify;

use crate::app::{self, AppBody, full};
use crate::client::{call, get, header, request, text};
use crate::world::{Side, World, local, within};

const TO_ITSELF: &str = r#""backendRefs":[{"name":"checkout"}]"#;

/// A client that sees one server at `app` under one rule.
async fn ruled(app: std::net::SocketAddr, rule: &str) -> (Side, Side) {
    let world = World::new();
    let (server, client) = (world.server(app, "http"), world.client());
    client.sees_ruled([local(server.endpoint())], &format!("[{rule}]"), None);
    (server, client)
}

fn answer(status: u16, text: &'static str) -> Response<AppBody> {
    Response::builder().status(status).body(full(text)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_changes_request_and_answer() {
    let rule = format!(
        r#"{{"matches":[{{"path":{{"value":"/v2"}}}}],"filters":[
            {{"type":"RequestHeaderModifier","requestHeaderModifier":
              {{"set":[{{"name":"x-a","value":"1"}}],"remove":["x-b"]}}}},
            {{"type":"URLRewrite","urlRewrite":{{"hostname":"other.example","path":
              {{"type":"ReplacePrefixMatch","replacePrefixMatch":"/v1"}}}}}},
            {{"type":"ResponseHeaderModifier","responseHeaderModifier":
              {{"add":[{{"name":"x-c","value":"2"}}]}}}}],{TO_ITSELF}}}"#
    );
    let (_server, client) = ruled(app::echo().await, &rule).await;
    let mut asked = request("POST", "/v2/cart?q=1", "body");
    asked.headers_mut().insert("x-b", "gone".parse().unwrap());
    let answer = call(client.addresses.outbound, asked).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "x-saw-path"), "/v1/cart?q=1");
    assert_eq!(header(&answer, "x-saw-x-a"), "1");
    assert_eq!(header(&answer, "x-saw-x-b"), "");
    assert_eq!(header(&answer, "x-saw-host"), "other.example");
    assert_eq!(header(&answer, "x-c"), "2");
    assert_eq!(text(answer).await, "body");
    let unmatched = get(client.addresses.outbound).await;
    assert_eq!(unmatched.status(), 404);
    assert_eq!(header(&unmatched, "x-weft-reason"), "no_rule");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_504_with_its_flag() {
    for timeouts in [r#"{"request":"200ms"}"#, r#"{"backendRequest":"200ms"}"#] {
        let silent = app::http(|_| pending::<Response<AppBody>>()).await;
        let rule = format!(r#"{{"timeouts":{timeouts},{TO_ITSELF}}}"#);
        let (_server, client) = ruled(silent, &rule).await;
        let answer = get(client.addresses.outbound).await;
        assert_eq!(answer.status(), 504, "{timeouts}");
        assert_eq!(header(&answer, "x-weft-response-flags"), "UT");
    }
}

/// An app that answers 503 as often as told, then 200; and how often it was asked.
async fn failing(times: usize) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let app = app::http(move |_| {
        let hit = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match hit < times {
                true => answer(503, "not yet"),
                false => answer(200, "here"),
            }
        }
    });
    (app.await, hits)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_asked_for_again_as_often_as_the_rule_says() {
    let rule = format!(r#"{{"retry":{{"codes":[503],"attempts":2,"backoff":"1ms"}},{TO_ITSELF}}}"#);
    for (times, method, status, asked) in
        [(2, "GET", 200, 3), (3, "GET", 503, 3), (2, "POST", 503, 1)]
    {
        let (app, hits) = failing(times).await;
        let (_server, client) = ruled(app, &rule).await;
        let answer = call(client.addresses.outbound, request(method, "/", "")).await;
        assert_eq!(answer.status(), status, "{times} {method}");
        assert_eq!(hits.load(Ordering::SeqCst), asked, "{times} {method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_stay_within_the_budget() {
    let rule = format!(r#"{{"retry":{{"codes":[503],"attempts":5,"backoff":"0ms"}},{TO_ITSELF}}}"#);
    let (app, hits) = failing(usize::MAX).await;
    let world = World::new();
    let (server, client) = (world.server(app, "http"), world.client());
    let policy = r#"{"targetRef":{"name":"checkout"},
        "retryBudget":{"percent":20,"minRetriesPerSecond":0},
        "outlierDetection":{"consecutive5xxErrors":0}}"#;
    client.sees_ruled(
        [local(server.endpoint())],
        &format!("[{rule}]"),
        Some(policy),
    );
    for _ in 0..100 {
        assert_eq!(get(client.addresses.outbound).await.status(), 503);
    }
    // A fifth of a hundred, and what the reserve held before the policy was read.
    let asked = hits.load(Ordering::SeqCst);
    assert!((115..=131).contains(&asked), "{asked} for 100 requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_to_the_mirror_and_its_answer_nowhere() {
    let hits = Arc::new(AtomicUsize::new(0));
    let (counted, both) = (Arc::clone(&hits), Arc::new(Notify::new()));
    let reached = Arc::clone(&both);
    let app = app::http(move |_| {
        if counted.fetch_add(1, Ordering::SeqCst) == 1 {
            reached.notify_one();
        }
        async { answer(200, "one") }
    });
    let rule = format!(
        r#"{{"filters":[{{"type":"RequestMirror","requestMirror":
           {{"backendRef":{{"name":"checkout"}}}}}}],{TO_ITSELF}}}"#
    );
    let (_server, client) = ruled(app.await, &rule).await;
    let answer = get(client.addresses.outbound).await;
    assert_eq!(text(answer).await, "one");
    within("the copy", both.notified()).await;
    assert_eq!(hits.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_the_pool_allows_are_refused_at_once() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = {
        let (arrived, go) = (Arc::clone(&arrived), Arc::clone(&go));
        app::http(move |_| {
            let (arrived, go) = (Arc::clone(&arrived), Arc::clone(&go));
            async move {
                arrived.notify_one();
                go.notified().await;
                answer(200, "late")
            }
        })
        .await
    };
    let world = World::new();
    let (server, client) = (world.server(app, "http"), world.client());
    let policy = r#"{"targetRef":{"name":"checkout"},
        "connectionPool":{"http":{"http2MaxRequests":1}}}"#;
    client.sees_ruled([local(server.endpoint())], "[]", Some(policy));
    let proxy = client.addresses.outbound;
    let first = tokio::spawn(async move { get(proxy).await.status() });
    within("the first request", arrived.notified()).await;
    let second = get(proxy).await;
    assert_eq!(second.status(), 503);
    assert_eq!(header(&second, "x-weft-response-flags"), "UO");
    go.notify_one();
    assert_eq!(first.await.unwrap(), 200);
}
