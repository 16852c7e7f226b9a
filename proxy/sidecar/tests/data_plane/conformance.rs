//! What RFC 9110, 9112 and 9113 ask of an intermediary, one test a rule. The page
//! `docs/reference/http-conformance.md` says which test is for which.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app;
use crate::client::{HOST, call, connect, field, head, header, raw, request};
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, field as h2_field, frame,
    request as block,
};
use crate::world::{Side, World, local, within};

/// Bytes of requests' heads as the app got them.
type Seen = Arc<Mutex<Vec<String>>>;

/// An app that answers every request with `answer` and closes if `answer` says so.
async fn answering(answer: &'static str) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let record = Arc::clone(&seen);
    let app = app::tcp(move |mut stream| {
        let record = Arc::clone(&record);
        async move {
            loop {
                let mut first = [0];
                if !matches!(stream.read(&mut first).await, Ok(1)) {
                    return;
                }
                let head = char::from(first[0]).to_string() + &head(&mut stream).await;
                let length = field(&head, "content-length").map_or(0, |n| n.parse().unwrap());
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                record.lock().unwrap().push(head);
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains("connection: close") {
                    return;
                }
            }
        }
    })
    .await;
    (app, seen)
}

struct Pair {
    client: Side,
    _server: Side,
    seen: Seen,
}

async fn pair(answer: &'static str) -> Pair {
    let (app, seen) = answering(answer).await;
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    Pair {
        client,
        _server: server,
        seen,
    }
}

impl Pair {
    /// Sends a request with these further fields; the whole answer.
    async fn ask(&self, line: &str, fields: &str, body: &str) -> String {
        let bytes =
            format!("{line} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n{fields}\r\n{body}");
        raw(self.client.addresses.outbound, bytes.as_bytes()).await
    }

    fn saw(&self) -> String {
        self.seen
            .lock()
            .unwrap()
            .last()
            .cloned()
            .unwrap_or_default()
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_connection_lists_go_in_both_directions() {
    let pair = pair("HTTP/1.1 200 OK\r\nconnection: x-app\r\nx-app: 1\r\nkeep-alive: timeout=5\r\nx-kept: 1\r\ncontent-length: 0\r\n\r\n").await;
    let fields = "connection: x-private, te\r\nx-private: 1\r\nte: gzip\r\nkeep-alive: 5\r\nproxy-connection: x\r\nx-kept: 1\r\n";
    let answer = pair.ask("GET /", fields, "").await;
    let saw = pair.saw();
    for gone in [
        "x-private",
        "te",
        "keep-alive",
        "proxy-connection",
        "upgrade",
    ] {
        assert_eq!(field(&saw, gone), None, "{saw}");
    }
    assert_eq!(field(&saw, "x-kept"), Some("1"));
    assert_eq!(field(&answer, "x-app"), None, "{answer}");
    assert_eq!(field(&answer, "keep-alive"), None);
    assert_eq!(field(&answer, "x-kept"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn via_names_us_in_both_directions() {
    let pair = pair(OK).await;
    let answer = pair.ask("GET /", "via: 1.0 before\r\n", "").await;
    let vias: Vec<String> = pair
        .saw()
        .lines()
        .filter_map(|line| line.strip_prefix("via: ").map(str::to_owned))
        .collect();
    assert_eq!(vias, ["1.0 before", "1.1 weft"]);
    assert_eq!(field(&answer, "via"), Some("2.0 weft"));
}

#[tokio::test(flavor = "multi_thread")]
async fn max_forwards_is_counted_and_ends_here_at_zero() {
    let pair = pair(OK).await;
    pair.ask("OPTIONS /", "max-forwards: 3\r\n", "").await;
    assert_eq!(field(&pair.saw(), "max-forwards"), Some("2"));
    pair.ask("GET /", "max-forwards: 3\r\n", "").await;
    assert_eq!(field(&pair.saw(), "max-forwards"), Some("3"));
    let before = pair.seen.lock().unwrap().len();
    let answer = pair.ask("OPTIONS /", "max-forwards: 0\r\n", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && field(&answer, "allow").is_some(),
        "{answer}"
    );
    let secret = "max-forwards: 0\r\ncookie: secret\r\nx-shown: 1\r\n";
    let answer = pair.ask("TRACE /path", secret, "").await;
    assert_eq!(field(&answer, "content-type"), Some("message/http"));
    assert!(
        answer.contains("TRACE /path") && answer.contains("x-shown: 1"),
        "{answer}"
    );
    assert!(!answer.contains("secret"), "{answer}");
    let answer = pair.ask("TRACE /", "max-forwards: soon\r\n", "").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(pair.seen.lock().unwrap().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_pass_as_they_are() {
    let pair = pair(OK).await;
    for target in [
        "/a//b/../%2e%2E/%2f;x=1?q=%00&r",
        "/?",
        "/%c3%a9?a=b?c",
        "*",
    ] {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        pair.ask(&format!("{method} {target}"), "", "").await;
        let expect = format!("{method} {target} HTTP/1.1");
        assert_eq!(pair.saw().lines().next(), Some(&*expect));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_a_users_name_is_refused() {
    let pair = pair(OK).await;
    let answer = pair.ask(&format!("GET http://user@{HOST}/"), "", "").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(pair.saw(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_we_do_not_know_pass() {
    let pair = pair(OK).await;
    let answer = pair
        .ask("FROBNICATE /", "content-length: 2\r\n", "hi")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(pair.saw().starts_with("FROBNICATE / "));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_keeps_the_length_and_has_no_body() {
    let pair = pair("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
    let mut stream = TcpStream::connect(pair.client.addresses.outbound)
        .await
        .unwrap();
    // Twice on one connection: a body that is none would be read as the second answer.
    for _ in 0..2 {
        let ask = format!("HEAD / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(field(&answer, "content-length"), Some("1234"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_content_have_none() {
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 99\r\n\r\n",
    ] {
        let pair = pair(answer).await;
        let got = pair.ask("GET /", "", "").await;
        assert!(got.starts_with(&answer[..12]), "{got}");
        assert!(got.ends_with("\r\n\r\n"), "{got}");
        assert_eq!(field(&got, "transfer-encoding"), None, "{got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_short_does_not_look_complete() {
    for cut in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let pair = pair(cut).await;
        let mut send = connect(pair.client.addresses.outbound).await;
        // The cut may overtake the head.
        if let Ok(response) = within("a head", send.send_request(request("GET", "/", ""))).await {
            assert_eq!(response.status(), 200);
            assert!(
                within("the cut", response.into_body().collect())
                    .await
                    .is_err()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_two_lengths_is_502() {
    let pair = pair("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!").await;
    let answer = pair.ask("GET /", "", "").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_chunked_and_with_a_length_is_502() {
    let pair = pair("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let answer = pair.ask("GET /", "", "").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_added_where_the_app_gave_none_and_kept_where_it_did() {
    let pair1 = pair(OK).await;
    assert!(field(&pair1.ask("GET /", "", "").await, "date").is_some());
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let pair2 =
        pair("HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 0\r\n\r\n")
            .await;
    assert_eq!(field(&pair2.ask("GET /", "", "").await, "date"), Some(date));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_no_chunks() {
    let pair =
        pair("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let ask = format!("GET / HTTP/1.0\r\nhost: {HOST}\r\n\r\n");
    let answer = raw(pair.client.addresses.outbound, ask.as_bytes()).await;
    assert_eq!(field(&answer, "transfer-encoding"), None, "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(field(&pair.saw(), "via"), Some("1.0 weft"));
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_are_not_taken_for_the_answer() {
    let pair = pair("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let answer = pair.ask("GET /", "", "").await;
    assert!(
        answer.contains("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_in_both_directions_over_http_1() {
    let app = app::http(|request| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let body = request.into_body().collect().await.unwrap();
        let came = body.trailers().unwrap()["x-sum"].clone();
        let text = body.to_bytes();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", came);
        trailers.insert("x-forwarded-for", HeaderValue::from_static("evil"));
        let frames = [Frame::data(text), Frame::trailers(trailers)].map(Ok::<_, hyper::Error>);
        let body = BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        Response::builder()
            .header("trailer", "x-sum, x-forwarded-for")
            .body(body)
            .unwrap()
    })
    .await;
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let ask = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close, te\r\nte: gzip;q=0.5, trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"
    );
    let answer = raw(client.addresses.outbound, ask.as_bytes()).await;
    assert!(answer.ends_with("\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_crumbs_are_joined_for_http_1() {
    let pair = pair(OK).await;
    let mut http2 = Http2::open(pair.client.addresses.outbound, &[]).await;
    let crumbs = [
        block("GET", "/"),
        h2_field("cookie", "a=1"),
        h2_field("cookie", "b=2"),
    ]
    .concat();
    http2
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &crumbs))
        .await;
    http2.until(HEADERS).await.expect("an answer");
    assert_eq!(field(&pair.saw(), "cookie"), Some("a=1; b=2"));
}

/// Sends one HTTP/2 request that is malformed; it must be an error of its stream and
/// never reach the app.
async fn malformed(what: &str, pair: &Pair, frames: &[u8]) {
    let mut http2 = Http2::open(pair.client.addresses.outbound, &[]).await;
    http2.send(frames).await;
    while let Some(frame) = http2.next().await {
        // 400 would do as well (RFC 9113 §8.1.1); indexed in the static table it is 0x8c.
        if frame.kind == RST_STREAM || (frame.kind == HEADERS && frame.payload.contains(&0x8c)) {
            break;
        }
        assert_ne!(frame.kind, DATA, "{what} was answered");
    }
    assert_eq!(pair.saw(), "", "{what} reached the app");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_http2_requests_reach_nobody() {
    let pair = pair(OK).await;
    let whole = END_HEADERS | END_STREAM;
    for (name, value) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "5"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("X-Upper", "1"),
        ("x y", "1"),
        ("x-feed", "a\nb"),
        (":late", "1"),
    ] {
        let fields = [block("GET", "/"), h2_field(name, value)].concat();
        malformed(name, &pair, &frame(HEADERS, whole, 1, &fields)).await;
    }
    let no_path = [
        h2_field(":method", "GET"),
        vec![0x86],
        h2_field(":authority", HOST),
    ]
    .concat();
    malformed("no path", &pair, &frame(HEADERS, whole, 1, &no_path)).await;
    let twice = [block("GET", "/"), h2_field(":path", "/b")].concat();
    malformed("two paths", &pair, &frame(HEADERS, whole, 1, &twice)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_length_than_said_is_no_whole_request() {
    let pair = pair(OK).await;
    for said in ["1", "9"] {
        let fields = [block("POST", "/"), h2_field("content-length", said)].concat();
        let mut frames = frame(HEADERS, END_HEADERS, 1, &fields);
        frames.extend(frame(DATA, END_STREAM, 1, b"four"));
        let mut http2 = Http2::open(pair.client.addresses.outbound, &[]).await;
        http2.send(&frames).await;
        let reset = http2.until(RST_STREAM).await;
        assert!(reset.is_some(), "a length of {said} for four bytes");
        assert_eq!(pair.saw(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_authority_wins_over_host() {
    let pair = pair(OK).await;
    let mut http2 = Http2::open(pair.client.addresses.outbound, &[]).await;
    let fields = [block("GET", "/"), h2_field("host", "payments.shop")].concat();
    http2
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields))
        .await;
    http2.until(HEADERS).await.expect("an answer");
    let saw = pair.saw();
    assert_eq!(
        saw.matches("host: ").count() - saw.matches("-host: ").count(),
        1,
        "{saw}"
    );
    assert_eq!(field(&saw, "host"), Some(HOST));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_what_it_said() {
    let pair = pair("HTTP/1.1 404 Nowhere\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-weft-reason: forged\r\ncontent-length: 2\r\n\r\nno").await;
    let response = call(pair.client.addresses.outbound, request("GET", "/", "")).await;
    assert_eq!(response.status(), 404);
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(header(&response, "x-weft-reason"), "");
}
