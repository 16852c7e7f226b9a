//! Opaque connections: bytes, ends and resets pass as they are.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::app;
use crate::client::HOST;
use crate::world::{Side, World, closed_port, local, within};

async fn pair(app: SocketAddr) -> (Side, Side) {
    let world = World::new();
    let server = world.server(app, "tcp");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    (client, server)
}

pub(crate) fn reset(stream: TcpStream) {
    let socket = stream.into_std().unwrap();
    let socket = socket2::Socket::from(socket);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_connection_still_answers() {
    let app = app::tcp(|mut stream| async move {
        let mut question = String::new();
        stream.read_to_string(&mut question).await.unwrap();
        let answer = format!("you said {question}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let (client, _server) = pair(app).await;
    let mut stream = TcpStream::connect(client.addresses.upstreams[0])
        .await
        .unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert_eq!(answer, "you said hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_ends_first_still_listens() {
    let (heard, listen) = oneshot::channel();
    let heard = std::sync::Mutex::new(Some(heard));
    let app = app::tcp(move |mut stream| {
        let heard = heard.lock().unwrap().take().unwrap();
        async move {
            stream.write_all(b"bye").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            heard.send(rest).unwrap();
        }
    })
    .await;
    let (client, _server) = pair(app).await;
    let mut stream = TcpStream::connect(client.addresses.upstreams[0])
        .await
        .unwrap();
    let mut bye = String::new();
    within("the app's end", stream.read_to_string(&mut bye))
        .await
        .unwrap();
    assert_eq!(bye, "bye");
    stream.write_all(b"one more thing").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(within("the rest", listen).await.unwrap(), "one more thing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_by_the_app_is_a_reset_for_the_client() {
    let app = app::tcp(|mut stream| async move {
        stream.read_u8().await.unwrap();
        reset(stream);
    })
    .await;
    let (client, _server) = pair(app).await;
    let mut stream = TcpStream::connect(client.addresses.upstreams[0])
        .await
        .unwrap();
    stream.write_all(b"x").await.unwrap();
    let error = within("the reset", stream.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_by_the_client_is_a_reset_for_the_app() {
    let (seen, see) = oneshot::channel();
    let seen = std::sync::Mutex::new(Some(seen));
    let app = app::tcp(move |mut stream| {
        let seen = seen.lock().unwrap().take().unwrap();
        async move {
            stream.write_all(b"y").await.unwrap();
            seen.send(stream.read_u8().await.unwrap_err().kind())
                .unwrap();
        }
    })
    .await;
    let (client, _server) = pair(app).await;
    let mut stream = TcpStream::connect(client.addresses.upstreams[0])
        .await
        .unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'y');
    reset(stream);
    assert_eq!(
        within("the reset", see).await.unwrap(),
        ErrorKind::ConnectionReset
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_opens_a_tunnel_once_the_app_accepted() {
    let app = app::tcp(|mut stream| async move {
        let mut buffer = [0; 4];
        stream.read_exact(&mut buffer).await.unwrap();
        buffer.reverse();
        stream.write_all(&buffer).await.unwrap();
    })
    .await;
    let (client, _server) = pair(app).await;
    let connect = format!("CONNECT {HOST}:80 HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let mut stream = TcpStream::connect(client.addresses.outbound).await.unwrap();
    // The client may send before it has read the answer to CONNECT.
    stream
        .write_all(format!("{connect}ping").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    within("the echo", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\ngnip"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_to_an_app_that_is_down_is_refused() {
    refused_if_down("http").await;
    refused_if_down("http2").await;
    let client = refused_if_down("tcp").await;
    // The reset may come before the connection has been seen to stand.
    let error = match TcpStream::connect(client.addresses.upstreams[0]).await {
        Ok(mut stream) => within("the reset", stream.read_u8()).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

async fn refused_if_down(protocol: &str) -> Side {
    let world = World::new();
    let server = world.server(closed_port(), protocol);
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let connect =
        format!("CONNECT {HOST}:80 HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    let answer = crate::client::raw(client.addresses.outbound, connect.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("x-weft-reason: connect_failed"), "{answer}");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_the_app() {
    let sent = Arc::new(AtomicUsize::new(0));
    let (stalled, stall) = oneshot::channel();
    let stalled = std::sync::Mutex::new(Some(stalled));
    let app = {
        let sent = Arc::clone(&sent);
        app::tcp(move |mut stream| {
            let (sent, stalled) = (Arc::clone(&sent), stalled.lock().unwrap().take().unwrap());
            async move {
                let block = vec![7; 64 << 10];
                // A write that waits this long waits for a reader.
                while let Ok(Ok(n)) =
                    tokio::time::timeout(Duration::from_secs(1), stream.write(&block)).await
                {
                    sent.fetch_add(n, Ordering::SeqCst);
                }
                stalled.send(stream).unwrap();
            }
        })
        .await
    };
    let (client, _server) = pair(app).await;
    let mut stream = TcpStream::connect(client.addresses.upstreams[0])
        .await
        .unwrap();
    let app_stream = within("the stall", stall).await.unwrap();
    let before = sent.load(Ordering::SeqCst);
    assert!(before < 64 << 20, "{before} bytes buffered on the way");
    drop(app_stream);
    let mut rest = Vec::new();
    within("all that was sent", stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest.len(), before);
}
