//! The lease of a cluster: its gateways renew it with the leader, outside the
//! log; only its lapse and its return are entries.
//!
//! ```text
//! gateway ── renewal every 2 s ──> leader: LeaseTable ── poll(now) ──> LapseLease | ReturnLease
//! ```
//!
//! The table counts in the leader's monotonic time and starts afresh with each
//! term: a new leader knows nothing of the renewals that the old one saw.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weft_model::{ClusterName, Command, Index};

use crate::Moment;

/// How often a gateway renews its cluster's lease.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(2);
/// How long a lease lasts without renewal.
pub const LEASE_LENGTH: Duration = Duration::from_secs(10);
/// How long a proposal may take before it is made again.
const PROPOSAL_PATIENCE: Duration = Duration::from_secs(3);

/// A cluster's lease as this gateway knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lease {
    /// The leader hears the cluster.
    Held,
    /// The leader heard nothing for the lease's whole length, and said so in the log.
    Lapsed,
    /// Nobody here can say: this replica has not heard a leader lately.
    Unknown,
}

impl Lease {
    /// What a replica knows of a lease that lapsed at `lapsed`, having last
    /// heard the leader `silence` ago. A record that may be outdated is no knowledge.
    pub fn known(lapsed: Option<Index>, silence: Duration) -> Self {
        match (silence > LEASE_LENGTH, lapsed) {
            (true, _) => Self::Unknown,
            (false, Some(_)) => Self::Lapsed,
            (false, None) => Self::Held,
        }
    }
}

/// The leader's table of renewals, for one term.
#[derive(Debug, Clone, Default)]
pub struct LeaseTable {
    term: Option<u64>,
    began: Moment,
    renewed: BTreeMap<ClusterName, Moment>,
    proposed: BTreeMap<ClusterName, Moment>,
}

impl LeaseTable {
    /// This replica leads `term`: every lease counts from now.
    pub fn begin(&mut self, term: u64, now: Moment) {
        if self.term == Some(term) {
            return;
        }
        *self = Self {
            term: Some(term),
            began: now,
            ..Self::default()
        };
    }

    /// This replica leads no longer.
    pub fn end(&mut self) {
        *self = Self::default();
    }

    /// Whether this replica leads.
    pub fn is_leading(&self) -> bool {
        self.term.is_some()
    }

    /// A gateway of `cluster` renewed its lease.
    pub fn renew(&mut self, cluster: ClusterName, now: Moment) {
        if self.is_leading() {
            self.renewed.insert(cluster, now);
        }
    }

    /// What the leader must propose now, given the members and whether the
    /// state records their lease as lapsed. A proposal is repeated only after
    /// it had time to be applied.
    pub fn poll<'a>(
        &mut self,
        now: Moment,
        members: impl Iterator<Item = (&'a ClusterName, Option<Index>)>,
    ) -> Vec<Command> {
        if !self.is_leading() {
            return Vec::new();
        }
        let mut present = BTreeSet::new();
        let mut due = Vec::new();
        for (cluster, lapsed) in members {
            present.insert(cluster.clone());
            let fresh = match self.renewed.get(cluster) {
                Some(renewed) => now.since(*renewed) < LEASE_LENGTH,
                // Not heard in this term: a lease that stands has its whole length.
                None => lapsed.is_none() && now.since(self.began) < LEASE_LENGTH,
            };
            let command = match (fresh, lapsed) {
                (false, None) => Command::LapseLease(cluster.clone()),
                (true, Some(_)) => Command::ReturnLease(cluster.clone()),
                (true, None) | (false, Some(_)) => {
                    self.proposed.remove(cluster);
                    continue;
                }
            };
            let pending = self.proposed.get(cluster);
            if pending.is_none_or(|at| now.since(*at) >= PROPOSAL_PATIENCE) {
                self.proposed.insert(cluster.clone(), now);
                due.push(command);
            }
        }
        self.renewed.retain(|cluster, _| present.contains(cluster));
        self.proposed.retain(|cluster, _| present.contains(cluster));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn eu() -> ClusterName {
        "eu-west-1".parse().unwrap()
    }

    fn poll(table: &mut LeaseTable, now: u64, lapsed: Option<Index>) -> Vec<Command> {
        table.poll(at(now), [(&eu(), lapsed)].into_iter())
    }

    #[test]
    fn lapses_after_its_whole_length_and_returns_with_the_first_renewal() {
        let mut table = LeaseTable::default();
        table.begin(3, at(100));
        table.renew(eu(), at(101));
        assert_eq!(poll(&mut table, 110, None), []);
        assert_eq!(poll(&mut table, 111, None), [Command::LapseLease(eu())]);
        assert_eq!(poll(&mut table, 112, None), [], "proposed a second ago");
        assert_eq!(poll(&mut table, 114, None), [Command::LapseLease(eu())]);
        assert_eq!(poll(&mut table, 115, Some(Index(9))), []);
        table.renew(eu(), at(116));
        let lapsed = Some(Index(9));
        assert_eq!(poll(&mut table, 116, lapsed), [Command::ReturnLease(eu())]);
        assert_eq!(poll(&mut table, 117, None), []);
    }

    #[test]
    fn a_new_term_counts_from_its_beginning() {
        let mut table = LeaseTable::default();
        table.begin(3, at(0));
        table.renew(eu(), at(1));
        table.begin(4, at(100));
        assert_eq!(poll(&mut table, 109, None), []);
        table.begin(4, at(109));
        assert_eq!(poll(&mut table, 110, None), [Command::LapseLease(eu())]);
    }

    #[test]
    fn a_new_leader_returns_no_lease_that_it_has_not_seen_renewed() {
        let mut table = LeaseTable::default();
        table.begin(4, at(0));
        assert_eq!(poll(&mut table, 1, Some(Index(9))), []);
    }

    #[test]
    fn a_follower_proposes_nothing_and_keeps_nothing() {
        let mut table = LeaseTable::default();
        table.renew(eu(), at(0));
        assert_eq!(poll(&mut table, 60, None), []);
        table.begin(1, at(60));
        table.end();
        assert_eq!(poll(&mut table, 90, None), []);
    }

    #[test]
    fn a_silent_replica_knows_no_lease() {
        let silent = Duration::from_secs(11);
        assert_eq!(Lease::known(None, silent), Lease::Unknown);
        assert_eq!(Lease::known(Some(Index(1)), silent), Lease::Unknown);
        assert_eq!(Lease::known(None, Duration::ZERO), Lease::Held);
        assert_eq!(Lease::known(Some(Index(1)), Duration::ZERO), Lease::Lapsed);
    }
}
