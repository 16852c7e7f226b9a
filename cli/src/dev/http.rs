//! The two things `weft dev` asks by HTTP: whether a process is ready, and the sample shop.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The most that is read of an answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// Time between two looks at a process that is not ready.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// How long one look may take.
const LOOK_WAIT: Duration = Duration::from_secs(2);

/// One GET, answered whole.
pub(super) async fn get(address: SocketAddr, path: &str) -> io::Result<StatusCode> {
    fetch(address, path).await.map(|(status, _)| status)
}

/// What a process says of itself.
pub(super) async fn metrics(address: SocketAddr) -> io::Result<String> {
    let asked = tokio::time::timeout(LOOK_WAIT, fetch(address, "/metrics")).await;
    let (status, body) = asked.map_err(io::Error::other)??;
    if !status.is_success() {
        return Err(io::Error::other(format!("/metrics gave {status}")));
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

async fn fetch(address: SocketAddr, path: &str) -> io::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let exchange = async {
        let request = Request::get(path)
            .header(header::HOST, address.to_string())
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(io::Error::other)?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        driven = connection => {
            driven.map_err(io::Error::other)?;
            exchange.await
        }
    }
}

/// Asks until the answer is a success. Never returns otherwise: bound it.
pub(super) async fn until_success(address: SocketAddr, path: &str) {
    loop {
        if let Ok(Ok(status)) = tokio::time::timeout(LOOK_WAIT, get(address, path)).await
            && status.is_success()
        {
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
