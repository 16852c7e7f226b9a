//! gRPC channels over our own TLS: one connection, made step by step so that each
//! failure says which step it was.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// The application protocol of every gRPC listener.
pub const ALPN_GRPC: &[u8] = b"h2";

/// The step at which a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host name has no address.
    #[error("{host} does not resolve")]
    Resolve {
        /// The host and port asked for.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No TCP connection in time.
    #[error("no TCP connection to {address}")]
    Connect {
        /// The address tried.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed: [`weft_identity::refusal`] may know more of `source`.
    #[error("no TLS with {address}")]
    Handshake {
        /// The address tried.
        address: SocketAddr,
        /// What rustls said.
        #[source]
        source: io::Error,
    },
    /// HTTP/2 did not begin.
    #[error("no HTTP/2 with {address}")]
    Http {
        /// The address tried.
        address: SocketAddr,
        /// What went wrong.
        #[source]
        source: tonic::transport::Error,
    },
}

/// Resolves `host:port`; at least one address, in the resolver's order.
pub async fn resolve(host: &str) -> Result<Vec<SocketAddr>, DialError> {
    let failed = |source| DialError::Resolve {
        host: host.to_owned(),
        source,
    };
    let found: Vec<SocketAddr> = tokio::net::lookup_host(host)
        .await
        .map_err(failed)?
        .collect();
    if found.is_empty() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    Ok(found)
}

/// Connects to `address` within `limit` and speaks gRPC over TLS there. The channel does not
/// reconnect: who holds it decides whether and where to dial again.
pub async fn dial(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Channel, DialError> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let tcp = timeout(limit, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(late()))
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| DialError::Connect { address, source })?;
    let handshake = TlsConnector::from(tls).connect(weft_identity::server_name(), tcp);
    let refused = |source| DialError::Handshake { address, source };
    let mut stream = timeout(limit, handshake)
        .await
        .unwrap_or_else(|_| Err(late()))
        .map_err(refused)?;
    // In TLS 1.3 the client is done before the server has judged its certificate. An HTTP/2 server
    // speaks first once it has: its settings, or the alert that says why not.
    let silent = timeout(limit, stream.fill_buf())
        .await
        .unwrap_or_else(|_| Err(late()))
        .map(<[u8]>::is_empty)
        .map_err(refused)?;
    if silent {
        return Err(refused(io::ErrorKind::UnexpectedEof.into()));
    }
    let once = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = once.lock().ok().and_then(|mut slot| slot.take());
        async move {
            let gone = || io::Error::new(io::ErrorKind::ConnectionReset, "the connection is gone");
            stream.map(TokioIo::new).ok_or_else(gone)
        }
    });
    Endpoint::from_static("http://gateway.invalid")
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|source| DialError::Http { address, source })
}
