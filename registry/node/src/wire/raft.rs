//! The consensus library's types in weft's own wire form, and back, field by field.
//!
//! The library's codec (protobuf 2, RUSTSEC-2024-0437) parses nothing that came
//! over a network or from a disk: everything it could parse is built here.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
    EntryType, HardState, Message, MessageType, Snapshot,
};
use weft_model::Index;
use weft_proto::log::{self, conf_change};
use weft_proto::peer::{RaftConfState, RaftEntry, RaftMessage, RaftSnapshot};

use super::field::{WireError, invalid, malformed};

/// A message of a node whose group was last founded anew at `recovered`.
pub(crate) fn write_message(message: &Message, recovered: Index) -> RaftMessage {
    RaftMessage {
        r#type: message.get_msg_type() as u32,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.iter().map(write_entry).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot: message
            .has_snapshot()
            .then(|| write_snapshot(message.get_snapshot())),
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context.clone(),
        priority: message.priority,
        recovered: recovered.0,
    }
}

pub(crate) fn read_message(wire: RaftMessage) -> Result<Message, WireError> {
    let entries: Result<Vec<Entry>, WireError> = wire.entries.into_iter().map(read_entry).collect();
    let mut message = Message {
        to: wire.to,
        from: wire.from,
        term: wire.term,
        log_term: wire.log_term,
        index: wire.index,
        entries: entries?.into(),
        commit: wire.commit,
        commit_term: wire.commit_term,
        request_snapshot: wire.request_snapshot,
        reject: wire.reject,
        reject_hint: wire.reject_hint,
        context: wire.context,
        priority: wire.priority,
        ..Message::default()
    };
    message.set_msg_type(message_type(wire.r#type)?);
    if let Some(snapshot) = wire.snapshot {
        message.set_snapshot(read_snapshot(snapshot));
    }
    Ok(message)
}

pub(crate) fn write_entry(entry: &Entry) -> RaftEntry {
    RaftEntry {
        r#type: entry.get_entry_type() as u32,
        term: entry.term,
        index: entry.index,
        data: entry.data.clone(),
        context: entry.context.clone(),
    }
}

pub(crate) fn read_entry(wire: RaftEntry) -> Result<Entry, WireError> {
    let mut entry = Entry {
        term: wire.term,
        index: wire.index,
        data: wire.data,
        context: wire.context,
        ..Entry::default()
    };
    entry.set_entry_type(match wire.r#type {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        other => return Err(invalid("entry type", other)),
    });
    Ok(entry)
}

pub(crate) fn write_snapshot(snapshot: &Snapshot) -> RaftSnapshot {
    let metadata = snapshot.get_metadata();
    RaftSnapshot {
        index: metadata.index,
        term: metadata.term,
        conf_state: Some(write_conf(metadata.get_conf_state())),
        data: snapshot.data.clone(),
    }
}

pub(crate) fn read_snapshot(wire: RaftSnapshot) -> Snapshot {
    let mut snapshot = Snapshot {
        data: wire.data,
        ..Snapshot::default()
    };
    let metadata = snapshot.mut_metadata();
    metadata.index = wire.index;
    metadata.term = wire.term;
    metadata.set_conf_state(read_conf(wire.conf_state.unwrap_or_default()));
    snapshot
}

/// Sorted, so that equal configurations have equal bytes on every node.
pub(crate) fn write_conf(conf: &ConfState) -> RaftConfState {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    RaftConfState {
        voters: sorted(conf.get_voters()),
        learners: sorted(conf.get_learners()),
        voters_outgoing: sorted(conf.get_voters_outgoing()),
        learners_next: sorted(conf.get_learners_next()),
        auto_leave: conf.auto_leave,
    }
}

pub(crate) fn read_conf(wire: RaftConfState) -> ConfState {
    ConfState {
        voters: wire.voters,
        learners: wire.learners,
        voters_outgoing: wire.voters_outgoing,
        learners_next: wire.learners_next,
        auto_leave: wire.auto_leave,
        ..ConfState::default()
    }
}

pub(crate) fn write_hard_state(hard: &HardState) -> log::HardState {
    log::HardState {
        term: hard.term,
        vote: hard.vote,
        commit: hard.commit,
    }
}

pub(crate) fn read_hard_state(wire: log::HardState) -> HardState {
    HardState {
        term: wire.term,
        vote: wire.vote,
        commit: wire.commit,
        ..HardState::default()
    }
}

/// Reads the payload of a configuration entry of either version.
pub(crate) fn read_conf_change(kind: EntryType, data: Bytes) -> Result<ConfChangeV2, WireError> {
    if kind != EntryType::EntryConfChangeV2 {
        // Only the second version is ever proposed here.
        return Err(invalid("entry type", "a configuration change of version 1"));
    }
    let wire = log::ConfChange::decode(data).map_err(malformed)?;
    let mut change = ConfChangeV2::default();
    change.set_transition(match wire.transition() {
        conf_change::Transition::Auto => ConfChangeTransition::Auto,
        conf_change::Transition::Implicit => ConfChangeTransition::Implicit,
        conf_change::Transition::Explicit => ConfChangeTransition::Explicit,
    });
    let mut singles = Vec::with_capacity(wire.changes.len());
    for single in &wire.changes {
        if single.node == 0 {
            return Err(invalid("changes.node", "0 is no node"));
        }
        let kind = conf_change::Type::try_from(single.r#type)
            .map_err(|_| invalid("changes.type", single.r#type))?;
        singles.push(conf_change_single(kind, single.node));
    }
    change.set_changes(singles.into());
    change.context = wire.context;
    Ok(change)
}

pub(crate) fn conf_change_single(kind: conf_change::Type, node: u64) -> ConfChangeSingle {
    let mut single = ConfChangeSingle::default();
    single.set_change_type(match kind {
        conf_change::Type::AddVoter => ConfChangeType::AddNode,
        conf_change::Type::Remove => ConfChangeType::RemoveNode,
        conf_change::Type::AddLearner => ConfChangeType::AddLearnerNode,
    });
    single.node_id = node;
    single
}

/// Only what nodes say to each other; the library's local messages have no wire form.
fn message_type(number: u32) -> Result<MessageType, WireError> {
    Ok(match number {
        3 => MessageType::MsgAppend,
        4 => MessageType::MsgAppendResponse,
        5 => MessageType::MsgRequestVote,
        6 => MessageType::MsgRequestVoteResponse,
        7 => MessageType::MsgSnapshot,
        8 => MessageType::MsgHeartbeat,
        9 => MessageType::MsgHeartbeatResponse,
        14 => MessageType::MsgTimeoutNow,
        15 => MessageType::MsgReadIndex,
        16 => MessageType::MsgReadIndexResp,
        17 => MessageType::MsgRequestPreVote,
        18 => MessageType::MsgRequestPreVoteResponse,
        other => return Err(invalid("message type", other)),
    })
}
