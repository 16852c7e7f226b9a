//! What each cluster may have under way at the leader: others' entries wait for a bounded number
//! of its own, however many it sends.

use std::collections::BTreeMap;

use weft_model::{ClusterName, RequestId};

/// Entries of one cluster that are in the leader's log and not applied yet.
const ENTRIES_MAX: usize = 64;
/// Their bytes; one entry is taken whatever its size.
const BYTES_MAX: usize = 1 << 20;

/// The forwarded proposals that this leader took and that are not applied yet.
#[derive(Debug, Default)]
pub(super) struct Shares {
    taken: BTreeMap<RequestId, (ClusterName, usize)>,
    load: BTreeMap<ClusterName, Load>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Load {
    entries: usize,
    bytes: usize,
}

/// Whether a proposal may enter the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// It may.
    Free,
    /// It is in this leader's log already: once more is once too often.
    There,
    /// Its cluster has its share under way: it comes again later.
    Spent,
}

impl Shares {
    /// Takes a proposal of `cluster` into its share, if there is room.
    pub(super) fn take(
        &mut self,
        cluster: &ClusterName,
        request: RequestId,
        bytes: usize,
    ) -> Share {
        if self.taken.contains_key(&request) {
            return Share::There;
        }
        let load = self.load.entry(cluster.clone()).or_default();
        let full = load.entries >= ENTRIES_MAX || load.bytes + bytes > BYTES_MAX;
        if full && load.entries > 0 {
            return Share::Spent;
        }
        load.entries += 1;
        load.bytes += bytes;
        self.taken.insert(request, (cluster.clone(), bytes));
        Share::Free
    }

    /// It was applied, or not taken after all.
    pub(super) fn give_back(&mut self, request: &RequestId) {
        let Some((cluster, bytes)) = self.taken.remove(request) else {
            return;
        };
        if let Some(load) = self.load.get_mut(&cluster) {
            load.entries -= 1;
            load.bytes -= bytes;
            if load.entries == 0 {
                self.load.remove(&cluster);
            }
        }
    }

    /// Who leads has changed: what this node took is the next leader's, or lost.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: usize) -> RequestId {
        RequestId((number as u128).to_be_bytes())
    }

    #[test]
    fn one_cluster_has_its_share_and_another_one_its_own() {
        let [a, b]: [ClusterName; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        let mut shares = Shares::default();
        for number in 0..ENTRIES_MAX {
            assert_eq!(shares.take(&a, request(number), 100), Share::Free);
        }
        assert_eq!(shares.take(&a, request(1_000), 100), Share::Spent);
        assert_eq!(shares.take(&a, request(0), 100), Share::There);
        assert_eq!(shares.take(&b, request(2_000), 100), Share::Free);
        shares.give_back(&request(0));
        shares.give_back(&request(0));
        assert_eq!(shares.take(&a, request(1_000), 100), Share::Free);
        assert_eq!(shares.take(&a, request(1_001), 100), Share::Spent);
        shares.clear();
        assert_eq!(shares.take(&a, request(0), 100), Share::Free);
    }

    #[test]
    fn bytes_count_too_and_one_entry_always_fits() {
        let a: ClusterName = "a".parse().unwrap();
        let mut shares = Shares::default();
        assert_eq!(shares.take(&a, request(0), BYTES_MAX + 1), Share::Free);
        assert_eq!(shares.take(&a, request(1), 1), Share::Spent);
        shares.give_back(&request(0));
        assert_eq!(shares.take(&a, request(1), BYTES_MAX), Share::Free);
        assert_eq!(shares.take(&a, request(2), 1), Share::Spent);
    }
}
