//! How an endpoint is reached.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, select_ok};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use weft_decide::{EndpointView, Locality, Reason};
use weft_model::EndpointId;

use super::way::Direct;
use super::{Identities, InnerStream, Line, Protocol, Way};
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
    fn connect<'a>(&'a self, target: RemoteTarget<'a>) -> LocalBoxFuture<'a, Result<Line, Reason>>;
}

/// A connector for a process without gateways: every remote endpoint has no path.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRemote;

impl Connector for NoRemote {
    fn connect<'a>(&'a self, _: RemoteTarget<'a>) -> LocalBoxFuture<'a, Result<Line, Reason>> {
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
/// How long a handshake through gateways may take before another way is tried beside it: in
/// round trips, and at least. Longer spares busy endpoints a second handshake; shorter: who
/// waits for one notices less of a gateway that is gone.
const ROUND_TRIPS: u32 = 3;
const PATIENCE_MIN: Duration = Duration::from_millis(500);

impl Dialer {
    pub(crate) fn new(identities: Rc<Identities>, remote: Rc<dyn Connector>) -> Self {
        Self { identities, remote }
    }

    /// An inner connection to `view`, which has proved its identity, and its way there.
    pub(crate) async fn dial(
        &self,
        view: &EndpointView,
        port: NonZeroU16,
        protocol: Protocol,
    ) -> Result<(InnerStream, Box<dyn Way>), Reason> {
        match timeout(SETUP_MAX, self.dial_twice(view, port, protocol)).await {
            Ok(dialed) => dialed.map_err(Reason::from),
            Err(_) => Err(Reason::Timeout),
        }
    }

    /// Once, and another time where a gateway on the way may have gone meanwhile: after the
    /// first one broke in the handshake, or beside it if it goes silent there.
    async fn dial_twice(
        &self,
        view: &EndpointView,
        port: NonZeroU16,
        protocol: Protocol,
    ) -> Result<(InnerStream, Box<dyn Way>), Broken> {
        let late = Notify::new();
        // On the heap: whoever waits for a connection would hold both.
        let dial = || Box::pin(self.try_dial(view, port, protocol, &late));
        let mut first = dial();
        tokio::select! {
            biased;
            outcome = first.as_mut() => match outcome {
                Err(Broken::Way(_)) => dial().await,
                outcome => outcome,
            },
            () = late.notified() => {
                let both = select_ok([first, dial()]).await;
                both.map(|(dialed, _)| dialed)
            }
        }
    }

    /// Tells `late` if the handshake takes longer than its way should.
    async fn try_dial(
        &self,
        view: &EndpointView,
        port: NonZeroU16,
        protocol: Protocol,
        late: &Notify,
    ) -> Result<(InnerStream, Box<dyn Way>), Broken> {
        let is_remote = matches!(view.locality, Locality::Remote { .. });
        let Line { stream, way } = match view.endpoint.address {
            _ if is_remote => self.remote.connect(RemoteTarget { view, port }).await?,
            Some(address) => connect_tcp(address).await.map(direct).map_err(|error| {
                tracing::debug!(%address, %error, "endpoint not reached");
                Reason::ConnectFailed
            })?,
            None => return Err(Reason::NoSuchEndpoint.into()),
        };
        let peer = &view.endpoint.identity;
        let mut handshake = pin!(self.identities.connect(stream, peer, protocol));
        let shaken = tokio::select! {
            biased;
            shaken = handshake.as_mut() => shaken,
            () = silence(view) => {
                way.doubt();
                late.notify_one();
                handshake.await
            }
        };
        match shaken {
            Ok(inner) => Ok((inner, way)),
            Err(reason @ Reason::ConnectFailed) if is_remote => {
                way.doubt();
                Err(Broken::Way(reason))
            }
            Err(reason) => Err(reason.into()),
        }
    }
}

/// Resolves once a handshake by gateways has taken longer than it should. Straight to the
/// endpoint there is no other way.
async fn silence(view: &EndpointView) {
    match view.locality {
        Locality::Remote { rtt, .. } => sleep((rtt * ROUND_TRIPS).max(PATIENCE_MIN)).await,
        Locality::Local => std::future::pending().await,
    }
}

/// Why there is no connection.
enum Broken {
    /// The way to the endpoint was open, and broke.
    Way(Reason),
    /// There was none, or the endpoint is not who it should be.
    Other(Reason),
}

impl From<Reason> for Broken {
    fn from(reason: Reason) -> Self {
        Self::Other(reason)
    }
}

impl From<Broken> for Reason {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Way(reason) | Broken::Other(reason) => reason,
        }
    }
}

fn direct(tcp: TcpStream) -> Line {
    Line {
        stream: Box::new(tcp) as BoxStream,
        way: Box::new(Direct),
    }
}

/// TCP without Nagle's delay: small frames of a request must not wait for an ACK.
pub(crate) async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
