//! At most one leader per term (Raft: election safety).

use std::collections::BTreeMap;

use weft_model::NodeId;
use weft_registry::driver::{Leadership, Role};

#[derive(Debug, Default)]
pub(crate) struct Leaders {
    by_term: BTreeMap<u64, NodeId>,
}

impl Leaders {
    pub(crate) fn check(&mut self, node: NodeId, leadership: Leadership) -> Result<(), String> {
        if leadership.role != Role::Leader {
            return Ok(());
        }
        let term = leadership.term;
        let known = *self.by_term.entry(term).or_insert(node);
        if known != node {
            return Err(format!("nodes {known} and {node} both lead in term {term}"));
        }
        Ok(())
    }

    /// How many terms had a leader.
    pub(crate) fn terms(&self) -> usize {
        self.by_term.len()
    }
}
