//! Watchers of a node see positions in order, without a gap; a jump is announced.

use std::collections::BTreeMap;

use weft_model::{Index, NodeId};

#[derive(Debug, Default)]
pub(crate) struct Order {
    at: BTreeMap<NodeId, Index>,
}

impl Order {
    /// The node starts from here, or has jumped here and said so.
    pub(crate) fn restart(&mut self, node: NodeId, at: Index) {
        self.at.insert(node, at);
    }

    pub(crate) fn check(&mut self, node: NodeId, index: Index) -> Result<(), String> {
        let last = self.at.insert(node, index).unwrap_or_default();
        if index.0 != last.0 + 1 {
            return Err(format!("node {node} showed {index} after {last}"));
        }
        Ok(())
    }
}
