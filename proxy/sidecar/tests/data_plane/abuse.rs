//! Clients that make HTTP/2 work for nothing are cut off; memory stays; others notice nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app;
use crate::client::{HOST, get};
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, field, frame, request,
};
use crate::world::{Side, World, local, within};

/// What an attack may cost beside what was there before.
const MEMORY_MAX: u64 = 64 << 20;
/// How long an attack may go on, on a machine that is busy with other tests.
const LASTS_MAX: Duration = Duration::from_secs(10);
/// Where a flood has shown that nothing stops it.
const FLOOD_MAX: u64 = 256 << 20;

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

async fn world() -> (Side, Side) {
    let world = World::new();
    let server = world.server(app::constant(200, "ok").await, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    assert_eq!(get(client.addresses.outbound).await.status(), 200);
    (client, server)
}

/// Sends rounds until the proxy ends the connection; answers are read, as an
/// attacker would who wants to go on.
async fn flood(client: &Side, open: Vec<u8>, mut round: impl FnMut(u32) -> Vec<u8>) {
    let (before, start) = (resident(), Instant::now());
    let attacker = Http2::open(client.addresses.outbound, &[]).await;
    let (mut read, mut write) = attacker.0.into_split();
    let reading =
        tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
    let sent = Arc::new(AtomicU64::new(0));
    let writing = async {
        let _ = write.write_all(&open).await;
        for n in 0.. {
            let bytes = round(n);
            let sent = sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if sent > FLOOD_MAX || write.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let innocent = async {
        for _ in 0..5 {
            assert_eq!(get(client.addresses.outbound).await.status(), 200);
        }
    };
    within("the connection's end", async {
        tokio::join!(writing, innocent)
    })
    .await;
    let (sent, lasted) = (sent.load(Ordering::Relaxed), start.elapsed());
    assert!(lasted < LASTS_MAX, "{lasted:?}");
    assert!(sent < FLOOD_MAX, "{sent} bytes, and it went on");
    let _ = within("the reader's end", reading).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < MEMORY_MAX, "{grown} bytes more");
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_reset_is_cut_off() {
    let (client, _server) = world().await;
    flood(&client, vec![], |n| {
        let stream = 2 * n + 1;
        let head = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &request("GET", "/"),
        );
        [head, frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_that_the_proxy_is_made_to_send_are_counted_too() {
    let (client, _server) = world().await;
    // A window update of nothing is an error of its stream.
    flood(&client, vec![], |n| {
        let stream = 2 * n + 1;
        let head = frame(HEADERS, END_HEADERS, stream, &request("POST", "/"));
        [head, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_pings_settings_and_priorities_are_cut_off() {
    let (client, _server) = world().await;
    flood(&client, vec![], |n| {
        frame(PING, 0, 0, &u64::from(n).to_be_bytes())
    })
    .await;
    flood(&client, vec![], |_| {
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])
    })
    .await;
    flood(&client, vec![], |n| {
        frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 9])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_empty_data_is_cut_off() {
    let (client, _server) = world().await;
    let open = frame(HEADERS, END_HEADERS, 1, &request("POST", "/"));
    flood(&client, open, |_| frame(DATA, 0, 1, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_cut_off() {
    let (client, _server) = world().await;
    let open = frame(HEADERS, 0, 1, &request("GET", "/"));
    let crumb = field("cookie", "a=1").repeat(100);
    flood(&client, open.clone(), |_| frame(CONTINUATION, 0, 1, &crumb)).await;
    flood(&client, open, |_| frame(CONTINUATION, 0, 1, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_in_time_is_cut_off() {
    let world = World::new();
    let client = world.client_waiting(json!({ "headTimeout": "100ms" }));
    let mut attacker = Http2::open(client.addresses.outbound, &[]).await;
    attacker
        .send(&frame(HEADERS, 0, 1, &request("GET", "/")))
        .await;
    while attacker.next().await.is_some() {}
    // Nor does a preface that stops half way.
    let mut silent = TcpStream::connect(client.addresses.outbound).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = within("the end", silent.read_to_end(&mut rest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_crumbs_behind_a_closed_window_cost_little() {
    const INITIAL_WINDOW: u16 = 4;
    let (client, _server) = world().await;
    let before = resident();
    let mut attacker = Http2::open(client.addresses.outbound, &[(INITIAL_WINDOW, 0)]).await;
    // The first request puts `cookie: a` into the dynamic table; from then on it costs a byte.
    let mut indexed = vec![0x60, 1, b'a'];
    let (mut sent, mut refused) = (0, 0);
    for n in 0..100 {
        let mut block = request("GET", "/");
        block.append(&mut indexed);
        block.extend([0xbe; 1600]);
        let frame = frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block);
        sent += frame.len();
        attacker.send(&frame).await;
    }
    while refused < 100 {
        let head = attacker.until(HEADERS).await.expect("an answer to each");
        assert_eq!(head.stream % 2, 1);
        refused += 1;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < MEMORY_MAX, "{grown} bytes more for {sent} sent");
    assert_eq!(get(client.addresses.outbound).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_hundred_fields_are_431_in_http2_too() {
    let (client, _server) = world().await;
    let mut connection = hyper_http2(&client).await;
    for (crumbs, status) in [(100, 200), (200, 431)] {
        let mut request = http::Request::new(http_body_util::Empty::<bytes::Bytes>::new());
        *request.uri_mut() = format!("http://{HOST}/").parse().unwrap();
        for _ in 0..crumbs {
            request
                .headers_mut()
                .append("cookie", "a=1".parse().unwrap());
        }
        let response = within("an answer", connection.send_request(request)).await;
        assert_eq!(response.unwrap().status(), status, "{crumbs} crumbs");
    }
}

async fn hyper_http2(
    client: &Side,
) -> hyper::client::conn::http2::SendRequest<http_body_util::Empty<bytes::Bytes>> {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let (send, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(driver);
    send
}
