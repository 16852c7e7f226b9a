//! Nodes at the same position hold the same state.

use std::collections::BTreeMap;

use weft_model::{Federation, Index, NodeId};

/// Positions at which states are compared: all would cost most of the run.
const EVERY: u64 = 5;

#[derive(Debug, Default)]
pub(crate) struct States {
    at: BTreeMap<Index, (NodeId, Federation)>,
    last: BTreeMap<NodeId, Index>,
}

impl States {
    pub(crate) fn check(
        &mut self,
        node: NodeId,
        index: Index,
        state: &Federation,
    ) -> Result<(), String> {
        let seen = self.last.insert(node, index);
        if seen == Some(index) || !index.0.is_multiple_of(EVERY) {
            return Ok(());
        }
        self.compare(node, index, state)
    }

    /// As [`Self::check`], at any position.
    pub(crate) fn compare(
        &mut self,
        node: NodeId,
        index: Index,
        state: &Federation,
    ) -> Result<(), String> {
        let (first, known) = self
            .at
            .entry(index)
            .or_insert_with(|| (node, state.clone()));
        if known != state {
            return Err(format!("nodes {first} and {node} differ at {index}"));
        }
        Ok(())
    }
}
