//! Interim answers (RFC 9110 §15.2) between clients and apps of either version of HTTP,
//! over the inner hop.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app;
use crate::client::{HOST, field, head, raw};
use crate::world::{Side, World, local, within};

/// What an app says before its answer: a status, and what `link` says with it.
const EARLY: [(u16, &str); 3] = [(103, "</a>"), (102, ""), (103, "</b>")];

/// What a client heard.
struct Heard {
    early: Vec<(u16, HeaderMap)>,
    status: u16,
    body: String,
    trailers: HeaderMap,
}

impl Heard {
    /// Statuses and links, as [`EARLY`] has them.
    fn early(&self) -> Vec<(u16, &str)> {
        let links = self.early.iter().map(|(status, fields)| {
            let link = fields.get("link").map_or("", |link| link.to_str().unwrap());
            (*status, link)
        });
        links.collect()
    }
}

/// An HTTP/1.1 app that says `early` and then `answer`, all at once, to every request.
async fn http1_app(early: String, answer: &'static str) -> SocketAddr {
    app::tcp(move |mut stream| {
        let words = format!("{early}{answer}");
        async move {
            let mut first = [0];
            while matches!(stream.read(&mut first).await, Ok(1)) {
                head(&mut stream).await;
                if stream.write_all(words.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

fn as_http1(early: &[(u16, &str)]) -> String {
    let one = |(status, link): &(u16, &str)| match *link {
        "" => format!("HTTP/1.1 {status} x\r\n\r\n"),
        link => format!(
            "HTTP/1.1 {status} x\r\nlink: {link}\r\nconnection: x-hop\r\nx-hop: 1\r\nx-weft-reason: forged\r\n\r\n"
        ),
    };
    early.iter().map(one).collect()
}

/// The same in HTTP/2, where the answer has trailers.
async fn http2_app(
    early: impl Fn() -> Vec<(u16, &'static str)> + Clone + Send + 'static,
) -> SocketAddr {
    app::tcp(move |stream| {
        let early = early.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                for (status, link) in early() {
                    let mut answer = Response::builder().status(status);
                    if !link.is_empty() {
                        answer = answer
                            .header("link", link)
                            .header("x-weft-reason", "forged");
                    }
                    let _ = respond.send_informational(answer.body(()).unwrap());
                }
                let Ok(mut stream) = respond.send_response(Response::new(()), false) else {
                    continue;
                };
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                let _ = stream.send_data(Bytes::from_static(b"ok"), false);
                let _ = stream.send_trailers(trailers);
            }
        }
    })
    .await
}

async fn before(app: SocketAddr, protocol: &str) -> (Side, Side) {
    let world = World::new();
    let server = world.server(app, protocol);
    let client = world.client();
    client.sees([local(server.endpoint())]);
    (client, server)
}

async fn ask_http1(proxy: SocketAddr) -> Heard {
    let ask = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    heard(&raw(proxy, ask.as_bytes()).await).remove(0)
}

/// Answers of an HTTP/1.1 connection, in order.
fn heard(mut bytes: &str) -> Vec<Heard> {
    let mut all = Vec::new();
    let mut early = Vec::new();
    while let Some((head, rest)) = bytes.split_once("\r\n\r\n") {
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let status: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(line.starts_with("HTTP/1.1 "), "{line:?} in {bytes:?}");
        let fields: HeaderMap = fields
            .lines()
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| {
                (
                    name.parse::<http::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect();
        bytes = rest;
        if status < 200 {
            early.push((status, fields));
            continue;
        }
        let length = fields.get("content-length");
        let length = length.map_or(bytes.len(), |n| n.to_str().unwrap().parse().unwrap());
        let (body, rest) = bytes.split_at(length);
        bytes = rest;
        all.push(Heard {
            early: std::mem::take(&mut early),
            status,
            body: body.to_owned(),
            trailers: HeaderMap::new(),
        });
    }
    all
}

async fn ask_http2(proxy: SocketAddr) -> Heard {
    let stream = TcpStream::connect(proxy).await.unwrap();
    let (mut send, driver) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(driver);
    let request = Request::get(format!("http://{HOST}/")).body(()).unwrap();
    let (mut answer, _) = send.send_request(request, true).unwrap();
    let mut early = Vec::new();
    loop {
        let next = within("an answer", poll_fn(|cx| answer.poll_informational(cx))).await;
        let Some(Ok(answer)) = next else { break };
        early.push((answer.status().as_u16(), answer.headers().clone()));
    }
    let answer = within("an answer", answer).await.unwrap();
    let status = answer.status().as_u16();
    let mut received = answer.into_body();
    let mut body = Vec::new();
    while let Some(piece) = within("a piece", received.data()).await {
        body.extend(piece.unwrap());
    }
    let trailers = within("the trailers", received.trailers()).await.unwrap();
    Heard {
        early,
        status,
        body: String::from_utf8(body).unwrap(),
        trailers: trailers.unwrap_or_default(),
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn check(what: &str, heard: &Heard) {
    assert_eq!((heard.status, &*heard.body), (200, "ok"), "{what}");
    assert_eq!(heard.early(), EARLY, "{what}");
    for (_, fields) in &heard.early {
        for gone in ["connection", "x-hop", "x-weft-reason"] {
            assert!(!fields.contains_key(gone), "{what}: {fields:?}");
        }
        // RFC 9110 §7.6.3: in every message forwarded, once.
        assert_eq!(fields.get_all("via").iter().count(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_app_and_either_client() {
    let app = http1_app(as_http1(&EARLY), OK).await;
    let (client, _server) = before(app, "http").await;
    let proxy = client.addresses.outbound;
    check("HTTP/1.1 to HTTP/1.1", &ask_http1(proxy).await);
    check("HTTP/2 to HTTP/1.1", &ask_http2(proxy).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_app_and_either_client() {
    let (client, _server) = before(http2_app(|| EARLY.to_vec()).await, "grpc").await;
    let proxy = client.addresses.outbound;
    let ask =
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nte: trailers\r\nconnection: close, te\r\n\r\n");
    let said = raw(proxy, ask.as_bytes()).await;
    let statuses: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 "))
        .map(|line| &line[..3])
        .collect();
    assert_eq!(statuses, ["103", "102", "103", "200"], "{said}");
    assert!(said.contains("\r\n2\r\nok\r\n0\r\n"), "{said}");
    let heard = ask_http2(proxy).await;
    check("HTTP/2 to HTTP/2", &heard);
    assert_eq!(heard.trailers["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_none() {
    let app = http1_app(as_http1(&EARLY), OK).await;
    let (client, _server) = before(app, "http").await;
    let ask = format!("GET / HTTP/1.0\r\nhost: {HOST}\r\n\r\n");
    let said = raw(client.addresses.outbound, ask.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.0 200 "), "{said}");
    assert!(
        said.ends_with("\r\n\r\nok") && !said.contains("</a>"),
        "{said}"
    );
}

/// They are written beside hyper, which must have nothing of its own to write by then: long
/// answers that the client is slow to read leave something whenever it has.
#[tokio::test(flavor = "multi_thread")]
async fn each_stands_before_its_own_answer_among_pipelined_ones() {
    let body = "x".repeat(3 << 20);
    let long = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let app = http1_app(as_http1(&EARLY), Box::leak(long.into_boxed_str())).await;
    let (client, _server) = before(app, "http").await;
    let ask = |more: &str| format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{more}\r\n");
    let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let all = format!("{}{}", ask("").repeat(4), ask("connection: close\r\n"));
    stream.write_all(all.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let mut piece = vec![0; 4000];
    loop {
        match within("a piece", stream.read(&mut piece)).await.unwrap() {
            0 => break,
            count => said.extend_from_slice(&piece[..count]),
        }
    }
    let heard = heard(std::str::from_utf8(&said).unwrap());
    assert_eq!(heard.len(), 5);
    for heard in heard {
        assert_eq!(heard.early(), EARLY);
        assert!(heard.body == body, "an answer of {}", heard.body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_ones_end_with_502() {
    let endless = as_http1(&[(103, "</a>")]).repeat(1000);
    let http1 = before(http1_app(endless, OK).await, "http").await;
    let http2 = before(http2_app(|| vec![(103, "</a>"); 1000]).await, "http2").await;
    for (client, _) in [&http1, &http2] {
        for heard in [
            ask_http1(client.addresses.outbound).await,
            ask_http2(client.addresses.outbound).await,
        ] {
            assert_eq!(heard.status, 502);
            assert!(heard.early.len() <= 64, "{}", heard.early.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_may_come_before_a_change_of_protocol() {
    let app = app::tcp(|mut stream| async move {
        head(&mut stream).await;
        let early = as_http1(&EARLY);
        let answer = format!(
            "{early}HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x/1\r\n\r\nhello"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let (client, _server) = before(app, "http").await;
    let ask =
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: x/1\r\n\r\n");
    let said = raw(client.addresses.outbound, ask.as_bytes()).await;
    assert_eq!(said.matches("HTTP/1.1 103 ").count(), 2, "{said}");
    let last = &said[said.rfind("HTTP/1.1").unwrap()..];
    assert!(last.starts_with("HTTP/1.1 101 "), "{said}");
    assert_eq!(field(last, "upgrade"), Some("x/1"), "{said}");
    assert!(last.ends_with("\r\n\r\nhello"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_sent_on_before_the_answer_is_there() {
    let app = app::tcp(|mut stream| async move {
        head(&mut stream).await;
        stream.write_all(as_http1(&EARLY).as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let (client, _server) = before(app, "http").await;
    let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let ask = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    for (status, _) in EARLY {
        let early = head(&mut stream).await;
        assert!(early.starts_with(&format!("HTTP/1.1 {status} ")), "{early}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_client_that_waits_for_100_gets_it() {
    let app = app::echo().await;
    let (client, _server) = before(app, "http").await;
    let stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let (mut send, driver) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(driver);
    let request = Request::post(format!("http://{HOST}/")).header("expect", "100-continue");
    let request = request.body(()).unwrap();
    let (mut answer, mut body) = send.send_request(request, false).unwrap();
    let proceed = within("100", poll_fn(|cx| answer.poll_informational(cx))).await;
    assert_eq!(proceed.unwrap().unwrap().status(), 100);
    body.send_data(Bytes::from_static(b"words"), true).unwrap();
    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("x-saw-expect"));
}
