//! What is slow or silent ends in time, and holds up nobody else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::app;
use crate::client::{HOST, call, get, header, request, text};
use crate::frames::{END_HEADERS, END_STREAM, HEADERS, Http2, frame, request as block};
use crate::world::{Side, World, local, until, within};

async fn pair(app: SocketAddr, protocol: &str, http: Value) -> (Side, Side) {
    let world = World::new();
    let server = world.server(app, protocol);
    let client = world.client_waiting(http);
    client.sees([local(server.endpoint())]);
    (client, server)
}

/// Never answers.
async fn silent() -> SocketAddr {
    app::http(|_| std::future::pending()).await
}

/// Answers with bytes as long as they are taken; counts them, and the answers whose
/// readers went away.
async fn endless(sent: Arc<AtomicUsize>, gone: Arc<AtomicUsize>) -> SocketAddr {
    app::tcp(move |mut stream| {
        let (sent, gone) = (Arc::clone(&sent), Arc::clone(&gone));
        async move {
            let mut head = [0; 512];
            let read = stream.read(&mut head).await.unwrap();
            if head[..read].starts_with(b"GET /small") {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
                return;
            }
            let head = b"HTTP/1.1 200 OK\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let block = vec![b'x'; 64 << 10];
            while let Ok(count) = stream.write(&block).await {
                sent.fetch_add(count, Ordering::SeqCst);
            }
            gone.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_coming_is_408() {
    let (client, _server) = pair(silent().await, "http", json!({ "bodyTimeout": "50ms" })).await;
    let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 9\r\n\r\nhalf");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("x-weft-reason: request_stalled"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_app_is_504() {
    let (client, _server) = pair(silent().await, "http", json!({ "answerTimeout": "50ms" })).await;
    let response = call(client.addresses.outbound, request("POST", "/", "work")).await;
    assert_eq!(response.status(), 504);
    assert_eq!(header(&response, "x-weft-reason"), "timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_requests_ends() {
    let (client, _server) = pair(app::echo().await, "http", json!({ "idleTimeout": "50ms" })).await;
    let mut rest = Vec::new();
    let mut unused = TcpStream::connect(client.addresses.outbound).await.unwrap();
    within("the end", unused.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.is_empty());
    let mut used = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let ask = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    used.write_all(ask.as_bytes()).await.unwrap();
    within("the end", used.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 200 "));
    let mut http2 = Http2::open(client.addresses.outbound, &[]).await;
    while http2.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_is_cut() {
    const INITIAL_WINDOW: u16 = 4;
    let gone = Arc::new(AtomicUsize::new(0));
    let app = endless(Arc::default(), Arc::clone(&gone)).await;
    let (client, _server) = pair(app, "http", json!({ "sendTimeout": "100ms" })).await;
    let mut reader = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let ask = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    reader.write_all(ask.as_bytes()).await.unwrap();
    let mut http2 = Http2::open(client.addresses.outbound, &[(INITIAL_WINDOW, 0)]).await;
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block("GET", "/"));
    http2.send(&head).await;
    until("both to be cut", || gone.load(Ordering::SeqCst) == 2).await;
    while http2.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_pause_hold_up_nobody() {
    const INITIAL_WINDOW: u16 = 4;
    let sent = Arc::new(AtomicUsize::new(0));
    let app = endless(Arc::clone(&sent), Arc::default()).await;
    let (client, _server) = pair(app, "http", json!({})).await;
    let mut reader = Http2::open(client.addresses.outbound, &[(INITIAL_WINDOW, 0)]).await;
    for n in 0..40 {
        let head = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            2 * n + 1,
            &block("GET", "/"),
        );
        reader.send(&head).await;
        reader.until(HEADERS).await.expect("an answer begins");
    }
    // Once no byte moves, all that may wait on the way does.
    let mut before = 0;
    while before != sent.load(Ordering::SeqCst) {
        before = sent.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // Well before a PING that the reader does not answer would end its connection.
    let soon = Duration::from_secs(10);
    for _ in 0..10 {
        let small = async {
            text(call(client.addresses.outbound, request("GET", "/small", "")).await).await
        };
        assert_eq!(tokio::time::timeout(soon, small).await.unwrap(), "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_may_be_quiet() {
    let finish = Arc::new(Notify::new());
    let app = {
        let finish = Arc::clone(&finish);
        app::tcp(move |stream| {
            let finish = Arc::clone(&finish);
            async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let finish = Arc::clone(&finish);
                    async move {
                        if request.uri().path() != "/quiet" {
                            std::future::pending::<()>().await;
                        }
                        finish.notified().await;
                        Ok::<_, Infallible>(Response::new(app::full("done")))
                    }
                });
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        })
        .await
    };
    let times = json!({
        "bodyTimeout": "50ms", "answerTimeout": "50ms", "sendTimeout": "50ms", "idleTimeout": "50ms",
    });
    let (client, _server) = pair(app, "grpc", times).await;
    let stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let (mut send, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(driver);
    let open = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let call = Request::post(format!("http://{HOST}/quiet"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(open)
        .unwrap();
    let quiet = tokio::spawn(send.send_request(call));
    // Each of these takes as long as a silent app may; the call outlasts them.
    for _ in 0..5 {
        assert_eq!(get(client.addresses.outbound).await.status(), 504);
    }
    finish.notify_one();
    let response = within("the answer", quiet).await.unwrap().unwrap();
    let body = within("its body", response.into_body().collect()).await;
    assert_eq!(body.unwrap().to_bytes(), "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_hold_up_nobody() {
    let (client, _server) = pair(
        app::constant(200, "ok").await,
        "http",
        json!({ "headTimeout": "500ms" }),
    )
    .await;
    let mut slow = Vec::new();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        slow.push(stream);
    }
    for _ in 0..20 {
        let ok = tokio::time::timeout(Duration::from_secs(5), get(client.addresses.outbound));
        assert_eq!(ok.await.unwrap().status(), 200);
    }
    let mut rest = Vec::new();
    for mut stream in slow {
        let _ = within("each slow one's end", stream.read_to_end(&mut rest)).await;
    }
}
