//! What a driver is told.

use std::collections::BTreeSet;

use weft_model::{Index, NodeId, WallTime};
use weft_proto::peer::RaftMessage;

use super::follower::Following;
use crate::disk::{Bounds, Space};
use crate::proposal::Proposal;

/// What stays the same while a driver runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node.
    pub node: NodeId,
    /// Random per start.
    pub run: u64,
    /// Ticks between a leader's heartbeats. Lower finds losses sooner and talks more.
    pub heartbeat_ticks: usize,
    /// A follower waits this many ticks, and up to as many again, before it campaigns.
    pub election_ticks: usize,
    /// Applied entries between two snapshots. Lower starts faster and writes more.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot, so that slow followers need not load it.
    pub tail_entries: u64,
    /// What history may take.
    pub history: Bounds,
    /// Set for a node without a vote or a disk.
    pub following: Option<Following>,
    /// The fault to have, for the simulation to catch.
    #[cfg(feature = "bugs")]
    pub bug: Option<Bug>,
}

impl Settings {
    /// The defaults: heartbeat 2 ticks, election 10 to 20, a snapshot every 10,000 entries with a tail of 1,000.
    pub fn new(node: NodeId, run: u64) -> Self {
        Self {
            node,
            run,
            heartbeat_ticks: 2,
            election_ticks: 10,
            snapshot_entries: 10_000,
            tail_entries: 1_000,
            history: Bounds::default(),
            following: None,
            #[cfg(feature = "bugs")]
            bug: None,
        }
    }
}

/// A deliberate fault.
#[cfg(feature = "bugs")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A batch counts as safe before the disk has it.
    PersistedTooSoon,
    /// Votes and acknowledgements leave before the disk has what they promise.
    SpeakTooSoon,
    /// The vote is not written.
    ForgetVote,
    /// A retried request is applied again.
    ApplyTwice,
    /// A linearizable read is answered without asking a quorum.
    ReadWithoutQuorum,
    /// A write counts as durable without a sync.
    SkipSync,
    /// The log and what is known of it are written one after the other.
    SplitTransaction,
    /// A watcher that comes from history to the ring skips a position.
    SkipsAtSeam,
    /// A leader gives a follower a vote.
    VotingFollower,
}

/// Tells one read of this start from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(pub u64);

/// What happened.
#[expect(
    clippy::large_enum_variant,
    reason = "a message is the common case, and is moved once"
)]
#[derive(Debug, Clone)]
pub enum Input {
    /// A tick of the monotonic clock passed.
    Tick,
    /// A message came in, from a peer whose identity the transport has proved.
    Message {
        /// The peer.
        from: NodeId,
        /// The message.
        message: RaftMessage,
    },
    /// Somebody proposes. Only a leader takes it, and only what every member can read.
    Propose {
        /// The signed entry.
        proposal: Proposal,
        /// The stamp it gets.
        now: WallTime,
    },
    /// Somebody wants to read what is committed now. May be lost; ask again with a new id.
    Read {
        /// The id that the answer carries.
        read: ReadId,
    },
    /// The disk has this batch and all before it.
    Persisted {
        /// Its number.
        batch: u64,
    },
    /// The room on this node's disk has changed. With less than enough, a node takes no
    /// proposal and is no good leader; with none, its writes take until there is some.
    Space(Space),
    /// The state here is not the others': take part no more.
    Fence {
        /// Where a majority had another one.
        at: Index,
    },
    /// Take part again, with the leader's state in place of this one.
    Repair,
    /// While this follower knows nothing, it takes a state from these alone.
    Heed(BTreeSet<NodeId>),
    /// Leadership should go to this voter.
    Transfer {
        /// The voter.
        to: NodeId,
    },
}
