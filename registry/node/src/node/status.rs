//! Plain numbers for operators and metrics.

use std::time::Duration;

use weft_model::{Index, NodeId};

use crate::agreement::Agreement;
use crate::disk::Room;
use crate::driver::RaftStatus;

/// A registry node in numbers. Counters count from its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Its part in the group.
    pub raft: RaftStatus,
    /// Whether the group no longer counts it.
    pub removed: bool,
    /// The length of a tick now.
    pub tick: Duration,
    /// Its disk.
    pub disk: DiskStatus,
    /// What it did.
    pub counters: Counters,
    /// Proposals that wait for their answer here.
    pub waiting: usize,
    /// Whether its state is the others'.
    pub agreement: Standing,
}

/// Where a replica stands among the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What the last comparison said; none before the first.
    pub last: Option<Agreement>,
    /// Set while this replica is fenced: a majority had another state, at this position.
    pub fenced: Option<Index>,
    /// Whether it waits for the leader's state to take the place of its own.
    pub repairing: bool,
    /// Other replicas that said at the last comparison that they are fenced.
    pub fenced_peers: Vec<NodeId>,
}

/// Writes to the log's disk, each made durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskStatus {
    /// Transactions.
    pub writes: u64,
    /// Entries in them.
    pub entries: u64,
    /// How long all of them took.
    pub total: Duration,
    /// How long the last took.
    pub last: Duration,
    /// How long the slowest took.
    pub slowest: Duration,
    /// The room it has left.
    pub room: Room,
}

impl DiskStatus {
    pub(super) fn count(&mut self, entries: usize, took: Duration) {
        self.writes += 1;
        self.entries += entries as u64;
        self.total += took;
        self.last = took;
        self.slowest = self.slowest.max(took);
    }
}

/// What a node did since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Proposals made here.
    pub proposed: u64,
    /// Times one of them was sent again.
    pub retried: u64,
    /// Proposals that others forwarded here.
    pub forwarded: u64,
    /// Proposals that ran out of time.
    pub timed_out: u64,
    /// Linearizable reads.
    pub reads: u64,
    /// Records applied.
    pub applied: u64,
    /// Records refused.
    pub refused: u64,
    /// Times a snapshot took the place of the state.
    pub installed: u64,
    /// Times the leader changed, or was lost.
    pub leader_changes: u64,
    /// Peers' messages that no correct peer sends.
    pub suspect: u64,
}
