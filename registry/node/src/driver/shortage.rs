//! What a node does while its disk is short of room.
//!
//! It takes no proposals and plans nothing; as a leader it hands over to a voter
//! with a better disk, and as a candidate it asks with a lower priority. What
//! others commit it goes on writing for as long as the disk lets it.

use raft::eraftpb::{Message, MessageType};
use weft_model::NodeId;

use super::Driver;
use super::output;
use crate::disk::Space;

/// The state of the disk, and of the attempts to be rid of the leadership.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    space: Space,
    /// Ticks until the next attempt.
    pause: usize,
    /// Attempts since the shortage began: each asks another voter.
    attempts: usize,
}

/// Below the others' 0: voters refuse such a candidate unless it knows more than they do.
const PRIORITY_SHORT: i64 = -1;
/// Entries that wait for the disk, in bytes, beyond which more are not taken: the leader keeps them.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

impl Shortage {
    pub(super) fn is_on(&self) -> bool {
        self.space != Space::Enough
    }
}

impl Driver {
    pub(super) fn handle_space(&mut self, space: Space) {
        if space == Space::Enough {
            self.shortage = Shortage::default();
        }
        self.shortage.space = space;
        self.raw.raft.set_priority(match space {
            Space::Enough => 0,
            Space::Low | Space::Full => PRIORITY_SHORT,
        });
    }

    /// Whether a message brings more to write than the disk keeps up with. To drop it is to lose
    /// it on the way: the leader sends it again.
    pub(super) fn is_swamped_by(&self, message: &Message) -> bool {
        let brings = match message.get_msg_type() {
            MessageType::MsgAppend => !message.get_entries().is_empty(),
            MessageType::MsgSnapshot => true,
            _ => false,
        };
        let waiting = || {
            self.unpersisted
                .iter()
                .map(|batch| batch.bytes)
                .sum::<usize>()
        };
        brings && waiting() > WAITING_BYTES_MAX
    }

    /// A leader without room asks one voter after the other to take over.
    pub(super) fn hand_over_for_want_of_room(&mut self) {
        if self.shortage.pause > 0 {
            self.shortage.pause -= 1;
            return;
        }
        // As long as the library gives a transfer, and once more for what follows.
        self.shortage.pause = 2 * self.settings.election_ticks;
        let heirs = self.heirs();
        if let Some(heir) = heirs.get(self.shortage.attempts % heirs.len().max(1)) {
            self.shortage.attempts += 1;
            self.raw.transfer_leader(heir.0);
        }
    }

    /// Voters that could take over, the one that is furthest first.
    fn heirs(&self) -> Vec<NodeId> {
        let conf = &self.image().conf;
        if !conf.get_voters_outgoing().is_empty() {
            return Vec::new();
        }
        let progress = output::progress(&self.raw);
        let voters = conf.get_voters().iter().copied().map(NodeId);
        let mut heirs: Vec<(u64, NodeId)> = voters
            .filter(|voter| *voter != self.settings.node)
            .filter_map(|voter| {
                let progress = progress.get(&voter).filter(|progress| progress.active)?;
                Some((progress.behind, voter))
            })
            .collect();
        heirs.sort_unstable();
        // A node whose disk is full cannot vote: without it the others must be a majority.
        let majority = conf.get_voters().len() / 2 + 1;
        if self.shortage.space == Space::Full && heirs.len() < majority {
            return Vec::new();
        }
        heirs.into_iter().map(|(_, voter)| voter).collect()
    }
}
