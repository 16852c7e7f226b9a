//! How many relayed connections there may be, for each caller's cluster and in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use weft_model::TrustDomain;

/// The bounds of one gateway, for each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all. Default 20,000. Each takes two descriptors' worth of
    /// kernel memory and up to a stream window when its reader is slow.
    pub total: usize,
    /// Connections of the callers of one cluster. Default 10,000: one cluster
    /// cannot use up what the others need.
    pub per_cluster: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: 20_000,
            per_cluster: 10_000,
        }
    }
}

/// Counts connections, or whatever else takes room, against [`Limits`].
#[derive(Clone)]
pub(crate) struct Admission {
    limits: Limits,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_cluster: HashMap<TrustDomain, usize>,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: Arc::default(),
        }
    }

    /// Counts one connection of a caller in `cluster`, until the permit is
    /// dropped; none if that would be one too many.
    pub(crate) fn admit(&self, cluster: &TrustDomain) -> Option<Permit> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_cluster = open.by_cluster.get(cluster).copied().unwrap_or(0);
        if open.total >= self.limits.total || of_cluster >= self.limits.per_cluster {
            return None;
        }
        open.total += 1;
        *open.by_cluster.entry(cluster.clone()).or_default() += 1;
        Some(Permit {
            open: Arc::clone(&self.open),
            cluster: cluster.clone(),
        })
    }
}

/// One counted connection.
pub(crate) struct Permit {
    open: Arc<Mutex<Open>>,
    cluster: TrustDomain,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(of_cluster) = open.by_cluster.get_mut(&self.cluster) {
            *of_cluster -= 1;
            if *of_cluster == 0 {
                open.by_cluster.remove(&self.cluster);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cluster_cannot_take_all() {
        let admission = Admission::new(Limits {
            total: 3,
            per_cluster: 2,
        });
        let [a, b, c]: [TrustDomain; 3] = ["a", "b", "c"].map(|domain| domain.parse().unwrap());
        let first = admission.admit(&a).unwrap();
        let _second = admission.admit(&a).unwrap();
        assert!(admission.admit(&a).is_none());
        let _third = admission.admit(&b).unwrap();
        assert!(admission.admit(&c).is_none());
        drop(first);
        assert!(admission.admit(&a).is_some());
        assert!(admission.admit(&c).is_some());
    }
}
