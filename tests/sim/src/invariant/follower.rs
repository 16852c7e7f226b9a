//! A follower never leads nor asks to, says nothing that only voters say, and is in nobody's majority.
//!
//! That it shows what the others show at the same position is checked as for them, and that it is
//! not behind for good in the end.

use weft_model::NodeId;
use weft_proto::peer::RaftMessage;
use weft_registry::driver::{Leadership, RaftStatus, Role};

#[derive(Debug, Default)]
pub(crate) struct Follower {
    node: Option<NodeId>,
}

/// What a node without a vote may say, by Raft's numbers for kinds of messages: how far its log
/// goes, that it hears its leader, and what it wants to read.
const MAY_SAY: [u32; 3] = [APPEND_ANSWER, HEARTBEAT_ANSWER, READ];
const APPEND_ANSWER: u32 = 4;
const HEARTBEAT_ANSWER: u32 = 9;
const READ: u32 = 15;

impl Follower {
    pub(crate) fn begin(&mut self, node: NodeId) {
        self.node = Some(node);
    }

    /// What a node says.
    pub(crate) fn says(&self, node: NodeId, messages: &[RaftMessage]) -> Result<(), String> {
        let of_voters = |message: &&RaftMessage| !MAY_SAY.contains(&message.r#type);
        match messages.iter().find(of_voters) {
            Some(message) if self.node == Some(node) => {
                Err(format!("node {node} has no vote, and says {message:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The part that a node takes itself to have.
    pub(crate) fn leads(&self, node: NodeId, leadership: Leadership) -> Result<(), String> {
        match leadership.role {
            Role::Candidate | Role::Leader if self.node == Some(node) => {
                Err(format!("node {node} has no vote, and is {leadership:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The group, as a node sees it.
    pub(crate) fn check(&self, status: &RaftStatus) -> Result<(), String> {
        match self.node.filter(|node| status.voters.contains(node)) {
            Some(node) => Err(format!(
                "node {node} follows, and counts as a voter at {}, as node {} sees it",
                status.applied, status.node
            )),
            None => Ok(()),
        }
    }
}
