//! Servers without a sidecar: this gateway checks them and registers them as
//! endpoints that it fronts itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use weft_model::{
    Endpoint, EndpointId, Federation, Health, Namespace, ServiceName, SpiffeId, WorkloadRecord,
};
use weft_plan::catalog::{EntryFront, SessionId, entry_endpoints};
use weft_proxy::health::Checks;

use super::handle::CatalogHandle;

/// How often results of checks are looked at. Well below the shortest sensible
/// interval between probes, and cheap: nothing changes mostly.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

type EntryName = (Namespace, ServiceName);

/// The entries of this cluster, as this gateway fronts them.
struct Fronting {
    handle: CatalogHandle,
    front: EntryFront,
    session: SessionId,
    checks: BTreeMap<EntryName, (Arc<WorkloadRecord>, Checks)>,
    told: BTreeMap<EndpointId, Endpoint>,
    /// The last count used for each endpoint of this run, those that ended as well.
    counts: BTreeMap<EndpointId, u64>,
    /// Why endpoints are not taken, so that it is said once.
    refused: BTreeMap<EndpointId, String>,
}

impl CatalogHandle {
    /// Fronts this cluster's `WorkloadEntry`s for ever: checks them and attests
    /// those that are there, at `address`, where this gateway takes inner mTLS for them.
    pub async fn front(&self, address: SocketAddr) {
        let config = &self.inner.config;
        let front = EntryFront {
            cluster: config.cluster.clone(),
            gateway: config.gateway.clone(),
            epoch: self.inner.epoch,
            address,
        };
        let mut fronting = Fronting {
            handle: self.clone(),
            front,
            session: SessionId(rand::random()),
            checks: BTreeMap::new(),
            told: BTreeMap::new(),
            counts: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut opened = false;
        loop {
            tick.tick().await;
            opened = opened || fronting.open();
            if opened {
                fronting.step();
            }
        }
    }
}

impl Fronting {
    /// Opens the session under the gateway's own identity, once the state knows its cluster.
    fn open(&self) -> bool {
        let inner = &self.handle.inner;
        let now = inner.now();
        let mut state = inner.state();
        let Some(member) = state.federation.cluster(&self.front.cluster) else {
            return false;
        };
        let identity = SpiffeId::gateway(member.trust_domain.clone(), self.front.gateway.clone());
        state.catalog.open_session(self.session, identity, now);
        true
    }

    fn step(&mut self) {
        let federation = Arc::clone(&self.handle.inner.state().federation);
        self.follow(&federation);
        let health = self.checks.iter();
        let health = health.map(|(name, (_, checks))| (name.clone(), *checks.health().borrow()));
        let health: BTreeMap<EntryName, Health> = health.collect();
        let endpoints = entry_endpoints(&federation, &self.front, &health);
        self.tell(&federation, endpoints);
    }

    /// Starts and stops checks as entries come, change and go.
    fn follow(&mut self, federation: &Federation) {
        let own = |(at, _): &(&(_, Namespace, ServiceName), _)| at.0 == self.front.cluster;
        let entries = federation.workload_entries().filter(own);
        let entries: BTreeMap<EntryName, Arc<WorkloadRecord>> = entries
            .map(|((_, namespace, name), record)| {
                ((namespace.clone(), name.clone()), Arc::clone(record))
            })
            .collect();
        self.checks.retain(|name, (record, _)| {
            let current = entries.get(name);
            current.is_some_and(|current| current.spec == record.spec)
        });
        for (name, record) in entries {
            self.checks.entry(name).or_insert_with(|| {
                let checks = Checks::start(record.spec.address, &record.spec.checks);
                (record, checks)
            });
        }
    }

    /// Registers what changed and withdraws what is gone.
    fn tell(&mut self, federation: &Federation, endpoints: Vec<Endpoint>) {
        let inner = &self.handle.inner;
        let now = inner.now();
        let mut state = inner.state();
        state.catalog.heard(self.session, now);
        let mut gone = std::mem::take(&mut self.told);
        let mut news = false;
        for mut endpoint in endpoints {
            let id = endpoint.id;
            let count = self.counts.entry(id).or_insert(0);
            endpoint.sequence = *count;
            if gone.remove(&id).as_ref() == Some(&endpoint) {
                self.told.insert(id, endpoint);
                continue;
            }
            endpoint.sequence += 1;
            let put = state
                .catalog
                .put(self.session, endpoint.clone(), federation, now);
            match put {
                Ok(()) => {
                    news = true;
                    *count += 1;
                    self.refused.remove(&id);
                    self.told.insert(id, endpoint);
                }
                Err(why) => {
                    let why = why.to_string();
                    if self.refused.get(&id) != Some(&why) {
                        tracing::warn!(service = %endpoint.service, %why, "a server without a sidecar is not fronted");
                    }
                    self.refused.insert(id, why);
                }
            }
        }
        for id in gone.into_keys() {
            news = true;
            let count = self.counts.entry(id).or_insert(0);
            *count += 1;
            if let Err(why) = state.catalog.withdraw(self.session, id, *count, now) {
                tracing::warn!(endpoint = %id, %why, "a server without a sidecar is not withdrawn");
            }
        }
        drop(state);
        if news {
            inner.nudge();
        }
    }
}
