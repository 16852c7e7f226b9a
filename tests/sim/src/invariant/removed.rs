//! A removed node never comes back: not into the group, not to leadership, not by its id.

use std::collections::BTreeMap;

use weft_model::{Event, Index, Key, NodeId};
use weft_registry::Record;
use weft_registry::driver::RaftStatus;

#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// Where each was removed from the state.
    from_state: BTreeMap<NodeId, Index>,
    /// Where each was first seen in the group.
    inside: BTreeMap<NodeId, Index>,
    /// Where each was first seen to be out of it again, after its removal.
    from_group: BTreeMap<NodeId, Index>,
}

impl Removed {
    pub(crate) fn note(&mut self, record: &Record) -> Result<(), String> {
        for event in &record.events {
            match event {
                Event::Deleted(Key::Node(node)) => {
                    self.from_state.entry(*node).or_insert(record.index);
                }
                Event::Put(Key::Node(node))
                    if self
                        .from_state
                        .get(node)
                        .is_some_and(|at| *at < record.index) =>
                {
                    return Err(format!("node id {node} was used again at {}", record.index));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn check(&mut self, status: &RaftStatus) -> Result<(), String> {
        for node in status.voters.iter().chain(&status.learners) {
            self.inside.entry(*node).or_insert(status.applied);
        }
        for (node, removed) in &self.from_state {
            if status.applied < *removed {
                continue;
            }
            let inside = status.voters.contains(node) || status.learners.contains(node);
            let joined = self.inside.get(node).is_some_and(|at| *at < status.applied);
            match (inside, self.from_group.get(node)) {
                (false, None) if joined => {
                    self.from_group.insert(*node, status.applied);
                }
                (true, Some(out)) if status.applied >= *out => {
                    return Err(format!(
                        "node {node} was out of the group at {out} and is in it at {}",
                        status.applied
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
