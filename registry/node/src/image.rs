//! The applied state at an index: what a snapshot carries.

use std::collections::VecDeque;

use raft::eraftpb::ConfState;
use weft_model::{Federation, Index, NodeId};

/// The federation's state and what the registry itself remembers, at one index.
///
/// Two nodes with the same index and equal logs have equal images. Cloning is cheap.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// The last applied position; 0 before anything was applied.
    pub index: Index,
    /// The term of that entry.
    pub(crate) term: u64,
    /// The Raft group's configuration as of that position.
    pub(crate) conf: ConfState,
    /// The federation.
    pub state: Federation,
    /// The records that could not be read.
    pub unreadable: Unreadable,
    /// Where the group was last founded anew, after it lost its majority; 0 if it never was.
    pub recovered: Index,
}

impl Image {
    /// Whether the group counts this node, as a voter or a learner.
    pub(crate) fn counts(&self, node: NodeId) -> bool {
        let lists = [
            self.conf.get_voters(),
            self.conf.get_learners(),
            self.conf.get_voters_outgoing(),
            self.conf.get_learners_next(),
        ];
        lists.iter().any(|ids| ids.contains(&node.0))
    }

    /// Whether the group counts this node as a voter.
    pub(crate) fn votes(&self, node: NodeId) -> bool {
        let lists = [self.conf.get_voters(), self.conf.get_voters_outgoing()];
        lists.iter().any(|ids| ids.contains(&node.0))
    }
}

/// A committed record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it stands.
    pub index: Index,
    /// Why.
    pub reason: String,
}

/// The records that could not be read: all counted, the latest kept with their reasons.
///
/// An unreadable record changes nothing on a node that cannot read it. That
/// all nodes agree on what can be read is the format level's work (decision 0049).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// How many there were.
    pub count: u64,
    /// The latest, oldest first, at most [`QUARANTINED_MAX`].
    pub latest: VecDeque<Quarantined>,
}

/// How many unreadable records are kept with their reasons.
pub const QUARANTINED_MAX: usize = 64;

impl Unreadable {
    pub(crate) fn add(&mut self, record: Quarantined) {
        self.count += 1;
        self.latest.push_back(record);
        while self.latest.len() > QUARANTINED_MAX {
            self.latest.pop_front();
        }
    }
}
