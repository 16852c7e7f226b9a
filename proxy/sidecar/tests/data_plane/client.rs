//! Clients of a sidecar's outbound proxy.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::within;

pub(crate) const HOST: &str = "checkout.shop.svc.clusterset.local";

pub(crate) async fn connect<B>(proxy: SocketAddr) -> SendRequest<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    let stream = TcpStream::connect(proxy).await.unwrap();
    let (send, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(driver);
    send
}

pub(crate) fn request(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", HOST)
        .body(Full::from(body))
        .unwrap()
}

/// One request on a connection of its own.
pub(crate) async fn call(proxy: SocketAddr, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let mut send = connect(proxy).await;
    within("an answer", send.send_request(request))
        .await
        .unwrap()
}

pub(crate) async fn get(proxy: SocketAddr) -> Response<Incoming> {
    call(proxy, request("GET", "/", "")).await
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let bytes = within("a body", response.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn header<'a>(response: &'a Response<Incoming>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Sends bytes, reads until the proxy closes.
pub(crate) async fn raw(proxy: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    within("the proxy's close", stream.read_to_end(&mut answer))
        .await
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A tunnel to the app's port, by CONNECT.
pub(crate) async fn tunnel(proxy: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let connect = format!("CONNECT {HOST}:80 HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    stream.write_all(connect.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    stream
}

/// Reads a head, to its empty line.
pub(crate) async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The first field of a head with that name.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    head.lines().find_map(named)
}
