//! Rows of history: a committed entry as it stood in the log, and what came of it.

use raft::eraftpb::{Entry, EntryType};
use weft_model::{Event, FormatLevel, Index, Key, NodeId, ServiceKey};
use weft_proto::log::{self, change, history_row, record_key};
use weft_proto::peer::RaftEntry;

use super::export::{read_export_key, read_service_key, write_export_key, write_service_key};
use super::field::{WireError, id_bytes, name, present, token};
use super::outcome::{read_refusal, write_refusal};
use super::raft::read_entry;
use super::{decode, workload};
use crate::replica::{Answer, Origin, Record};

/// A committed entry and what came of it, read back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The entry as it stood in the log.
    pub(crate) entry: Entry,
    /// What came of it; none for the consensus's own.
    pub(crate) answer: Option<Answer>,
    /// What changed.
    pub(crate) events: Vec<Event>,
}

pub(crate) fn write_row(entry: &Entry, record: &Record) -> log::HistoryRow {
    use history_row::Result as Wire;
    let result = match &record.answer {
        Some(Answer::Judged(Ok(index))) if *index == record.index => None,
        Some(Answer::Judged(Ok(index))) => Some(Wire::Repeat(history_row::Repeat { of: index.0 })),
        Some(Answer::Judged(Err(refusal))) => Some(Wire::Refused(write_refusal(refusal))),
        Some(Answer::Quarantined(reason)) => Some(Wire::Unreadable(reason.clone())),
        None => None,
    };
    log::HistoryRow {
        r#type: entry.get_entry_type() as u32,
        term: entry.term,
        index: entry.index,
        data: entry.data.clone(),
        changes: record.events.iter().map(write_event).collect(),
        result,
    }
}

pub(crate) fn read_row(wire: log::HistoryRow) -> Result<Row, WireError> {
    use history_row::Result as Wire;
    let entry = read_entry(RaftEntry {
        r#type: wire.r#type,
        term: wire.term,
        index: wire.index,
        data: wire.data,
        ..RaftEntry::default()
    })?;
    let own = entry.get_entry_type() != EntryType::EntryNormal || entry.data.is_empty();
    let answer = match wire.result {
        None if own => None,
        None => Some(Answer::Judged(Ok(Index(entry.index)))),
        Some(Wire::Repeat(repeat)) => Some(Answer::Judged(Ok(Index(repeat.of)))),
        Some(Wire::Refused(refusal)) => Some(Answer::Judged(Err(read_refusal(&refusal)?))),
        Some(Wire::Unreadable(reason)) => Some(Answer::Quarantined(reason)),
    };
    let events: Result<Vec<Event>, WireError> = wire.changes.iter().map(read_event).collect();
    Ok(Row {
        entry,
        answer,
        events: events?,
    })
}

/// Where the entry of a row comes from; none for the consensus's own and unreadable ones.
pub(crate) fn origin(row: &Row) -> Option<Origin> {
    match row.answer {
        Some(Answer::Judged(_)) => {
            let decoded = decode(row.entry.data.clone()).ok()?;
            Some(Origin::of(&decoded.entry))
        }
        _ => None,
    }
}

fn write_event(event: &Event) -> log::Change {
    use change::Change as Wire;
    log::Change {
        change: Some(match event {
            Event::Put(key) => Wire::Put(write_key(key)),
            Event::Deleted(key) => Wire::Deleted(write_key(key)),
            Event::Lease(cluster, true) => Wire::Lapsed(cluster.to_string()),
            Event::Lease(cluster, false) => Wire::Returned(cluster.to_string()),
            Event::Format(level) => Wire::Format(level.0),
        }),
    }
}

fn read_event(wire: &log::Change) -> Result<Event, WireError> {
    use change::Change as Wire;
    Ok(match present("change", wire.change.as_ref())? {
        Wire::Put(key) => Event::Put(read_key(key)?),
        Wire::Deleted(key) => Event::Deleted(read_key(key)?),
        Wire::Lapsed(cluster) => Event::Lease(name("change.lapsed", cluster)?, true),
        Wire::Returned(cluster) => Event::Lease(name("change.returned", cluster)?, false),
        Wire::Format(level) => Event::Format(FormatLevel(*level)),
    })
}

fn write_key(key: &Key) -> log::RecordKey {
    use record_key::Key as Wire;
    log::RecordKey {
        key: Some(match key {
            Key::Cluster(cluster) => Wire::Cluster(cluster.to_string()),
            Key::Node(node) => Wire::Node(node.0),
            Key::Export(key, cluster) => Wire::Export(write_export_key(cluster, key)),
            Key::Service(key) => Wire::Service(write_service_key(key)),
            Key::WorkloadEntry(cluster, namespace, name) => {
                Wire::WorkloadEntry(workload::write_key(cluster, namespace, name))
            }
            Key::RoleBinding(name) => Wire::RoleBinding(name.to_string()),
            Key::Route(key) => Wire::Route(write_service_key(key)),
            Key::TrafficPolicy(key) => Wire::TrafficPolicy(write_service_key(key)),
            Key::Release(key) => Wire::Release(write_service_key(key)),
            Key::Token(id) => Wire::Token(id_bytes(&id.0)),
            Key::Signer(user) => Wire::Signer(user.to_string()),
        }),
    }
}

fn read_key(wire: &log::RecordKey) -> Result<Key, WireError> {
    use record_key::Key as Wire;
    let service =
        |key: &log::ServiceKey| -> Result<ServiceKey, WireError> { read_service_key(Some(key)) };
    Ok(match present("record", wire.key.as_ref())? {
        Wire::Cluster(cluster) => Key::Cluster(name("record.cluster", cluster)?),
        Wire::Node(node) => Key::Node(NodeId(*node)),
        Wire::Export(key) => {
            let (cluster, key) = read_export_key(Some(key))?;
            Key::Export(key, cluster)
        }
        Wire::Service(key) => Key::Service(service(key)?),
        Wire::WorkloadEntry(key) => {
            let (cluster, namespace, name) = workload::read_key(Some(key))?;
            Key::WorkloadEntry(cluster, namespace, name)
        }
        Wire::RoleBinding(binding) => Key::RoleBinding(name("record.binding", binding)?),
        Wire::Route(key) => Key::Route(service(key)?),
        Wire::TrafficPolicy(key) => Key::TrafficPolicy(service(key)?),
        Wire::Release(key) => Key::Release(service(key)?),
        Wire::Token(id) => Key::Token(token("record.token", id)?),
        Wire::Signer(user) => Key::Signer(name("record.signer", user)?),
    })
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::name;

    use super::*;

    #[test]
    fn every_change_of_every_kind_of_record_reads_back() {
        let key: ServiceKey = name("shop/web");
        let keys = [
            Key::Cluster(name("a")),
            Key::Node(NodeId(3)),
            Key::Export(key.clone(), name("a")),
            Key::Service(key.clone()),
            Key::WorkloadEntry(name("a"), name("shop"), name("web")),
            Key::RoleBinding(name("admins")),
            Key::Route(key.clone()),
            Key::TrafficPolicy(key.clone()),
            Key::Release(key),
            Key::Token(weft_model::TokenId([7; 16])),
            Key::Signer(name("ana")),
        ];
        let mut events: Vec<Event> = keys.iter().cloned().map(Event::Put).collect();
        events.extend(keys.into_iter().map(Event::Deleted));
        events.push(Event::Lease(name("a"), true));
        events.push(Event::Lease(name("a"), false));
        events.push(Event::Format(FormatLevel(3)));
        for event in events {
            assert_eq!(read_event(&write_event(&event)), Ok(event));
        }
    }
}
