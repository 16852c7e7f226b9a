//! All workers of a process: bound, started and drained together.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use weft_identity::{BundleSource, SvidSource};

use crate::config::{Capture, Config, Upstream};
use crate::listen::listeners;
use crate::local::LocalEndpoint;
use crate::metrics::Metrics;
use crate::relay::RelaySessions;
use crate::snapshot::TableSource;
use crate::worker::{self, WorkerParts};

/// What the control side keeps up to date, and workers read.
#[derive(Clone)]
pub struct Sources {
    /// The services.
    pub tables: TableSource,
    /// The gateways that relay.
    pub relays: RelaySessions,
    /// Who this process is.
    pub svid: SvidSource,
    /// Whom it trusts.
    pub bundles: BundleSource,
}

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("{what} cannot listen on {address}")]
    Bind {
        /// Which listener.
        what: &'static str,
        /// Its address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// As another user than `spec.capture.uid` its own connections would come back to it.
    #[error("spec.capture.uid is {configured}, and this process runs as user {running}")]
    WrongUser {
        /// Whose packets the rules leave alone.
        configured: u32,
        /// Who this is.
        running: u32,
    },
    /// Who this process runs as cannot be told.
    #[error("/proc/self cannot be read")]
    User(#[source] io::Error),
    /// A worker thread could not be started.
    #[error("a worker thread could not be started")]
    Worker(#[source] io::Error),
    /// A series was registered twice.
    #[error("metrics could not be registered")]
    Metrics(#[from] prometheus::Error),
}

/// The running workers.
pub struct DataPlane {
    addresses: Addresses,
    workers: Vec<JoinHandle<()>>,
    drain: CancellationToken,
    cut: CancellationToken,
}

/// Where a data plane listens: as configured, with ports chosen where they were 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The HTTP proxy for the app.
    pub outbound: SocketAddr,
    /// Inner mTLS from peers.
    pub inbound: SocketAddr,
    /// Local ports of upstreams, in the configuration's order.
    pub upstreams: Vec<SocketAddr>,
}

/// The listeners of one worker.
pub(crate) struct Listeners {
    pub(crate) outbound: TcpListener,
    pub(crate) inbound: TcpListener,
    pub(crate) upstreams: Vec<(Upstream, TcpListener)>,
    /// Redirected connections, by family.
    pub(crate) captured: Vec<TcpListener>,
}

impl DataPlane {
    /// Binds every address, then starts the workers.
    pub fn start(
        config: &Config,
        endpoints: Arc<[LocalEndpoint]>,
        sources: &Sources,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let sets = Listeners::bind(config)?;
        let addresses = sets
            .first()
            .map_or_else(
                || Err(io::ErrorKind::NotConnected.into()),
                Listeners::addresses,
            )
            .map_err(StartError::Worker)?;
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut plane = Self {
            addresses,
            workers: Vec::with_capacity(sets.len()),
            drain: drain.clone(),
            cut: cut.clone(),
        };
        for (number, listeners) in sets.into_iter().enumerate() {
            let worker = worker::spawn(WorkerParts {
                number,
                workers: config.workers.get(),
                // Workers must not make the same choices at the same time; no secrecy needed.
                seed: RandomState::new().hash_one(number),
                sources: sources.clone(),
                metrics: metrics.clone(),
                endpoints: Arc::clone(&endpoints),
                http: config.http,
                listeners,
                drain: drain.clone(),
                cut: cut.clone(),
            });
            plane.workers.push(worker.map_err(StartError::Worker)?);
        }
        Ok(plane)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Cancelled once it stops taking new connections.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Stops accepting, lets requests and connections finish, and after `deadline`
    /// cuts what is left. Returns when every worker ended.
    pub async fn shutdown(mut self, deadline: Duration) {
        self.drain.cancel();
        let workers = std::mem::take(&mut self.workers);
        let mut ended = tokio::task::spawn_blocking(move || {
            for worker in workers {
                if worker.join().is_err() {
                    tracing::error!("a worker panicked");
                }
            }
        });
        if tokio::time::timeout(deadline, &mut ended).await.is_err() {
            self.cut.cancel();
            let _ = ended.await;
        }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.drain.cancel();
        self.cut.cancel();
    }
}

impl Listeners {
    /// One set per worker.
    fn bind(config: &Config) -> Result<Vec<Self>, StartError> {
        let count = config.workers.get();
        let bind = |what, address| {
            listeners(address, count).map_err(|source| StartError::Bind {
                what,
                address,
                source,
            })
        };
        let outbound = bind("the outbound proxy", config.outbound)?;
        let inbound = bind("the inbound proxy", config.inbound)?;
        let mut sets: Vec<Self> = outbound
            .into_iter()
            .zip(inbound)
            .map(|(outbound, inbound)| Self {
                outbound,
                inbound,
                upstreams: Vec::with_capacity(config.upstreams.len()),
                captured: Vec::new(),
            })
            .collect();
        for upstream in &config.upstreams {
            let shared = bind("an upstream", upstream.bind)?;
            for (set, listener) in sets.iter_mut().zip(shared) {
                set.upstreams.push((upstream.clone(), listener));
            }
        }
        for address in config.capture.iter().flat_map(Capture::listeners) {
            let shared = bind("the capture", address)?;
            for (set, listener) in sets.iter_mut().zip(shared) {
                set.captured.push(listener);
            }
        }
        Ok(sets)
    }

    fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            outbound: self.outbound.local_addr()?,
            inbound: self.inbound.local_addr()?,
            upstreams: self
                .upstreams
                .iter()
                .map(|(_, listener)| listener.local_addr())
                .collect::<Result<_, _>>()?,
        })
    }
}
