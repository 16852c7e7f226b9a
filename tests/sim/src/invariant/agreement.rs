//! The same position holds the same bytes, outcome and events on every node that applied it
//! (Raft: state machine safety).

use std::collections::BTreeMap;

use weft_model::{Index, NodeId};
use weft_registry::Record;

#[derive(Debug, Default)]
pub(crate) struct Agreement {
    log: BTreeMap<Index, (NodeId, Record)>,
}

impl Agreement {
    pub(crate) fn check(&mut self, node: NodeId, record: &Record) -> Result<(), String> {
        let (first, known) = self
            .log
            .entry(record.index)
            .or_insert_with(|| (node, record.clone()));
        if known != record {
            let index = record.index;
            return Err(format!(
                "at {index} node {first} applied {known:?}, node {node} {record:?}"
            ));
        }
        Ok(())
    }

    /// What stands at a position, as first applied anywhere.
    pub(crate) fn at(&self, index: Index) -> Option<&Record> {
        self.log.get(&index).map(|(_, record)| record)
    }

    /// What stands after a position and up to another.
    pub(crate) fn between(&self, after: Index, through: Index) -> impl Iterator<Item = &Record> {
        let from = Index(after.0 + 1);
        let range = self.log.range(from..=through.max(from));
        let records = range.map(|(_, (_, record))| record);
        records.filter(move |record| record.index <= through)
    }

    /// The last position applied anywhere.
    pub(crate) fn last(&self) -> Index {
        self.log
            .last_key_value()
            .map_or(Index(0), |(index, _)| *index)
    }
}
