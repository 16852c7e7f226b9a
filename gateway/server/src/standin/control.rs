//! The control thread's side: owns listeners, fronts and checks, and follows
//! what it is shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};
use weft_decide::Place;
use weft_model::{Endpoint, EndpointId, Health};
use weft_plan::catalog::EntryFront;
use weft_proxy::TableSource;

use super::answering::Answering;
use super::answers::{is_served, wanted};
use super::front::Fronts;
use super::ledger::Ledger;
use super::metrics::StandInMetrics;
use super::probes::Probes;
use super::servers::{entries, servers};
use super::{Situation, Tell};
use crate::scene::{Scene, service_table};

/// Everything that follows the situation. One task owns it.
pub(super) struct Control {
    pub(super) place: Place,
    /// Until then only what can be reached is answered for.
    pub(super) recovered_at: Instant,
    pub(super) tables: TableSource,
    pub(super) answering: Answering,
    pub(super) servers: Option<Servers>,
    pub(super) metrics: StandInMetrics,
    pub(super) status: watch::Sender<Status>,
}

/// The server side; none in a gateway that cannot issue identities.
pub(super) struct Servers {
    pub(super) front: EntryFront,
    pub(super) fronts: Fronts,
    pub(super) probes: Probes,
    pub(super) ledger: Ledger,
    pub(super) tell: Tell,
    /// Endpoints that the catalog did not take, with its reason.
    pub(super) refused: BTreeMap<EndpointId, String>,
}

/// How soon what the catalog refused is told again, if nothing happens before:
/// it may not know yet what this side knows.
const RETRY: Duration = Duration::from_secs(1);

/// What a stand-in could and could not do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Addresses that should be answered on but could not be bound, with the
    /// system's reason. They are tried again with every change.
    pub unbound: Vec<(SocketAddr, std::io::ErrorKind)>,
    /// Servers without a sidecar that are fronted, ready or not.
    pub fronted: usize,
    /// Counts the situations that were followed.
    pub followed: u64,
}

impl Control {
    /// Follows until asked to end; then tells that its servers drain.
    pub(super) async fn run(
        mut self,
        mut situations: watch::Receiver<Option<Arc<Situation>>>,
        mut end: oneshot::Receiver<()>,
    ) -> Self {
        let turned = self.servers.as_ref().map(|s| s.probes.turned());
        loop {
            let health = async {
                match &turned {
                    Some(turned) => turned.notified().await,
                    None => std::future::pending().await,
                }
            };
            let refused = self.servers.as_ref().is_some_and(|s| !s.refused.is_empty());
            tokio::select! {
                // Also when the handle is gone.
                _ = &mut end => break,
                changed = situations.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = health => {}
                () = sleep(RETRY), if refused => {}
            }
            let situation = situations.borrow_and_update().clone();
            if let Some(situation) = situation {
                self.follow(&situation);
            }
        }
        if let Some(servers) = &mut self.servers {
            servers.drain();
        }
        self
    }

    fn follow(&mut self, situation: &Situation) {
        let scene = Scene {
            federation: &situation.federation,
            catalog: &situation.catalog,
            reach: &situation.reach,
            silence: situation.silence,
            clamps: &situation.clamps,
            place: &self.place,
        };
        let table = service_table(&scene, Some(&self.tables.load()));
        if self.answering.is_wanted() {
            let mut wanted = wanted(&table, &situation.addresses);
            if Instant::now() < self.recovered_at {
                wanted.retain(|at, hint| self.answering.is_open(at) || is_served(&table, hint));
            }
            self.answering.settle(wanted);
        }
        self.tables.store(Arc::new(table));
        let fronted = self.servers.as_mut().map(|s| s.follow(situation));
        self.metrics.fronting(fronted.unwrap_or(0));
        let unbound = self.answering.unbound();
        self.status.send_modify(|status| {
            status.unbound = unbound;
            status.fronted = fronted.unwrap_or(0);
            status.followed += 1;
        });
    }
}

impl Servers {
    /// Returns how many servers are fronted.
    fn follow(&mut self, situation: &Situation) -> usize {
        let federation = &situation.federation;
        self.probes.settle(entries(federation, &self.front));
        let known = servers(federation, &self.front, &self.probes.health());
        let placed = self.fronts.settle(known);
        let endpoints: Vec<Endpoint> = placed.into_iter().map(|s| s.endpoint).collect();
        let count = endpoints.len();
        self.say(endpoints);
        count
    }

    /// New work goes elsewhere from now on; what runs may finish.
    fn drain(&mut self) {
        let draining = self.ledger.told().cloned().map(|endpoint| Endpoint {
            health: Health::Draining,
            ..endpoint
        });
        let draining = draining.collect();
        self.say(draining);
        self.fronts.settle(Vec::new());
    }

    fn say(&mut self, endpoints: Vec<Endpoint>) {
        let wanted = |id: &EndpointId| endpoints.iter().any(|endpoint| endpoint.id == *id);
        self.refused.retain(|id, _| wanted(id));
        for word in self.ledger.tell(endpoints) {
            let id = word.endpoint();
            let Err(error) = (self.tell)(word) else {
                self.refused.remove(&id);
                continue;
            };
            self.ledger.forget(id);
            let why = error.to_string();
            if self.refused.get(&id) != Some(&why) {
                tracing::warn!(endpoint = %id, %why, "the catalog refused a server's endpoint");
            }
            self.refused.insert(id, why);
        }
    }

    /// Every server is gone.
    pub(super) fn withdraw(&mut self) {
        self.say(Vec::new());
    }
}
