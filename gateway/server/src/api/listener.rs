//! TCP and TLS of the API, up to the point where tonic takes over.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::Caller;
use crate::sys;

/// A handshake may take this long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way at once; more wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 256;
/// How long one that was refused may take to hang up, and what it may still say until then, in bytes.
const PARTING: Duration = Duration::from_secs(1);
const UNREAD_MAX: u64 = 64 << 10;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The gRPC server ended.
    #[error("the gRPC server ended")]
    Serve(#[source] tonic::transport::Error),
}

/// A bound API port.
pub struct ApiListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl ApiListener {
    /// Binds the port; `[::]` takes both families.
    pub async fn bind(address: SocketAddr) -> Result<Self, ApiError> {
        let bound = TcpListener::bind(sys::any(address)).await;
        let listener = bound.map_err(|source| ApiError::Bind { address, source })?;
        let address = listener.local_addr().unwrap_or(address);
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves `routes` until `stop` completes, then finishes the calls that run.
pub async fn serve<S>(
    listener: ApiListener,
    tls: Arc<ServerConfig>,
    routes: S,
    stop: impl Future<Output = ()>,
) -> Result<(), ApiError>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let (sender, receiver) = mpsc::channel(16);
    let accepting = tokio::spawn(accept(listener.listener, TlsAcceptor::from(tls), sender));
    let served = Server::builder()
        .serve_with_incoming_shutdown(routes, ReceiverStream::new(receiver), stop)
        .await
        .map_err(ApiError::Serve);
    accepting.abort();
    served
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    accepted: mpsc::Sender<io::Result<ApiStream>>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others must end before more can begin.
                tracing::warn!(%error, "cannot accept API connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            let stream = handshake(stream, &acceptor).await;
            drop(permit);
            match stream {
                // The receiver is gone only when the server has stopped.
                Ok(stream) => drop(accepted.send(Ok(stream)).await),
                Err(error) => tracing::info!(%peer, %error, "an API handshake was refused"),
            }
        });
    }
}

async fn handshake(stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<ApiStream> {
    stream.set_nodelay(true)?;
    let accepting = acceptor.accept(stream).into_fallible();
    let stream = match timeout(HANDSHAKE, accepting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, stream))) => {
            part(stream).await;
            return Err(error);
        }
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    let identity = match stream.get_ref().1.peer_certificates() {
        Some(chain) => Some(weft_identity::peer_id(chain).map_err(io::Error::other)?),
        None => None,
    };
    Ok(ApiStream {
        stream,
        caller: Caller(identity.map(Arc::new)),
    })
}

/// Ends a connection so that the alert that was written arrives: closed with bytes unread, the
/// kernel would send a reset, which overtakes it.
async fn part(mut stream: TcpStream) {
    let reading = async {
        stream.shutdown().await?;
        let mut unread = (&mut stream).take(UNREAD_MAX);
        tokio::io::copy(&mut unread, &mut tokio::io::sink()).await
    };
    // Whatever the other side does with it: it was told.
    let _ = timeout(PARTING, reading).await;
}

/// An accepted connection, with its caller.
pub(super) struct ApiStream {
    stream: TlsStream<TcpStream>,
    caller: Caller,
}

impl Connected for ApiStream {
    type ConnectInfo = Caller;
    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for ApiStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ApiStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
