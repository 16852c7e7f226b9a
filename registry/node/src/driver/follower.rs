//! A follower begins anew each time, with an empty log, while its leader counts on the old one.
//!
//! Raft takes it for granted that a log only grows. A node without a vote need not keep to that:
//! no quorum counts what it has. So a follower says where its log ends when its leader counts on
//! more, and the leader forgets what it had sent. For everybody else that is a lost log, and such
//! a node keeps out.

use std::collections::BTreeSet;

use raft::ProgressState;
use raft::eraftpb::{Message, MessageType};
use weft_model::{GatewayRole, NodeId};

use super::screen::claims_vote;
use super::{Driver, INFLIGHT_MAX};
#[cfg(feature = "bugs")]
use crate::members::MemberChange;

/// What a node knows as one without a vote or a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Following {
    /// Who may tell it of the federation while it knows nothing: gateways of clusters that vote.
    pub heeds: BTreeSet<NodeId>,
}

impl Driver {
    /// Whether a follower must not listen: it has no vote to give, and while it knows nothing
    /// anybody could make it a federation, each time it starts.
    pub(super) fn must_not_heed(&self, from: NodeId, message: &Message) -> bool {
        let Some(following) = &self.settings.following else {
            return false;
        };
        let of_votes = matches!(
            message.get_msg_type(),
            MessageType::MsgRequestVote
                | MessageType::MsgRequestPreVote
                | MessageType::MsgTimeoutNow
        );
        let knows_nothing = self.image().index.0 == 0;
        let stranger = knows_nothing && !following.heeds.contains(&from);
        of_votes || (stranger && claims_vote(&self.raw, message))
    }

    pub(super) fn heed(&mut self, nodes: BTreeSet<NodeId>) {
        if let Some(following) = &mut self.settings.following {
            following.heeds = nodes;
        }
    }

    /// Answers a heartbeat that goes beyond this follower's log, which ends at `last`, and cuts
    /// it down to that: the library would take the rest for there.
    pub(super) fn say_where_it_ends(&mut self, heartbeat: &mut Message, last: u64) {
        let mut answer = Message {
            to: heartbeat.from,
            from: self.settings.node.0,
            term: heartbeat.term,
            index: heartbeat.commit,
            reject: true,
            reject_hint: last,
            ..Message::default()
        };
        answer.set_msg_type(MessageType::MsgAppendResponse);
        heartbeat.commit = last;
        self.send(vec![answer]);
    }

    /// As its leader: forgets what a follower had, if it says that its log ends before that. The
    /// library would take its word for an old one. Says whether it did.
    ///
    /// Late answers from before the restart may make it believe again in what is gone; the next
    /// heartbeat then goes beyond the follower's log, and is answered as the first one was.
    pub(super) fn begins_anew(&mut self, from: NodeId, message: &Message) -> bool {
        let rejects = message.get_msg_type() == MessageType::MsgAppendResponse
            && message.reject
            && message.request_snapshot == raft::INVALID_INDEX;
        let now = self.is_leader() && message.term == self.raw.raft.term;
        if !rejects || !now || !self.may_forget(from) {
            return false;
        }
        let Some(progress) = self.raw.raft.mut_prs().get_mut(from.0) else {
            return false;
        };
        // While a snapshot is under way, its patience says when the next one goes out.
        if message.reject_hint >= progress.matched || progress.state == ProgressState::Snapshot {
            return false;
        }
        *progress = raft::Progress::new(message.reject_hint + 1, INFLIGHT_MAX);
        // It was heard just now, which a snapshot asks for.
        progress.recent_active = true;
        self.raw.raft.send_append(from.0);
        true
    }

    /// Only what nobody's quorum counts may be forgotten.
    fn may_forget(&self, node: NodeId) -> bool {
        let votes = self.raw.raft.prs().conf().voters().contains(node.0);
        let record = self.image().state.node(node);
        !votes && record.is_some_and(|it| it.gateway.role == GatewayRole::Follower)
    }

    /// A vote for a follower, for the simulation to catch.
    #[cfg(feature = "bugs")]
    pub(super) fn misplan(&self) -> Option<MemberChange> {
        let learners = self.image().conf.get_learners().iter().copied().map(NodeId);
        let promote: Vec<NodeId> = learners.filter(|node| self.may_forget(*node)).collect();
        let plants = self.settings.bug == Some(super::Bug::VotingFollower) && !promote.is_empty();
        plants.then(|| MemberChange::Voters {
            promote,
            demote: Vec::new(),
        })
    }
}
