//! A worker's share: forwards the connections that the control thread hands it.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::TcpStream as StdStream;
use std::sync::{Arc, Weak};

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use weft_decide::OutlierConfig;
use weft_identity::{BundleSource, SvidSource};
use weft_model::SpiffeId;
use weft_proxy::{Inbound, Metrics, Outbound, OutboundParts, TableSource};

use super::connector::Connectors;
use super::front::Front;
use super::pool::{Accepted, Work};

/// What a worker gets. Everything in it can cross to the thread; what the worker
/// makes of it cannot leave it.
pub(super) struct WorkerParts {
    pub(super) number: usize,
    pub(super) workers: usize,
    pub(super) tables: TableSource,
    pub(super) svid: SvidSource,
    pub(super) bundles: BundleSource,
    pub(super) connectors: Connectors,
    pub(super) metrics: Metrics,
    pub(super) intake: mpsc::UnboundedReceiver<Accepted>,
    /// Finish what runs, take nothing new.
    pub(super) drain: CancellationToken,
    /// The drain's deadline is over.
    pub(super) cut: CancellationToken,
    /// Held while the worker runs.
    pub(super) running: TaskTrackerToken,
}

/// Serves until drained, or cut.
pub(super) async fn run(parts: WorkerParts) {
    let WorkerParts {
        number,
        workers,
        tables,
        svid,
        bundles,
        connectors,
        metrics,
        mut intake,
        drain,
        cut,
        running,
    } = parts;
    let mut worker = Worker {
        outbound: Outbound::new(OutboundParts {
            tables,
            svid,
            bundles: bundles.clone(),
            connector: connectors(number),
            metrics: metrics.clone(),
            outliers: OutlierConfig::default(),
            workers,
            // Workers must not make the same choices at the same time; no secrecy needed.
            seed: RandomState::new().hash_one(number),
            drain: drain.clone(),
        }),
        inbounds: BTreeMap::new(),
        bundles,
        metrics,
        tasks: TaskTracker::new(),
        drain: drain.clone(),
        cut: cut.clone(),
    };
    loop {
        tokio::select! {
            biased;
            accepted = intake.recv() => match accepted {
                Some(accepted) => worker.take(accepted),
                None => break,
            },
            () = drain.cancelled() => break,
        }
    }
    intake.close();
    while let Ok(accepted) = intake.try_recv() {
        worker.take(accepted);
    }
    worker.tasks.close();
    worker.tasks.wait().await;
    drop(running);
}

struct Worker {
    outbound: Outbound,
    /// One per identity in use.
    inbounds: BTreeMap<SpiffeId, (Weak<Front>, Inbound)>,
    bundles: BundleSource,
    metrics: Metrics,
    tasks: TaskTracker,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Worker {
    fn take(&mut self, accepted: Accepted) {
        let Accepted { tcp, work, load } = accepted;
        let tcp = match on_this_runtime(tcp) {
            Ok(tcp) => tcp,
            Err(error) => {
                tracing::warn!(%error, "an accepted connection is lost");
                return;
            }
        };
        let cut = self.cut.clone();
        match work {
            Work::Client(hint) => {
                let outbound = self.outbound.clone();
                self.tasks.spawn_local(async move {
                    let _load = load;
                    cut.run_until_cancelled(outbound.serve(tcp, hint)).await;
                });
            }
            Work::Server(front) => {
                let inbound = self.inbound(&front);
                self.tasks.spawn_local(async move {
                    let _load = load;
                    cut.run_until_cancelled(Box::pin(inbound.serve(tcp))).await;
                });
            }
        }
    }

    /// The inbound side that presents the front's identity.
    fn inbound(&mut self, front: &Arc<Front>) -> Inbound {
        if let Some((known, inbound)) = self.inbounds.get(&front.identity)
            && std::ptr::eq(known.as_ptr(), Arc::as_ptr(front))
        {
            return inbound.clone();
        }
        // A good time to forget the connections to servers that are gone.
        self.inbounds
            .retain(|_, (front, _)| front.strong_count() > 0);
        let inbound = Inbound::new(
            front.endpoints.clone(),
            front.svid.clone(),
            self.bundles.clone(),
            self.metrics.clone(),
            self.drain.clone(),
        );
        let made = (Arc::downgrade(front), inbound.clone());
        self.inbounds.insert(front.identity.clone(), made);
        inbound
    }
}

fn on_this_runtime(tcp: StdStream) -> std::io::Result<TcpStream> {
    let tcp = TcpStream::from_std(tcp)?;
    // Small frames of an answer must not wait for an ACK.
    tcp.set_nodelay(true)?;
    Ok(tcp)
}
