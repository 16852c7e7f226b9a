//! What a driver wants done, and what it reports.

use std::collections::BTreeMap;

use raft::{RawNode, StateRole};
use weft_model::{Index, NodeId, RequestId};
use weft_proto::peer::RaftMessage;

use super::input::ReadId;
use super::recovery::Outranked;
use super::screen::Suspicion;
use crate::disk::Batch;
use crate::image::Quarantined;
use crate::members::Progress;
use crate::replica::{Record, Replica};

/// What is to be done, in this order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send these to a peer; they may be lost.
    Send(NodeId, Vec<RaftMessage>),
    /// Write this, then say [`super::Input::Persisted`]. A failed write ends the node.
    Persist(Batch),
    /// A committed record was applied.
    Applied(Record),
    /// The state is a leader's snapshot now; watchers before it have a gap.
    Installed {
        /// Its position.
        index: Index,
        /// Whether this replica was fenced until then.
        was_fenced: bool,
    },
    /// A read may be answered from the applied state. May come twice.
    ReadReady {
        /// Which.
        read: ReadId,
        /// What was committed when it was asked, and is applied now.
        index: Index,
    },
    /// A proposal was not taken: this node does not lead, or is handing over, or is swamped, or
    /// [`super::Driver::foresees`] that some replica could not read it.
    Declined {
        /// Which.
        request: RequestId,
    },
    /// Who leads has changed.
    Leadership(Leadership),
    /// The group's configuration has changed.
    MembersChanged,
    /// This node is no longer in the configuration.
    Removed,
    /// A peer's message was dropped: no correct peer sends it.
    Suspect {
        /// The peer.
        from: NodeId,
        /// What is wrong with it.
        suspicion: Suspicion,
    },
}

/// A node's part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks for votes, or whether asking would make sense.
    Candidate,
    /// Leads.
    Leader,
}

/// Who leads, as one node knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader; none while there is none.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// This node's part.
    pub role: Role,
}

/// A node's view of the group, in plain numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaftStatus {
    /// This node.
    pub node: NodeId,
    /// Who leads, and this node's part.
    pub leadership: Leadership,
    /// The voters.
    pub voters: Vec<NodeId>,
    /// The replicas without a vote.
    pub learners: Vec<NodeId>,
    /// The last committed position known here.
    pub commit: Index,
    /// The last applied position.
    pub applied: Index,
    /// The first position kept in the log.
    pub first: Index,
    /// The last position in the log.
    pub last: Index,
    /// Batches on their way to the disk.
    pub unpersisted: usize,
    /// Records that could not be read.
    pub quarantined: u64,
    /// The last of them.
    pub unread: Option<Quarantined>,
    /// Where the group was last founded anew; 0 if it never was.
    pub recovered: Index,
    /// Set while this node's group has been given up for another.
    pub outranked: Option<Outranked>,
    /// Per follower how far it has come; only on the leader.
    pub progress: BTreeMap<NodeId, Progress>,
}

pub(super) fn leadership(raw: &RawNode<Replica>) -> Leadership {
    let raft = &raw.raft;
    Leadership {
        leader: (raft.leader_id != raft::INVALID_ID).then_some(NodeId(raft.leader_id)),
        term: raft.term,
        role: match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate | StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        },
    }
}

pub(super) fn progress(raw: &RawNode<Replica>) -> BTreeMap<NodeId, Progress> {
    if raw.raft.state != StateRole::Leader {
        return BTreeMap::new();
    }
    let commit = raw.raft.raft_log.committed;
    let progress = |(id, progress): (&u64, &raft::Progress)| {
        let behind = commit.saturating_sub(progress.matched);
        // The library counts a newcomer as active before anybody has heard of it.
        let heard = progress.recent_active && progress.matched > 0;
        let active = heard || *id == raw.raft.id;
        (NodeId(*id), Progress { behind, active })
    };
    raw.raft.prs().iter().map(progress).collect()
}

pub(super) fn status(
    raw: &RawNode<Replica>,
    leadership: Leadership,
    unpersisted: usize,
    outranked: Option<Outranked>,
) -> RaftStatus {
    let image = raw.store().image();
    let ids = |ids: &[u64]| {
        let mut ids: Vec<NodeId> = ids.iter().copied().map(NodeId).collect();
        ids.sort_unstable();
        ids
    };
    let log = &raw.raft.raft_log;
    RaftStatus {
        node: NodeId(raw.raft.id),
        leadership,
        voters: ids(image.conf.get_voters()),
        learners: ids(image.conf.get_learners()),
        commit: Index(log.committed),
        applied: image.index,
        first: Index(log.first_index()),
        last: Index(log.last_index()),
        unpersisted,
        quarantined: image.unreadable.count,
        unread: image.unreadable.latest.back().cloned(),
        recovered: image.recovered,
        outranked,
        progress: progress(raw),
    }
}
