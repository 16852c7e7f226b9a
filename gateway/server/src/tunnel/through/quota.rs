//! How much a cluster carries for each other one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weft_model::ClusterName;
use weft_plan::Moment;
use weft_plan::detour::Allowance;

/// Connections that are carried for one cluster at once: two for each pair of gateways.
const CONNECTIONS: usize = 16;
/// Bytes a second that are carried for one cluster, both directions together.
const BYTES: u64 = 16 << 20;

/// What is carried now, by the cluster that asked.
#[derive(Debug, Default)]
pub(super) struct Quota {
    used: Mutex<BTreeMap<ClusterName, Used>>,
}

#[derive(Debug)]
struct Used {
    connections: usize,
    allowance: Allowance,
}

impl Quota {
    /// A place for one more connection; none if all are taken.
    pub(super) fn enter(self: &Arc<Self>, cluster: &ClusterName) -> Option<Place> {
        let mut used = self.used();
        let of_cluster = used.entry(cluster.clone()).or_insert_with(|| Used {
            connections: 0,
            allowance: Allowance::new(BYTES),
        });
        if of_cluster.connections >= CONNECTIONS {
            return None;
        }
        of_cluster.connections += 1;
        drop(used);
        Some(Place {
            quota: Arc::clone(self),
            cluster: cluster.clone(),
        })
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<ClusterName, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place. Dropped, it is free.
#[derive(Debug)]
pub(super) struct Place {
    quota: Arc<Quota>,
    cluster: ClusterName,
}

impl Place {
    /// Lets `bytes` pass; how long to wait before more may.
    pub(super) fn pass(&self, bytes: usize, now: Moment) -> Duration {
        let mut used = self.quota.used();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let used = used.get_mut(&self.cluster);
        used.map_or(Duration::ZERO, |used| used.allowance.take(bytes, now))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Its allowance is kept: who comes back at once has not got a new one.
        if let Some(used) = self.quota.used().get_mut(&self.cluster) {
            used.connections -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::name;

    use super::*;

    #[test]
    fn each_cluster_has_its_own_places_and_its_own_rate() {
        let quota = Arc::new(Quota::default());
        let (a, b) = (name("a"), name("b"));
        let mut places: Vec<_> = (0..CONNECTIONS).map(|_| quota.enter(&a).unwrap()).collect();
        assert!(quota.enter(&a).is_none());
        let other = quota.enter(&b).unwrap();
        places.pop();
        let again = quota.enter(&a).unwrap();
        let now = Moment(Duration::from_secs(9));
        let second = usize::try_from(BYTES).unwrap();
        assert_eq!(again.pass(second, now), Duration::ZERO);
        assert_eq!(places[0].pass(second, now), Duration::from_secs(1));
        assert_eq!(other.pass(second, now), Duration::ZERO);
    }
}
