//! The gateway as a stand-in for sidecars that are not there.
//!
//! What it is: the sidecar's own forwarding ([`weft_proxy::Outbound`] and
//! [`weft_proxy::Inbound`]) on the gateway's workers. For clients without a
//! sidecar it answers on the virtual IPs of its cluster; servers without one
//! (`WorkloadEntry`) it health-checks, registers and fronts.
//! What it is not: it keeps no catalog and decides nothing about routes; it is
//! shown a [`Situation`] whenever one changes, and told nothing else.
//!
//! ```text
//! client ─TCP─> <virtual IP>:<port> ─> Outbound ═ inner mTLS ═> sidecar or front
//!                                          └─> relay stream ═> other cluster
//! sidecar, gateway ═ inner mTLS ═> front (an address per identity) ─TCP─> server
//! ```
//!
//! Each virtual IP and port has a listener of its own, or the kernel redirects all of
//! them to one (`standIn.capture`).
//!
//! Towards servers a client is the gateway itself, `…/gateway/<name>`. Towards
//! clients a server is `…/gateway/<name>/for/ns/<ns>/sa/<account>`. As inner TLS
//! carries no server name, each such identity listens on a port of its own, which
//! only its endpoints' addresses tell. The cluster's CA issues these identities: a
//! gateway that does not hold it fronts nothing.
//!
//! **Invariant:** connections are accepted on the control thread and belong to
//! one worker from then on.
//! **Invariant:** what could not be bound or issued is said once, counted for as
//! long as it lasts, and tried again with every change.

mod answering;
mod answers;
mod captured;
mod connector;
mod control;
#[cfg(test)]
pub(crate) mod fixture;
mod front;
mod ledger;
mod listeners;
mod metrics;
mod pool;
mod probes;
mod servers;
#[cfg(test)]
mod tests;
mod worker;

pub use answers::{Address, ListenerPlan, plan_listeners};
pub(crate) use connector::TunnelStream;
pub use connector::{Connectors, through};
pub use control::Status;
pub use front::{BoxError, FrontAddress, Issue};
pub use ledger::Word;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weft_decide::{Place, ServiceTable};
use weft_identity::{BundleSource, SvidSource};
use weft_model::{Clamp, Federation, GatewayName, WallTime};
use weft_plan::catalog::{CatalogView, EntryFront, Epoch};
use weft_proxy::{Metrics, TableSource, Traffic};

use crate::catalog::OwnSession;
use crate::scene::Reach;
use crate::workers::Workers;
use answering::Answering;
use control::{Control, Servers};
use front::Fronts;
use ledger::Ledger;
use metrics::StandInMetrics;
use pool::Pool;
use probes::Probes;
use servers::UNPLACED;
use worker::WorkerParts;

/// What a stand-in stands for.
#[derive(Debug, Clone)]
pub struct StandInConfig {
    /// Where the gateway is.
    pub place: Place,
    /// Its name.
    pub gateway: GatewayName,
    /// This run of it, as its catalog attests.
    pub epoch: Epoch,
    /// How long after its start it answers only for services that it can reach, and
    /// leaves the others to gateways of its cluster that have been there longer: it has
    /// yet to hear of endpoints, and to meet its peers.
    pub recovery: Duration,
    /// Whether it answers on virtual IPs.
    pub clients: Clients,
    /// Where it fronts servers; none: it does not.
    pub front: Option<FrontAddress>,
}

/// Whether clients without a sidecar are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// On the cluster's virtual IPs, each port of each with a listener of its own.
    Answer,
    /// On the cluster's virtual IPs, all by one port that the kernel redirects to.
    Captured(NonZeroU16),
    /// Not by this gateway.
    Ignore,
}

/// Tells this gateway's own catalog what changed, under the gateway's identity. It
/// must not block. What was refused is told again, with a higher sequence.
pub type Tell = Box<dyn Fn(Word) -> Result<(), BoxError> + Send + Sync>;

/// Tells the catalog by its own session.
pub fn tell(session: OwnSession) -> Tell {
    Box::new(move |word| match word {
        Word::Put(endpoint) => Ok(session.put(*endpoint)?),
        Word::Withdraw { id, sequence } => Ok(session.withdraw(id, sequence)?),
    })
}

/// What a stand-in works with.
pub struct StandInParts {
    /// The threads that forward.
    pub workers: Workers,
    /// The way to other clusters: [`through`] the tunnels.
    pub connectors: Connectors,
    /// Who the gateway is.
    pub svid: SvidSource,
    /// Whom it trusts.
    pub bundles: BundleSource,
    /// Issues stand-in identities; none where the cluster's CA is not held.
    pub issue: Option<Issue>,
    /// Where endpoints of fronted servers go.
    pub tell: Tell,
    /// The wall clock.
    pub now: fn() -> WallTime,
    /// Where to count.
    pub metrics: Metrics,
}

/// Everything that a stand-in follows.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Intent, as applied here.
    pub federation: Arc<Federation>,
    /// Liveness, as merged here.
    pub catalog: Arc<CatalogView>,
    /// The tunnels.
    pub reach: Reach,
    /// How long ago this replica heard the leader.
    pub silence: Duration,
    /// Local lowerings of releases' weights.
    pub clamps: Arc<[Clamp]>,
    /// Addresses that names answer with beside services' own virtual IPs.
    pub addresses: Vec<Address>,
}

/// A running stand-in. Dropped, it ends at once.
pub struct StandIn {
    situations: watch::Sender<Option<Arc<Situation>>>,
    status: watch::Receiver<Status>,
    end: Option<oneshot::Sender<()>>,
    control: Option<JoinHandle<Control>>,
    traffic: Traffic,
    workers: TaskTracker,
    /// Threads end when nobody holds them.
    _threads: Workers,
    drain: CancellationToken,
    cut: CancellationToken,
}

/// Why a stand-in could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A series was registered twice.
    #[error("metrics could not be registered")]
    Metrics(#[from] prometheus::Error),
    /// The port for captured connections could not be bound.
    #[error("cannot listen on {address}, where captured connections arrive")]
    Capture {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

impl StandIn {
    /// Starts on the current runtime, which accepts, and on the workers, which
    /// forward. Nothing is opened until the first [`StandIn::update`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: StandInConfig, parts: StandInParts) -> Result<Self, StartError> {
        let metrics = StandInMetrics::new(parts.metrics.registry())?;
        let traffic = parts.metrics.traffic().clone();
        let tables = TableSource::new(ServiceTable::empty(config.place.clone()));
        let (pool, intakes) = Pool::new(parts.workers.len(), metrics.clone());
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        let answering = Answering::start(config.clients, &pool, &metrics)?;
        let running = TaskTracker::new();
        for (number, intake) in intakes.into_iter().enumerate() {
            let worker = WorkerParts {
                number,
                workers: parts.workers.len(),
                tables: tables.clone(),
                svid: parts.svid.clone(),
                bundles: parts.bundles.clone(),
                connectors: Arc::clone(&parts.connectors),
                metrics: parts.metrics.clone(),
                intake,
                drain: drain.clone(),
                cut: cut.clone(),
                running: running.token(),
            };
            parts
                .workers
                .spawn_local(number, move || worker::run(worker));
        }
        running.close();
        let (status, watched) = watch::channel(Status::default());
        let control = Control {
            place: config.place.clone(),
            answering,
            recovered_at: Instant::now() + config.recovery,
            tables,
            servers: server_side(config, parts.issue, parts.now, parts.tell, pool),
            metrics,
            status,
        };
        let (situations, shown) = watch::channel(None);
        let (end, ended) = oneshot::channel();
        Ok(Self {
            situations,
            status: watched,
            end: Some(end),
            control: Some(tokio::spawn(control.run(shown, ended))),
            traffic,
            workers: running,
            _threads: parts.workers,
            drain,
            cut,
        })
    }

    /// Shows how things are now. Cheap: the newest situation is followed as soon
    /// as there is time, older ones are skipped.
    pub fn update(&self, situation: Situation) {
        self.situations.send_replace(Some(Arc::new(situation)));
    }

    /// What it could and could not do, and changes of that.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What it forwarded for clients, counted since it was last taken.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Tells that servers are draining, stops accepting, lets connections finish
    /// and after `deadline` cuts what is left; then withdraws the servers.
    pub async fn shutdown(mut self, deadline: Duration) {
        drop(self.end.take());
        let control = match self.control.take() {
            Some(task) => task.await.ok(),
            None => None,
        };
        let Some(Control {
            answering, servers, ..
        }) = control
        else {
            tracing::error!("the stand-in's control task ended early");
            return;
        };
        answering.close().await;
        self.drain.cancel();
        if tokio::time::timeout(deadline, self.workers.wait())
            .await
            .is_err()
        {
            self.cut.cancel();
            self.workers.wait().await;
        }
        if let Some(mut servers) = servers {
            servers.withdraw();
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.drain.cancel();
        self.cut.cancel();
    }
}

fn server_side(
    config: StandInConfig,
    issue: Option<Issue>,
    now: fn() -> WallTime,
    tell: Tell,
    pool: Pool,
) -> Option<Servers> {
    let address = config.front?;
    let Some(issue) = issue else {
        tracing::info!("this gateway does not hold the cluster's CA: it fronts no servers");
        return None;
    };
    Some(Servers {
        front: EntryFront {
            cluster: config.place.cluster,
            gateway: config.gateway,
            epoch: config.epoch,
            address: UNPLACED,
        },
        fronts: Fronts::new(address, issue, now, pool),
        probes: Probes::new(),
        ledger: Ledger::default(),
        refused: BTreeMap::new(),
        tell,
    })
}
