//! How a registry node is to run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use weft_model::{FederationDomain, NodeId};

use crate::disk::{Bounds, Folder};
use crate::proposal::Proposal;

/// How a node comes by its state.
#[derive(Debug, Clone)]
pub enum Start {
    /// It founds a federation: the signed first entry. The folder must hold no state.
    Found(Proposal),
    /// It joins one as the node the log named for it, and waits for the leader. The folder must hold no state.
    Join {
        /// Its id.
        node: NodeId,
        /// The federation it joins.
        domain: FederationDomain,
    },
    /// It follows the log as a node without a vote, and keeps it in memory: each start is its first.
    Follow {
        /// Its id.
        node: NodeId,
        /// The federation it belongs to.
        domain: FederationDomain,
        /// Who may tell it of the federation: gateways of clusters that vote.
        heeds: BTreeSet<NodeId>,
    },
    /// It goes on from its folder; whose it must be, if that is known from elsewhere.
    Resume(Option<Folder>),
}

/// How a registry node runs.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Where the state is kept, unless it follows.
    pub dir: PathBuf,
    /// How the node comes by it.
    pub start: Start,
    /// How long a proposal is retried. Default 10 s. Longer rides out longer elections; callers wait longer for bad news.
    pub propose_timeout: Duration,
    /// How long a linearizable read is retried. Default 5 s.
    pub read_timeout: Duration,
    /// Applied entries between two snapshots. Default 10,000. Lower starts faster and writes more.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot. Default 1,000. Higher spares slow followers a snapshot, and takes memory.
    pub tail_entries: u64,
    /// Entries kept in memory for watchers; those before are read from history. Default 2,000. Higher takes memory.
    pub watch_changes: usize,
    /// How often replicas compare their states. Default 10 s. Lower finds a difference sooner, and computes more digests.
    pub compare_every: Duration,
    /// What history on disk may take. Default 100,000 entries, 128 MiB. Higher lets watchers and `--as-of` go back further.
    pub history: Bounds,
    /// How long the leader had been silent before this start, if the folder was used before. Default 0. Only what is told of its age rests on it.
    pub silent_before: Duration,
}

impl RegistryConfig {
    /// The defaults.
    pub fn new(dir: impl Into<PathBuf>, start: Start) -> Self {
        Self {
            dir: dir.into(),
            start,
            propose_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(5),
            snapshot_entries: 10_000,
            tail_entries: 1_000,
            watch_changes: 2_000,
            compare_every: Duration::from_secs(10),
            history: Bounds::default(),
            silent_before: Duration::ZERO,
        }
    }
}

/// Ticks are half of the longest round trip between voters, within these bounds.
///
/// A leader is heard every 2 ticks, and followers wait 10 to 20 before they
/// campaign: 0.5 to 1 s on a LAN and up to 100 ms of round trip, 2 to 4 s from
/// 400 ms on. The upper bound is four times the lower one, so that a leader
/// with far voters (a heartbeat every 400 ms) still reaches a follower that
/// has only near ones (500 ms) in time.
pub(super) fn tick_for(rtt: Duration) -> Duration {
    (rtt / 2).clamp(TICK_MIN, TICK_MAX)
}

pub(super) const TICK_MIN: Duration = Duration::from_millis(50);
pub(super) const TICK_MAX: Duration = Duration::from_millis(200);
