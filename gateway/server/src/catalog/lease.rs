//! Keeping this cluster's lease, and everybody's while this gateway leads.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use weft_model::{ClusterName, Command, Federation};
use weft_plan::{LEASE_RENEWAL, LeaseTable, Moment};

/// How often a leader looks for leases that lapsed.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

type Task = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Tells the present leader that this cluster is alive.
pub type Renew = Arc<dyn Fn(ClusterName) -> Task + Send + Sync>;
/// Proposes a command to the log.
pub type Propose = Arc<dyn Fn(Command) -> Task + Send + Sync>;
/// The term in which this gateway leads, if it does, and the state it has applied.
pub type Lead = Arc<dyn Fn() -> (Option<u64>, Arc<Federation>) + Send + Sync>;

/// Renews this cluster's lease and, while this gateway leads, judges all of
/// them. Clones share it.
#[derive(Clone)]
pub struct LeaseKeeper {
    cluster: ClusterName,
    began: Instant,
    table: Arc<Mutex<LeaseTable>>,
}

impl LeaseKeeper {
    /// A keeper for the lease of `cluster`.
    pub fn new(cluster: ClusterName) -> Self {
        Self {
            cluster,
            began: Instant::now(),
            table: Arc::default(),
        }
    }

    /// A gateway of `cluster` renewed its cluster's lease here. The caller has
    /// judged by its certificate that it is one.
    pub fn renewed(&self, cluster: ClusterName) {
        let now = self.now();
        self.with_table(|table| table.renew(cluster, now));
    }

    /// Renews this cluster's lease with the leader, for ever.
    pub async fn renew(&self, renew: Renew) {
        let mut tick = interval(LEASE_RENEWAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let renewed = timeout(LEASE_RENEWAL, renew(self.cluster.clone())).await;
            let ended = renewed.unwrap_or_else(|_| Err("no answer".to_owned()));
            if let Err(why) = ended {
                tracing::debug!(%why, "the lease was not renewed");
            }
        }
    }

    /// While this gateway leads, proposes what became of each lease, for ever.
    pub async fn judge(&self, lead: Lead, propose: Propose) {
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for command in self.due(&lead()) {
                tracing::info!(command = command.name(), "a lease changed");
                let proposal = propose(command);
                // Not awaited: a log that cannot commit must not stop the count.
                tokio::spawn(async move {
                    if let Err(why) = proposal.await {
                        tracing::warn!(%why, "the change of a lease was not committed");
                    }
                });
            }
        }
    }

    fn due(&self, (term, state): &(Option<u64>, Arc<Federation>)) -> Vec<Command> {
        let now = self.now();
        self.with_table(|table| match term {
            Some(term) => {
                table.begin(*term, now);
                let members = state.clusters();
                table.poll(now, members.map(|(name, member)| (name, member.lapsed)))
            }
            None => {
                table.end();
                Vec::new()
            }
        })
    }

    fn now(&self) -> Moment {
        Moment(self.began.elapsed())
    }

    fn with_table<T>(&self, act: impl FnOnce(&mut LeaseTable) -> T) -> T {
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
