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
use weft_model::{Health, HealthCheck, Unready};

/// What checks come to, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the server takes work.
    pub health: Health,
    /// The failure that turned a check; it stays while that check fails, so that a server which
    /// fails in many ways is not news with each probe.
    pub why: Option<Unready>,
}

impl From<Health> for Verdict {
    fn from(health: Health) -> Self {
        Self { health, why: None }
    }
}

/// The checks of one server, running until dropped.
#[derive(Debug)]
pub struct Checks {
    verdict: watch::Receiver<Verdict>,
    _tasks: JoinSet<()>,
}

/// One check, as it stands.
struct Standing {
    gate: HealthGate,
    why: Option<Unready>,
}

impl Checks {
    /// Probes the server at `address`. It is ready while every check is; one
    /// without checks is ready at once.
    pub fn start(address: IpAddr, checks: &[HealthCheck]) -> Self {
        let first = match checks {
            [] => Health::Ready,
            _ => Health::NotReady,
        };
        let (sender, verdict) = watch::channel(Verdict::from(first));
        let standings = checks.iter().map(|check| Standing {
            gate: HealthGate::new(check.failures, check.successes),
            why: None,
        });
        let standings = Arc::new(Mutex::new(standings.collect::<Vec<_>>()));
        let sender = Arc::new(sender);
        let mut tasks = JoinSet::new();
        for (position, check) in checks.iter().enumerate() {
            let (standings, sender) = (Arc::clone(&standings), Arc::clone(&sender));
            tasks.spawn(probe_forever(
                address,
                check.clone(),
                position,
                standings,
                sender,
            ));
        }
        Self {
            verdict,
            _tasks: tasks,
        }
    }

    /// The verdict, and its changes.
    pub fn verdict(&self) -> watch::Receiver<Verdict> {
        self.verdict.clone()
    }
}

async fn probe_forever(
    address: IpAddr,
    check: HealthCheck,
    position: usize,
    standings: Arc<Mutex<Vec<Standing>>>,
    verdict: Arc<watch::Sender<Verdict>>,
) {
    let mut tick = interval(check.interval.max(std::time::Duration::from_millis(10)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let probed = timeout(check.timeout, probe::probe(address, &check)).await;
        let probed = probed.unwrap_or(Err(ProbeError::Timeout(check.timeout)));
        let mut standings = standings.lock().unwrap_or_else(PoisonError::into_inner);
        observe(&mut standings[position], address, &check, &probed);
        let now = judge(&standings);
        verdict.send_if_modified(|current| {
            let news = *current != now;
            *current = now;
            news
        });
    }
}

/// Takes a probe's result into account.
fn observe(
    standing: &mut Standing,
    address: IpAddr,
    check: &HealthCheck,
    probed: &Result<(), ProbeError>,
) {
    let result = match probed {
        Ok(()) => ProbeResult::Success,
        Err(_) => ProbeResult::Failure,
    };
    let turned = standing.gate.observe(result);
    if let Some(ready) = turned {
        let why = probed.as_ref().err().map(ToString::to_string);
        tracing::info!(%address, ready, why = why.unwrap_or_default(), "a health check turned");
    }
    match probed {
        _ if standing.gate.is_ready() => standing.why = None,
        Err(error) if turned.is_some() || standing.why.is_none() => {
            standing.why = Some(Unready::new(&format!("{}: {error}", subject(check))));
        }
        _ => {}
    }
}

/// `http port 8081`: what is asked.
fn subject(check: &HealthCheck) -> String {
    let probes = [
        check.http.as_ref().map(|probe| ("http", probe.port)),
        check.grpc.as_ref().map(|probe| ("grpc", probe.port)),
        check.tcp.as_ref().map(|probe| ("tcp", probe.port)),
    ];
    let named = probes
        .into_iter()
        .flatten()
        .map(|(kind, port)| format!("{kind} port {port}"));
    named.collect::<Vec<_>>().join(", ")
}

/// Ready if every check is; otherwise why the first one that fails does.
fn judge(standings: &[Standing]) -> Verdict {
    let failing = standings.iter().find(|standing| !standing.gate.is_ready());
    match failing {
        None => Health::Ready.into(),
        Some(standing) => Verdict {
            health: Health::NotReady,
            why: standing.why.clone(),
        },
    }
}

#[cfg(test)]
mod tests;
