//! What the catalog has been told of the servers that this gateway fronts. Pure.

use std::collections::BTreeMap;

use weft_model::{Endpoint, EndpointId};

/// Something the catalog must hear of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It is new, or changed.
    Put(Box<Endpoint>),
    /// It is gone for good.
    Withdraw {
        /// The endpoint.
        id: EndpointId,
        /// Its owner's count.
        sequence: u64,
    },
}

/// Turns what should be known into words, with sequences that only grow: one
/// count for all endpoints, so that an entry that returns within a run goes on
/// after its withdrawal.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    told: BTreeMap<EndpointId, Endpoint>,
    sequence: u64,
}

impl Word {
    /// Whom it is about.
    pub fn endpoint(&self) -> EndpointId {
        match self {
            Self::Put(endpoint) => endpoint.id,
            Self::Withdraw { id, .. } => *id,
        }
    }
}

impl Ledger {
    /// The words that bring the catalog from what it was told to `now`, in which
    /// sequences are ignored.
    pub(super) fn tell(&mut self, now: Vec<Endpoint>) -> Vec<Word> {
        let now: BTreeMap<_, _> = now.into_iter().map(|e| (e.id, e)).collect();
        let mut words = Vec::new();
        let gone: Vec<_> = self
            .told
            .keys()
            .filter(|id| !now.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            self.told.remove(&id);
            let sequence = self.next();
            words.push(Word::Withdraw { id, sequence });
        }
        for (id, mut endpoint) in now {
            if let Some(told) = self.told.get(&id) {
                endpoint.sequence = told.sequence;
                if *told == endpoint {
                    continue;
                }
            }
            endpoint.sequence = self.next();
            self.told.insert(id, endpoint.clone());
            words.push(Word::Put(Box::new(endpoint)));
        }
        words
    }

    /// The catalog did not take it: it is told again.
    pub(super) fn forget(&mut self, id: EndpointId) {
        self.told.remove(&id);
    }

    /// What was told last.
    pub(super) fn told(&self) -> impl Iterator<Item = &Endpoint> {
        self.told.values()
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

#[cfg(test)]
mod tests {
    use weft_model::Health;

    use super::*;
    use crate::standin::fixture::endpoint;

    fn told(ledger: &mut Ledger, now: Vec<Endpoint>) -> Vec<(char, u8, u64)> {
        let words = ledger.tell(now).into_iter();
        words
            .map(|word| match word {
                Word::Put(endpoint) => ('+', endpoint.id.0[0], endpoint.sequence),
                Word::Withdraw { id, sequence } => ('-', id.0[0], sequence),
            })
            .collect()
    }

    #[test]
    fn only_changes_are_told_and_sequences_only_grow() {
        let mut ledger = Ledger::default();
        let ready = || endpoint(1, Health::Ready);
        assert_eq!(told(&mut ledger, vec![ready()]), [('+', 1, 1)]);
        assert_eq!(told(&mut ledger, vec![ready()]), []);
        let failing = endpoint(1, Health::NotReady);
        let second = endpoint(2, Health::Ready);
        assert_eq!(
            told(&mut ledger, vec![failing, second.clone()]),
            [('+', 1, 2), ('+', 2, 3)]
        );
        ledger.forget(second.id);
        let failing = endpoint(1, Health::NotReady);
        assert_eq!(
            told(&mut ledger, vec![failing, second.clone()]),
            [('+', 2, 4)]
        );
        assert_eq!(told(&mut ledger, vec![second.clone()]), [('-', 1, 5)]);
        assert_eq!(told(&mut ledger, vec![second, ready()]), [('+', 1, 6)]);
    }
}
