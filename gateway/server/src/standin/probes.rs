//! The health of the servers that this gateway fronts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use weft_model::{HealthCheck, WorkloadEntrySpec};
use weft_plan::catalog::Probed;
use weft_proxy::health::Checks;

use super::servers::EntryName;

/// The running checks of all entries that have any.
pub(super) struct Probes {
    running: BTreeMap<EntryName, Running>,
    turned: Arc<Notify>,
}

struct Running {
    address: IpAddr,
    wanted: Vec<HealthCheck>,
    checks: Checks,
    _watch: AbortOnDropHandle<()>,
}

impl Probes {
    pub(super) fn new() -> Self {
        Self {
            running: BTreeMap::new(),
            turned: Arc::default(),
        }
    }

    /// Probes these entries and no others. One whose address or checks changed
    /// starts anew, not ready until they pass.
    pub(super) fn settle<'a>(
        &mut self,
        entries: impl Iterator<Item = (EntryName, &'a WorkloadEntrySpec)>,
    ) {
        let mut seen = BTreeSet::new();
        for (name, spec) in entries.filter(|(_, spec)| !spec.checks.is_empty()) {
            let same = |r: &Running| r.address == spec.address && r.wanted == spec.checks;
            if !self.running.get(&name).is_some_and(same) {
                let running = self.start(spec);
                self.running.insert(name.clone(), running);
            }
            seen.insert(name);
        }
        self.running.retain(|name, _| seen.contains(name));
    }

    /// The verdicts now.
    pub(super) fn health(&self) -> BTreeMap<EntryName, Probed> {
        let verdicts = self.running.iter().map(|(name, running)| {
            let verdict = running.checks.verdict().borrow().clone();
            (name.clone(), (verdict.health, verdict.why))
        });
        verdicts.collect()
    }

    /// Notified when a verdict turned.
    pub(super) fn turned(&self) -> Arc<Notify> {
        Arc::clone(&self.turned)
    }

    fn start(&self, spec: &WorkloadEntrySpec) -> Running {
        let checks = Checks::start(spec.address, &spec.checks);
        let mut verdict = checks.verdict();
        let turned = self.turned();
        let watch = tokio::spawn(async move {
            while verdict.changed().await.is_ok() {
                turned.notify_one();
            }
        });
        Running {
            address: spec.address,
            wanted: spec.checks.clone(),
            checks,
            _watch: AbortOnDropHandle::new(watch),
        }
    }
}
