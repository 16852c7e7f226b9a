//! Other protocols over HTTP: upgrades, extended CONNECT, CONNECT over HTTP/2.

use std::io::ErrorKind;
use std::net::SocketAddr;

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::BASE64;
use http::{Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::app;
use crate::client::{HOST, field, head, raw, tunnel};
use crate::tcp::reset;
use crate::world::{Side, World, local, within};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn proof(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

/// Grants every upgrade, says the head it got (its length first), then echoes.
async fn echoing() -> SocketAddr {
    app::tcp(|stream| async move {
        let mut stream = BufReader::new(stream);
        let head = head(&mut stream).await;
        let protocol = field(&head, "upgrade").unwrap();
        let accept = field(&head, "sec-websocket-key")
            .map(|key| format!("sec-websocket-accept: {}\r\n", proof(key)))
            .unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n{accept}sec-websocket-protocol: chat\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_u16(head.len() as u16).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await
}

async fn pair(app: SocketAddr) -> (Side, Side) {
    let world = World::new();
    let server = world.server(app, "http");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    (client, server)
}

fn asking(method: &str, protocol: &str, more: &str) -> String {
    format!(
        "{method} /chat HTTP/1.1\r\nhost: {HOST}\r\nconnection: keep-alive, Upgrade\r\nupgrade: {protocol}\r\n{more}\r\n"
    )
}

fn websocket() -> String {
    let more = format!("sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n");
    asking("GET", "websocket", &more)
}

/// Reads what the app saw, then has it echo until the client ends.
async fn converse(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> String {
    let length = within("the app's words", stream.read_u16()).await.unwrap();
    let mut saw = vec![0; usize::from(length)];
    within("what the app saw", stream.read_exact(&mut saw))
        .await
        .unwrap();
    for _ in 0..3 {
        let words = vec![0x81; 70_000];
        stream.write_all(&words).await.unwrap();
        let mut back = vec![0; words.len()];
        within("the echo", stream.read_exact(&mut back))
            .await
            .unwrap();
        assert_eq!(back, words);
    }
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within("the app's end", stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.is_empty());
    String::from_utf8(saw).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_opens_echoes_and_closes() {
    let (client, server) = pair(echoing().await).await;
    let stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    chat(stream, &client, &server).await;
}

/// As Python's `websockets` asks a proxy.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_opens_through_a_tunnel() {
    let (client, server) = pair(echoing().await).await;
    let stream = tunnel(client.addresses.outbound).await;
    chat(stream, &client, &server).await;
}

async fn chat(mut stream: TcpStream, client: &Side, server: &Side) {
    stream.write_all(websocket().as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(field(&answer, "upgrade"), Some("websocket"), "{answer}");
    assert_eq!(field(&answer, "sec-websocket-protocol"), Some("chat"));
    // The proof is for this client's nonce; the app had a nonce of its own.
    assert_eq!(
        field(&answer, "sec-websocket-accept"),
        Some(&*proof(KEY)),
        "{answer}"
    );
    let saw = converse(&mut stream).await;
    assert!(saw.starts_with("GET /chat HTTP/1.1\r\n"), "{saw}");
    assert_eq!(field(&saw, "host"), Some(HOST));
    assert_eq!(field(&saw, "sec-websocket-version"), Some("13"));
    assert_ne!(field(&saw, "sec-websocket-key"), Some(KEY));
    assert_eq!(
        field(&saw, "x-forwarded-client-cert"),
        Some(&*format!("By={};URI={}", server.id, client.id))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_protocol_and_method_may_be_asked_for() {
    let (client, _server) = pair(echoing().await).await;
    let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    let ask = asking("POST", "SPDY/3.1", "content-length: 0\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(field(&answer, "upgrade"), Some("SPDY/3.1"));
    let saw = converse(&mut stream).await;
    assert!(saw.starts_with("POST /chat HTTP/1.1\r\n"), "{saw}");
    assert_eq!(field(&saw, "weft-method"), None);
}

/// What a client sees after `answer` of the app to a websocket's handshake; it asks
/// once more on the same connection, which must still be HTTP.
async fn refused_by(answer: &'static str) -> String {
    let app = app::tcp(move |mut stream| async move {
        let saw = head(&mut stream).await;
        let answer = if saw.contains("upgrade") {
            answer
        } else {
            "HTTP/1.1 204 No Content\r\n\r\n"
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let (client, _server) = pair(app).await;
    let again = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    let all = raw(
        client.addresses.outbound,
        format!("{}{again}", websocket()).as_bytes(),
    )
    .await;
    let second = all.rfind("HTTP/1.1").unwrap();
    assert!(all[second..].starts_with("HTTP/1.1 204 "), "{all}");
    all[..second].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_does_not_upgrade_answers_as_it_likes() {
    let ok = refused_by("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    assert!(ok.starts_with("HTTP/1.1 200 "), "{ok}");
    assert!(ok.ends_with("\r\n\r\nhello"), "{ok}");
    assert!(!ok.contains("weft-status"), "{ok}");
    let no = refused_by("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    assert!(no.starts_with("HTTP/1.1 403 "), "{no}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_grants_something_else_is_not_believed() {
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: AAAA\r\n\r\n";
    let answer = refused_by(wrong).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_protocol_that_nobody_asked_for_is_a_bad_answer() {
    let app = app::tcp(|mut stream| async move {
        head(&mut stream).await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let (client, _server) = pair(app).await;
    let ask = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    let answer = raw(client.addresses.outbound, ask.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_an_upgrade_are_no_http() {
    let (client, _server) = pair(echoing().await).await;
    let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    stream.write_all(websocket().as_bytes()).await.unwrap();
    head(&mut stream).await;
    let length = stream.read_u16().await.unwrap();
    let mut saw = vec![0; usize::from(length)];
    stream.read_exact(&mut saw).await.unwrap();
    let odd = b"GET / HTTP/1.1\ncontent-length: +1\n\n\0";
    stream.write_all(odd).await.unwrap();
    let mut back = [0; 36];
    within("the echo", stream.read_exact(&mut back))
        .await
        .unwrap();
    assert_eq!(&back, odd);
}

/// Opens a websocket to an app that cuts it, and then another which the client cuts.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_a_cut_on_the_other_side_of_a_websocket() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let app = app::tcp(move |mut stream| {
        let tell = tell.clone();
        async move {
            let asked = head(&mut stream).await;
            let accept = proof(field(&asked, "sec-websocket-key").unwrap());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            if stream.read_u8().await.unwrap() == b'c' {
                return reset(stream);
            }
            stream.write_all(b"g").await.unwrap();
            let read = stream.read_u8().await;
            tell.send(read.map_err(|error| error.kind())).unwrap();
        }
    })
    .await;
    let (client, _server) = pair(app).await;
    let open = async || {
        let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
        stream.write_all(websocket().as_bytes()).await.unwrap();
        head(&mut stream).await;
        stream
    };
    let mut stream = open().await;
    stream.write_all(b"c").await.unwrap();
    let read = within("the cut", stream.read_u8()).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut stream = open().await;
    stream.write_all(b"g").await.unwrap();
    within("a sign that it arrived", stream.read_u8())
        .await
        .unwrap();
    reset(stream);
    let read = within("the app's word", told.recv()).await.unwrap();
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

async fn http2(proxy: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(proxy).await.unwrap();
    let (send, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(driver);
    send
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_client_opens_a_websocket_by_extended_connect() {
    let (client, _server) = pair(echoing().await).await;
    let mut send = http2(client.addresses.outbound).await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{HOST}/chat"))
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(Empty::new())
        .unwrap();
    let response = within("an answer", send.send_request(request))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let stream = hyper::upgrade::on(response).await.unwrap();
    let saw = converse(&mut TokioIo::new(stream)).await;
    assert!(saw.starts_with("GET /chat HTTP/1.1\r\n"), "{saw}");
    assert!(field(&saw, "sec-websocket-key").is_some(), "{saw}");
}

/// After such a change requests would pass unread.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_to_http_itself() {
    let (client, _server) = pair(echoing().await).await;
    for protocol in ["h2c", "TLS/1.0", "websocket, h2c"] {
        let mut send = http2(client.addresses.outbound).await;
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://{HOST}/chat"))
            .extension(Protocol::from_static(protocol))
            .body(Empty::new())
            .unwrap();
        let response = within("an answer", send.send_request(request))
            .await
            .unwrap();
        assert_eq!(response.status(), 501, "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_over_http2_opens_a_tunnel() {
    let world = World::new();
    let app = app::tcp(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let server = world.server(app, "tcp");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let mut send = http2(client.addresses.outbound).await;
    let connect = |to: &str| {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = to.parse().unwrap();
        request
    };
    let response = send
        .send_request(connect(&format!("{HOST}:80")))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    within("the echo", stream.read_exact(&mut echo))
        .await
        .unwrap();
    assert_eq!(&echo, b"ping");
    stream.shutdown().await.unwrap();
    assert_eq!(within("the end", stream.read(&mut echo)).await.unwrap(), 0);
    let refused = send.send_request(connect("basket.shop:80")).await.unwrap();
    assert_eq!(refused.status(), 404);
}
