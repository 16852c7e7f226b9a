//! A group that lost its majority for good is founded anew by one of its replicas.
//!
//! The new group has one voter and begins at a position that no old log has, in a term far above
//! the old ones. Every message says by which founding its sender goes, so that the two groups do
//! not mix: a replica of the old one takes nothing but the new state, and what only the old one
//! committed stays where it is, in a replica that keeps silent from then on.

use raft::StateRole;
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType};
use weft_model::{Index, NodeId};

use super::Driver;
use super::screen::{Suspicion, is_answer};
use crate::disk::{Batch, Compaction, Mark};
use crate::image::Image;

/// How far the new group's terms are above the old one's: by more than any group elects leaders
/// in its life, so that no two entries of one position and term differ.
pub(crate) const TERMS_AHEAD: u64 = 1 << 32;

/// A replica of a group that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outranked {
    /// It waits for the state of the group that was founded anew here.
    Behind(Index),
    /// Its log holds more than that group began with. It keeps silent for good, and its log and
    /// state are as they were.
    Ahead(Index),
}

impl Outranked {
    /// Where the new group begins.
    pub fn at(self) -> Index {
        match self {
            Self::Behind(at) | Self::Ahead(at) => at,
        }
    }
}

impl Driver {
    /// The founding that this node goes by, as far as it knows.
    fn founding(&self) -> Index {
        let heard = self.outranked.map(Outranked::at).unwrap_or_default();
        self.image().recovered.max(heard)
    }

    /// Whether the library may see a message whose sender goes by the founding at `recovered`.
    pub(super) fn admits(&mut self, from: NodeId, recovered: Index, message: &Message) -> bool {
        // A newcomer cannot tell who may found the group anew; the snapshot that it is sent says.
        if self.image().index.0 == 0 {
            return true;
        }
        if recovered > self.founding() {
            if !self.believes(from) {
                self.suspect(from, Suspicion::Recovery(recovered));
                return false;
            }
            self.give_way(recovered);
        }
        if recovered < self.founding() {
            // A former follower's answers: its log is not this group's yet.
            return is_answer(message) && self.outranked.is_none();
        }
        match self.outranked {
            None => true,
            Some(Outranked::Ahead(_)) => false,
            Some(Outranked::Behind(_)) => matches!(
                message.get_msg_type(),
                MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot
            ),
        }
    }

    /// Only clusters that are trusted with the log can found its group anew.
    fn believes(&self, from: NodeId) -> bool {
        self.image().state.may_vote(from)
    }

    /// This node's group was given up: it neither leads nor campaigns any more.
    fn give_way(&mut self, recovered: Index) {
        // Its last entries may have been acknowledged, though its disk need not know that.
        let last = self.raw.raft.raft_log.last_index();
        self.outranked = Some(match last >= recovered.0 {
            true => Outranked::Ahead(recovered),
            false => Outranked::Behind(recovered),
        });
        if self.raw.raft.state != StateRole::Follower {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
    }

    /// The new group's state is in place.
    pub(super) fn note_founding(&mut self) {
        let here = self.image().recovered;
        if self.outranked.is_some_and(|it| it.at() <= here) {
            self.outranked = None;
        }
    }

    /// Founds the group anew with this node as its only voter: all that its log holds counts as
    /// committed. The batch is to be written before any other; nothing has been said to anybody.
    pub(crate) fn found_anew(mut self) -> (Batch, Image) {
        let hard = self.raw.store().hard().clone();
        let at = Index(self.raw.raft.raft_log.last_index() + 1);
        let term = hard.term + TERMS_AHEAD;
        let first = Entry {
            index: at.0,
            term,
            ..Entry::default()
        };
        let previous = self.compacted;
        let store = self.raw.mut_store();
        let record = store.pass(&first);
        store.set_conf(ConfState::from((vec![self.settings.node.0], vec![])));
        store.set_recovered(at);
        let image = store.image().clone();
        self.history.note(&first, &record);
        let rows_bytes = self.history.close_segment();
        let (begin, rows) = self.history.take();
        let founded = HardState {
            term,
            commit: at.0,
            ..HardState::default()
        };
        let batch = Batch {
            number: 0,
            hard: founded,
            install: None,
            entries: Vec::new(),
            compaction: Some(Box::new(Compaction {
                image: image.clone(),
                through: (at.0, term),
                archived: (previous, rows_bytes),
                bounds: self.settings.history,
            })),
            begin,
            rows,
            // From here on its state is what the others' have to be.
            fence: self.fence.is_up().then_some(Mark::Lowered),
        };
        (batch, image)
    }
}
