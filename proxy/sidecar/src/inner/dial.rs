//! How an endpoint is reached.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::net::TcpStream;
use tokio::time::timeout;
use weft_decide::{EndpointView, Locality, Reason};
use weft_model::EndpointId;

use super::{Identities, InnerStream, Protocol};
use crate::stream::BoxStream;

/// An endpoint in another cluster, as a relay needs it.
#[derive(Debug, Clone, Copy)]
pub struct RemoteTarget<'a> {
    /// The endpoint, with its cluster.
    pub view: &'a EndpointView,
    /// The service's port.
    pub port: NonZeroU16,
}

impl RemoteTarget<'_> {
    /// The endpoint's id.
    pub fn endpoint(&self) -> EndpointId {
        self.view.endpoint.id
    }
}

/// Opens byte streams to endpoints of other clusters. The inner handshake is the
/// caller's matter: a connector never sees plaintext.
///
/// Two implementations: a sidecar goes through its gateway's relay port, a
/// gateway opens a tunnel stream itself. Runs on a worker's thread.
pub trait Connector {
    /// A stream to the endpoint's sidecar, or why there is none.
    fn connect<'a>(
        &'a self,
        target: RemoteTarget<'a>,
    ) -> LocalBoxFuture<'a, Result<BoxStream, Reason>>;
}

/// A connector for a process without gateways: every remote endpoint has no path.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRemote;

impl Connector for NoRemote {
    fn connect<'a>(&'a self, _: RemoteTarget<'a>) -> LocalBoxFuture<'a, Result<BoxStream, Reason>> {
        Box::pin(async { Err(Reason::NoPath) })
    }
}

/// Opens inner connections of one worker.
pub(crate) struct Dialer {
    identities: Rc<Identities>,
    remote: Rc<dyn Connector>,
}

/// Longest time for everything before the first byte of a request: TCP, preamble
/// and inner handshake. Longer: fewer false failures over bad links; shorter:
/// quicker failover.
const SETUP_MAX: Duration = Duration::from_secs(5);

impl Dialer {
    pub(crate) fn new(identities: Rc<Identities>, remote: Rc<dyn Connector>) -> Self {
        Self { identities, remote }
    }

    /// An inner connection to `view`, which has proved its identity.
    pub(crate) async fn dial(
        &self,
        view: &EndpointView,
        port: NonZeroU16,
        protocol: Protocol,
    ) -> Result<InnerStream, Reason> {
        let setup = async {
            let stream = match (&view.locality, view.endpoint.address) {
                (Locality::Local, Some(address)) => connect_tcp(address)
                    .await
                    .map(|tcp| Box::new(tcp) as BoxStream)
                    .map_err(|error| {
                        tracing::debug!(%address, %error, "endpoint not reached");
                        Reason::ConnectFailed
                    })?,
                (Locality::Local, None) => return Err(Reason::NoSuchEndpoint),
                (Locality::Remote { .. }, _) => {
                    self.remote.connect(RemoteTarget { view, port }).await?
                }
            };
            self.identities
                .connect(stream, &view.endpoint.identity, protocol)
                .await
        };
        timeout(SETUP_MAX, setup)
            .await
            .unwrap_or(Err(Reason::Timeout))
    }
}

/// TCP without Nagle's delay: small frames of a request must not wait for an ACK.
pub(crate) async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
