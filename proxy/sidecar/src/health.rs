//! Health checks of servers: a task per check, one verdict per server.
//!
//! Used by sidecars for the app beside them, and by gateways for servers
//! without a sidecar. What turns the verdict is decided by
//! [`weft_decide::HealthGate`].

mod probe;

pub use probe::ProbeError;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use weft_decide::{HealthGate, ProbeResult};
use weft_model::{Health, HealthCheck};

/// The checks of one server, running until dropped.
#[derive(Debug)]
pub struct Checks {
    health: watch::Receiver<Health>,
    _tasks: JoinSet<()>,
}

impl Checks {
    /// Probes the server at `address`. It is ready while every check is; one
    /// without checks is ready at once.
    pub fn start(address: IpAddr, checks: &[HealthCheck]) -> Self {
        let first = match checks {
            [] => Health::Ready,
            _ => Health::NotReady,
        };
        let (verdict, health) = watch::channel(first);
        let gates = checks
            .iter()
            .map(|check| HealthGate::new(check.failures, check.successes));
        let gates = Arc::new(Mutex::new(gates.collect::<Vec<_>>()));
        let verdict = Arc::new(verdict);
        let mut tasks = JoinSet::new();
        for (position, check) in checks.iter().enumerate() {
            let (gates, verdict) = (Arc::clone(&gates), Arc::clone(&verdict));
            tasks.spawn(probe_forever(
                address,
                check.clone(),
                position,
                gates,
                verdict,
            ));
        }
        Self {
            health,
            _tasks: tasks,
        }
    }

    /// The verdict, and its changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }
}

async fn probe_forever(
    address: IpAddr,
    check: HealthCheck,
    position: usize,
    gates: Arc<Mutex<Vec<HealthGate>>>,
    verdict: Arc<watch::Sender<Health>>,
) {
    let mut tick = interval(check.interval.max(std::time::Duration::from_millis(10)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let probed = timeout(check.timeout, probe::probe(address, &check)).await;
        let probed = probed.unwrap_or(Err(ProbeError::Timeout(check.timeout)));
        let result = match &probed {
            Ok(()) => ProbeResult::Success,
            Err(_) => ProbeResult::Failure,
        };
        let mut gates = gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = gates[position].observe(result) {
            let why = probed.as_ref().err().map(ToString::to_string);
            tracing::info!(%address, ready, why = why.unwrap_or_default(), "a health check turned");
        }
        let ready = gates.iter().all(HealthGate::is_ready);
        let health = if ready {
            Health::Ready
        } else {
            Health::NotReady
        };
        verdict.send_if_modified(|current| std::mem::replace(current, health) != health);
    }
}

#[cfg(test)]
mod tests;
