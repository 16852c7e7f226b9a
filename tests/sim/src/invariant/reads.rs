//! A linearizable read sees everything acknowledged before it was asked.

use std::collections::BTreeMap;

use weft_model::{Index, NodeId};
use weft_registry::driver::ReadId;

#[derive(Debug, Default)]
pub(crate) struct Reads {
    asked: BTreeMap<(NodeId, ReadId), Index>,
    answered: usize,
}

impl Reads {
    /// A read begins; this is the highest position acknowledged to anybody by now.
    pub(crate) fn ask(&mut self, node: NodeId, read: ReadId, acknowledged: Index) {
        self.asked.insert((node, read), acknowledged);
    }

    pub(crate) fn check(
        &mut self,
        node: NodeId,
        read: ReadId,
        index: Index,
        applied: Index,
    ) -> Result<(), String> {
        // A network that duplicates may bring an answer twice; each must be right.
        self.answered += 1;
        let Some(acknowledged) = self.asked.get(&(node, read)).copied() else {
            return Err(format!("node {node} answered a read that it was not asked"));
        };
        if index < acknowledged || applied < index {
            return Err(format!(
                "node {node} read at {index} with {applied} applied; {acknowledged} was acknowledged before"
            ));
        }
        Ok(())
    }

    /// How many were answered.
    pub(crate) fn answered(&self) -> usize {
        self.answered
    }
}
