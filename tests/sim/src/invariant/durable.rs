//! What was acknowledged stays.

use std::collections::BTreeMap;

use weft_model::Index;

use super::Agreement;
use crate::client::{Acknowledged, Aim, cluster};

#[derive(Debug, Default)]
pub(crate) struct Durable {
    acknowledged: Vec<Acknowledged>,
}

impl Durable {
    /// A client was told that its request took effect: it must stand in the log where it was said to.
    pub(crate) fn acknowledge(
        &mut self,
        answer: Acknowledged,
        log: &Agreement,
    ) -> Result<(), String> {
        if let Some(index) = answer.index()
            && log.at(index).and_then(|record| record.request) != Some(answer.request)
        {
            let request = answer.request;
            return Err(format!(
                "request {request} was acknowledged at {index}, where it is not"
            ));
        }
        self.acknowledged.push(answer);
        Ok(())
    }

    /// How many requests were answered.
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// The highest position that any client was told of.
    pub(crate) fn highest(&self) -> Index {
        let indexes = self.acknowledged.iter().filter_map(Acknowledged::index);
        indexes.max().unwrap_or_default()
    }

    /// In the end: every member's newest acknowledged write is reflected in the state.
    pub(crate) fn check_final(&self, state: &weft_model::Federation) -> Result<(), String> {
        let mut newest = BTreeMap::new();
        for answer in self.acknowledged.iter().filter(|a| a.outcome.is_ok()) {
            if let (Some(number), Aim::Write { generation }) = (answer.cluster, &answer.what) {
                newest.insert(number, *generation);
            }
        }
        for (number, generation) in newest {
            let Some(member) = state.cluster(&cluster(number)) else {
                continue;
            };
            if member.generation < generation {
                let has = member.generation;
                return Err(format!(
                    "cluster {number} was told that write {generation} holds, the state has {has}"
                ));
            }
        }
        Ok(())
    }
}
