//! Messages that no correct peer sends.
//!
//! The consensus library trusts its peers and panics where they break its
//! rules. What comes over the network is data: here it is checked against this
//! node's log first, and what could not come from a correct peer is dropped
//! and reported. It does not make Raft Byzantine-proof: a voter can still lie
//! about what it voted and stored, which is why voters are chosen.

use raft::eraftpb::{Message, MessageType, Snapshot};
use raft::{RawNode, StateRole};
use weft_model::{Index, NodeId};

use crate::bounds::{NUMBER_MAX, is_possible};
use crate::image::Image;
use crate::replica::Replica;
use crate::wire::{ENTRY_BYTES_MAX, WireError};

/// Why a peer's message was dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Suspicion {
    /// It cannot be read.
    #[error("unreadable: {0}")]
    Unreadable(WireError),
    /// It names another sender than the one it came from, or another receiver.
    #[error("it says from {said} to {to}")]
    Address {
        /// The sender it names.
        said: u64,
        /// The receiver it names.
        to: u64,
    },
    /// Its sender was removed from the federation; node ids are not used twice.
    #[error("its sender was removed from the federation")]
    RemovedSender,
    /// It says that the group was founded anew, and its sender's cluster is not trusted with the log.
    #[error("it says that the group was founded anew at {0}, which its sender may not")]
    Recovery(Index),
    /// A number is beyond what any federation reaches.
    #[error("a term or position of {0}")]
    Range(u64),
    /// Its entries do not follow one another, or one is too large.
    #[error("entry {0} is out of order or too large")]
    Entry(u64),
    /// It says that this node has stored what it has not: this node's state was lost or replaced.
    #[error("the leader counts on entry {counted}, this node's log ends at {last}")]
    LostLog {
        /// What the leader takes this node to have.
        counted: u64,
        /// What it has.
        last: u64,
    },
    /// It contradicts what is committed here.
    #[error("it contradicts the committed log at {0}")]
    Contradiction(u64),
    /// A snapshot's configuration is impossible.
    #[error("the snapshot's configuration is impossible")]
    Configuration,
    /// A read without exactly one short context, or with a term, which reads have none of.
    #[error("a read without a context, or with a term")]
    Read,
    /// It leads or asks for votes, or knows of a later term, and its cluster has no vote to give;
    /// or this node has none.
    #[error("it speaks as a leader or a candidate, and has no vote, or asks one that has none")]
    NoVote,
    /// It hands leadership over, and does not lead.
    #[error("it hands over what it does not have")]
    NotLeader,
    /// Its kind needs a term and it has none.
    #[error("it has no term")]
    NoTerm,
}

/// A read's context, in bytes; weft's own have 24.
const CONTEXT_BYTES_MAX: usize = 64;

/// What a node may take for granted of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearings {
    /// It hears a leader, or did lately: who votes is as its state says.
    Known,
    /// It has heard none for so long that the group may have changed without it.
    Lost,
}

pub(super) fn screen(
    raw: &RawNode<Replica>,
    node: NodeId,
    from: NodeId,
    message: &Message,
    bearings: Bearings,
) -> Result<(), Suspicion> {
    // A former leader passes a read on to the next one in the asker's name, which
    // may be this node's. The answer goes to the asker, who knows by the context
    // whether it asked.
    let passed_on = message.get_msg_type() == MessageType::MsgReadIndex;
    let named = message.from == from.0 || (passed_on && message.from != 0);
    if !named || message.to != node.0 || from == node {
        return Err(Suspicion::Address {
            said: message.from,
            to: message.to,
        });
    }
    if was_removed(raw.store().image(), from) {
        return Err(Suspicion::RemovedSender);
    }
    numbers(message)?;
    if bearings == Bearings::Known && claims_vote(raw, message) && is_voteless(raw, from) {
        return Err(Suspicion::NoVote);
    }
    match message.get_msg_type() {
        MessageType::MsgReadIndex if message.term != 0 => Err(Suspicion::Read),
        MessageType::MsgReadIndex => read(message),
        // Without a term the library would take it for one of its own.
        _ if message.term == 0 => Err(Suspicion::NoTerm),
        MessageType::MsgReadIndexResp => read(message),
        MessageType::MsgAppend => append(raw, message),
        MessageType::MsgHeartbeat => heartbeat(raw, message),
        MessageType::MsgTimeoutNow => timeout_now(raw, message),
        MessageType::MsgSnapshot => snapshot(message.get_snapshot()),
        MessageType::MsgAppendResponse => append_response(raw, message),
        _ => Ok(()),
    }
}

/// A node that the log once named and no longer does. Ids are given out in
/// order and never again, so one below a known one that is itself unknown is
/// gone for good, however old this node's state is. As long as the group still
/// counts it, it may be needed to commit that it is not.
fn was_removed(image: &Image, node: NodeId) -> bool {
    let newest = image.state.nodes().map(|(id, _)| id).max();
    let gone = image.state.node(node).is_none() && newest.is_some_and(|newest| node < newest);
    gone && !image.counts(node)
}

/// Only leaders and candidates say this; or it is of a later term, to which this node would yield.
pub(super) fn claims_vote(raw: &RawNode<Replica>, message: &Message) -> bool {
    let of_voters = matches!(
        message.get_msg_type(),
        MessageType::MsgAppend
            | MessageType::MsgHeartbeat
            | MessageType::MsgSnapshot
            | MessageType::MsgTimeoutNow
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestPreVote
    );
    of_voters || message.term > raw.raft.term
}

/// Said to a leader by whoever hears it, also to one that another has replaced.
pub(super) fn is_answer(message: &Message) -> bool {
    matches!(
        message.get_msg_type(),
        MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
    )
}

/// A follower, or a gateway of a cluster whose role is `member`, unless the group still counts it
/// as a voter. Of a node that this state does not know, nothing is known.
fn is_voteless(raw: &RawNode<Replica>, node: NodeId) -> bool {
    let image = raw.store().image();
    image.state.node(node).is_some() && !image.state.may_vote(node) && !image.votes(node)
}

/// Who is told to campaign at once forces an election: only its leader may say so. Whether the sender
/// leads this term, a node that knows no leader of it cannot tell: it may have given its own up too
/// soon. That is no reason for suspicion, nor for an election (`follows_nobody`).
fn timeout_now(raw: &RawNode<Replica>, message: &Message) -> Result<(), Suspicion> {
    let raft = &raw.raft;
    let unsure = message.term == raft.term && follows_nobody(raw);
    match message.term < raft.term || message.from == raft.leader_id || unsure {
        true => Ok(()),
        false => Err(Suspicion::NotLeader),
    }
}

/// Whether this node knows of no leader in its term.
pub(super) fn follows_nobody(raw: &RawNode<Replica>) -> bool {
    raw.raft.leader_id == raft::INVALID_ID
}

fn numbers(message: &Message) -> Result<(), Suspicion> {
    let metadata = message.get_snapshot().get_metadata();
    let numbers = [
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.request_snapshot,
        message.reject_hint,
        metadata.index,
        metadata.term,
    ];
    match numbers.into_iter().find(|number| *number >= NUMBER_MAX) {
        Some(number) => Err(Suspicion::Range(number)),
        None => Ok(()),
    }
}

fn read(message: &Message) -> Result<(), Suspicion> {
    match message.get_entries() {
        [entry] if !entry.data.is_empty() && entry.data.len() <= CONTEXT_BYTES_MAX => Ok(()),
        _ => Err(Suspicion::Read),
    }
}

/// Entries follow `index` one by one, terms never fall, and nothing disagrees with what is committed.
fn append(raw: &RawNode<Replica>, message: &Message) -> Result<(), Suspicion> {
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in message.get_entries() {
        let follows = entry.index == index + 1 && entry.term >= term && entry.term <= message.term;
        if !follows || entry.data.len() > ENTRY_BYTES_MAX || !entry.context.is_empty() {
            return Err(Suspicion::Entry(entry.index));
        }
        (index, term) = (entry.index, entry.term);
    }
    let log = &raw.raft.raft_log;
    if message.term < raw.raft.term || message.index < log.committed {
        return Ok(());
    }
    let committed_term = log.term(log.committed).unwrap_or(0);
    if message.log_term < committed_term
        || (message.index == log.committed && message.log_term != committed_term)
    {
        return Err(Suspicion::Contradiction(message.index));
    }
    Ok(())
}

fn heartbeat(raw: &RawNode<Replica>, message: &Message) -> Result<(), Suspicion> {
    let last = raw.raft.raft_log.last_index();
    if message.term >= raw.raft.term && message.commit > last {
        return Err(Suspicion::LostLog {
            counted: message.commit,
            last,
        });
    }
    Ok(())
}

fn append_response(raw: &RawNode<Replica>, message: &Message) -> Result<(), Suspicion> {
    let raft = &raw.raft;
    let to_me = raft.state == StateRole::Leader && message.term == raft.term;
    let last = raft.raft_log.last_index();
    if to_me && !message.reject && message.index > last {
        return Err(Suspicion::Contradiction(message.index));
    }
    Ok(())
}

fn snapshot(snapshot: &Snapshot) -> Result<(), Suspicion> {
    let metadata = snapshot.get_metadata();
    if metadata.index == 0 || metadata.term == 0 || !is_possible(metadata.get_conf_state()) {
        return Err(Suspicion::Configuration);
    }
    Ok(())
}
