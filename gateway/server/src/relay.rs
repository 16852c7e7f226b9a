//! The relay: carries sidecars' connections through tunnels to sidecars elsewhere.
//!
//! What it is: the near side, a TCP port for this cluster's sidecars, and the
//! far side of the streams that other gateways open. What it is not: it sees
//! only ciphertext (the inner TLS runs from sidecar to sidecar), picks no
//! endpoint, and knows no service: who may go where is asked of two functions.
//!
//! ```text
//! sidecar ─ TCP: preamble ─> source ─ authorise ─> tunnel stream ═══> destination ─ deliver ─> TCP ─> sidecar
//!               <─ status ──                  <── status ───
//! ```

mod destination;
mod limits;
mod metrics;
mod open;
mod pump;
mod sessions;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use weft_model::{ClusterName, SpiffeId};
use weft_proto::peer::RelayStream;

pub use limits::Limits;
pub use metrics::RelayMetrics;
pub use sessions::Sessions;
pub use weft_decide::Reason;
pub use weft_proxy::SessionId;

pub(crate) use limits::Admission;
pub(crate) use open::open;

use crate::sys;
use crate::tunnel::{IncomingRelay, Tunnels};

/// Where a caller may go: asked on the near side for each connection, of the
/// sidecar's identity and its target. It must not block.
pub type Authorise = dyn Fn(&SpiffeId, &RelayStream) -> Result<Target, Reason> + Send + Sync;

/// Which address serves a target: asked on the far side for each stream, of the
/// peer gateway's identity and the target. It must not block.
pub type Deliver = dyn Fn(&SpiffeId, &RelayStream) -> Result<Destination, Reason> + Send + Sync;

/// What [`Authorise`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The cluster that serves the target.
    pub cluster: ClusterName,
}

/// What [`Deliver`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The inbound address of a sidecar.
    pub address: SocketAddr,
    /// Whether it may be one of this machine.
    pub local: Local,
}

/// Whether loopback, link-local and similar addresses may be connected to. An
/// endpoint's address is the claim of a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// They are refused.
    Refuse,
    /// They are served: sidecars share the machine, as in development.
    Allow,
}

/// Everything [`Relay::start`] is given.
pub struct RelayConfig {
    /// The TCP address for sidecars; every worker listens on it.
    pub listen: SocketAddr,
    /// The tunnels to relay through.
    pub tunnels: Tunnels,
    /// Relay streams of peers, by worker, as the tunnels started with.
    pub incoming: Vec<mpsc::Receiver<IncomingRelay>>,
    /// The sidecars' sessions.
    pub sessions: Arc<Sessions>,
    /// Judges sidecars' targets.
    pub authorise: Arc<Authorise>,
    /// Finds endpoints of this cluster.
    pub deliver: Arc<Deliver>,
    /// How many connections there may be, each way.
    pub limits: Limits,
    /// How long a connection may carry nothing. Default of the process: one hour.
    pub idle: Duration,
}

/// Why the relay could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}/tcp")]
pub struct ListenError {
    /// What was asked for.
    pub address: SocketAddr,
    #[source]
    source: io::Error,
}

/// The running relay. It accepts until the tunnels drain.
pub struct Relay {
    tunnels: Tunnels,
    sessions: Arc<Sessions>,
    authorise: Arc<Authorise>,
    deliver: Arc<Deliver>,
    near: Admission,
    far: Admission,
    idle: Duration,
    metrics: RelayMetrics,
    address: SocketAddr,
}

impl Relay {
    /// Listens, and serves on the tunnels' workers.
    ///
    /// # Errors
    /// The address is taken or not this machine's.
    pub fn start(config: RelayConfig) -> Result<Arc<Self>, ListenError> {
        let workers = config.tunnels.workers().clone();
        let (address, listeners) =
            listen(config.listen, workers.len()).map_err(|source| ListenError {
                address: config.listen,
                source,
            })?;
        let relay = Arc::new(Self {
            tunnels: config.tunnels,
            sessions: config.sessions,
            authorise: config.authorise,
            deliver: config.deliver,
            near: Admission::new(config.limits),
            far: Admission::new(config.limits),
            idle: config.idle,
            metrics: RelayMetrics::new(),
            address,
        });
        for (worker, listener) in listeners.into_iter().enumerate() {
            let on_worker = workers.handle(worker).enter();
            let listener = TcpListener::from_std(listener).map_err(|source| ListenError {
                address: config.listen,
                source,
            })?;
            drop(on_worker);
            let relay = Arc::clone(&relay);
            workers.spawn_local(worker, move || source::accept(relay, worker, listener));
        }
        for (worker, incoming) in config.incoming.into_iter().enumerate() {
            let relay = Arc::clone(&relay);
            workers.spawn_local(worker, move || destination::accept(relay, incoming));
        }
        Ok(relay)
    }

    /// The address that sidecars dial, with the port that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the relay counts.
    pub fn metrics(&self) -> &RelayMetrics {
        &self.metrics
    }
}

/// One listening socket per worker on the same port.
fn listen(
    address: SocketAddr,
    workers: usize,
) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    let listeners = sys::tcp_group(address, workers, BACKLOG)?;
    let address = listeners[0].local_addr()?;
    Ok((address, listeners))
}

/// Connections that wait to be accepted, per worker.
const BACKLOG: i32 = 1024;
