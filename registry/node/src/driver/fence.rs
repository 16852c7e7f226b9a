//! A replica whose state is not the others' keeps out of the consensus.
//!
//! It takes no proposals, hands leadership over, and then says and hears nothing: it neither votes
//! nor acknowledges, and its state stays as it is. A repair lets it hear again, and asks the
//! leader for a snapshot, which replaces the state; its log and its votes were never in doubt. The
//! fence is on the disk, since whoever restarts a replica has not repaired it.

use raft::StateRole;
use raft::eraftpb::Message;
use weft_model::{Index, NodeId};

use super::Driver;

/// The fence of one replica, as it stands.
#[derive(Debug, Default)]
pub(super) struct Fence {
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Down,
    /// Fenced: a majority had another state at `at`. `left` ticks are left to hand leadership over in.
    Up { at: Index, left: u32 },
    /// Waits for the leader's snapshot.
    Repairing { at: Index },
}

/// Ticks that a leader has to hand over in; then it falls silent, and the others elect another.
const HANDOVER_TICKS: u32 = 40;

impl Fence {
    /// As the disk had it.
    pub(super) fn open(raised: Option<Index>) -> Self {
        let state = match raised {
            Some(at) => State::Up { at, left: 0 },
            None => State::Down,
        };
        Self { state }
    }

    pub(super) fn is_up(&self) -> bool {
        self.raised().is_some()
    }

    fn raised(&self) -> Option<Index> {
        match self.state {
            State::Down => None,
            State::Up { at, .. } | State::Repairing { at } => Some(at),
        }
    }
}

impl Driver {
    /// Set while this replica is fenced: a majority had another state, at this position.
    pub fn fenced(&self) -> Option<Index> {
        self.fence.raised()
    }

    /// Whether it waits for the leader's state to take the place of its own.
    pub fn is_repairing(&self) -> bool {
        matches!(self.fence.state, State::Repairing { .. })
    }

    /// Fences this replica, whose state at `at` is not the others'.
    pub(super) fn raise_fence(&mut self, at: Index) {
        // A state that another is about to take the place of is nobody's any more.
        if self.fence.is_up() || self.is_installing() {
            return;
        }
        let left = HANDOVER_TICKS;
        self.fence.state = State::Up { at, left };
        self.write_fence(at);
    }

    /// Whether this node keeps silent: at once, but for a leader, which hands over first.
    pub(super) fn is_silent(&self) -> bool {
        let leads = self.raw.raft.state == StateRole::Leader;
        match self.fence.state {
            State::Up { left, .. } if leads && left > 0 => false,
            State::Up { .. } => true,
            State::Down | State::Repairing { .. } => false,
        }
    }

    /// A leader's fence comes closer, a tick at a time.
    pub(super) fn count_fence(&mut self) {
        if let State::Up { left, .. } = &mut self.fence.state {
            *left = left.saturating_sub(1);
        }
    }

    /// Hears again, and asks for the leader's state, now and with each tick until it comes.
    pub(super) fn repair(&mut self) {
        if let Some(at) = self.fence.raised() {
            self.fence.state = State::Repairing { at };
        }
    }

    pub(super) fn ask_for_repair(&mut self) {
        let follows = self.raw.raft.state == StateRole::Follower;
        // Once more while it is put in place would be once too often: nothing else is heard meanwhile.
        if self.is_repairing() && follows && !self.is_installing() {
            // Refused while no leader is known, and while it is asked for already: the next tick asks again.
            let _ = self.raw.request_snapshot();
        }
    }

    /// Whether a peer asks for this node's state though it was sent it just now. The library would
    /// send that peer nothing else until it may have it again; the peer asks again if it has to.
    pub(super) fn asks_too_soon(&self, from: NodeId, message: &Message) -> bool {
        message.request_snapshot != raft::INVALID_INDEX
            && !self.raw.store().may_send_snapshot(from.0)
    }

    /// The leader's state is in place. Whether this replica was fenced.
    pub(super) fn lower_fence(&mut self) -> bool {
        self.checkpoints.clear();
        std::mem::take(&mut self.fence).is_up()
    }
}
