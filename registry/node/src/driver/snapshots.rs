//! Snapshots on their way to followers.
//!
//! While one is under way the consensus library sends that follower nothing
//! else and waits to be told how it ended. The network may lose it without a
//! word, so a snapshot that has not shown effect after a while counts as lost
//! and is sent again. The while doubles each time: a large snapshot on a
//! narrow path needs longer than a lost one deserves.

use std::collections::BTreeMap;

use raft::{ProgressState, RawNode, SnapshotStatus, StateRole};

use crate::replica::Replica;

#[derive(Debug)]
pub(super) struct Snapshots {
    patience_min: u32,
    under_way: BTreeMap<u64, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    /// Ticks until it counts as lost.
    left: u32,
    /// What the next one gets.
    patience: u32,
}

/// Doublings of the shortest patience, which is two election timeouts: 20 ticks to 640.
const DOUBLINGS: u32 = 5;

impl Snapshots {
    pub(super) fn new(election_ticks: usize) -> Self {
        Self {
            patience_min: u32::try_from(election_ticks * 2).unwrap_or(u32::MAX),
            under_way: BTreeMap::new(),
        }
    }

    pub(super) fn tick(&mut self, raw: &mut RawNode<Replica>) {
        if raw.raft.state != StateRole::Leader {
            self.under_way.clear();
            return;
        }
        let mut lost = Vec::new();
        for (node, progress) in raw.raft.prs().iter() {
            match progress.state {
                ProgressState::Snapshot => lost.extend(self.count(*node)),
                ProgressState::Replicate => {
                    self.under_way.remove(node);
                }
                // Between a loss and the next attempt.
                ProgressState::Probe => {}
            }
        }
        // The library's own order is that of a hash map.
        lost.sort_unstable();
        for node in lost {
            raw.report_snapshot(node, SnapshotStatus::Failure);
        }
    }

    /// Counts a tick; the node, if its snapshot counts as lost now.
    fn count(&mut self, node: u64) -> Option<u64> {
        let patience = self.patience_min;
        let under_way = self.under_way.entry(node).or_insert(UnderWay {
            left: patience,
            patience,
        });
        under_way.left = under_way.left.saturating_sub(1);
        if under_way.left > 0 {
            return None;
        }
        let longest = self.patience_min << DOUBLINGS;
        under_way.patience = (under_way.patience * 2).min(longest);
        under_way.left = under_way.patience;
        Some(node)
    }
}
