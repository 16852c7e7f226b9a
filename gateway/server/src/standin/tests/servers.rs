//! Servers without a sidecar.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server of this test, until stopped or dropped.
pub(super) struct Server {
    pub(super) at: SocketAddr,
    task: JoinHandle<()>,
}

/// Echoes, and once the client has ended its side says how much that was.
pub(super) async fn tcp_server() -> Server {
    Server::at("127.0.0.1:0".parse().unwrap()).await
}

/// Answers each connection's first request with that request.
pub(super) async fn http_server() -> Server {
    Server::start("127.0.0.1:0".parse().unwrap(), mirror).await
}

impl Server {
    pub(super) async fn at(at: SocketAddr) -> Self {
        Self::start(at, echo).await
    }

    /// Gone, with its port.
    pub(super) async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    async fn start<F>(at: SocketAddr, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp));
            }
        });
        Self { at, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut tcp: TcpStream) -> std::io::Result<()> {
    let (mut read, mut write) = tcp.split();
    let count = tokio::io::copy(&mut read, &mut write).await?;
    let farewell = format!(", {count} bytes");
    write.write_all(farewell.as_bytes()).await?;
    write.shutdown().await
}

async fn mirror(mut tcp: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if tcp.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let length = request.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    tcp.write_all(head.as_bytes()).await?;
    tcp.write_all(&request).await?;
    tcp.shutdown().await
}
