//! This sidecar's own endpoints: its words on them, counted.

use std::collections::BTreeMap;

use weft_model::{Endpoint, EndpointId, Health};
use weft_proto::catalog as wire;

use super::wire as convert;
use crate::health::Verdict;

/// The last word on every endpoint of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    words: BTreeMap<EndpointId, Word>,
}

#[derive(Debug, Clone)]
enum Word {
    Put(Box<Endpoint>),
    Withdrawn(u64),
}

impl Word {
    fn sequence(&self) -> u64 {
        match self {
            Self::Put(endpoint) => endpoint.sequence,
            Self::Withdrawn(sequence) => *sequence,
        }
    }
}

impl Own {
    /// Registers or changes an endpoint; its sequence is counted here.
    pub(super) fn put(&mut self, mut endpoint: Endpoint) {
        endpoint.sequence = self.next(endpoint.id);
        self.words
            .insert(endpoint.id, Word::Put(Box::new(endpoint)));
    }

    /// Changes the health of an endpoint, and why it is so. Returns whether that was news. One
    /// that drains does not come back.
    pub(super) fn set_health(&mut self, id: EndpointId, verdict: impl Into<Verdict>) -> bool {
        let Verdict { health, why } = verdict.into();
        let next = self.next(id);
        match self.words.get_mut(&id) {
            Some(Word::Put(endpoint))
                if (endpoint.health, &endpoint.unready) != (health, &why)
                    && endpoint.health != Health::Draining =>
            {
                endpoint.health = health;
                endpoint.unready = why;
                endpoint.sequence = next;
                true
            }
            _ => false,
        }
    }

    /// Lets every endpoint drain.
    pub(super) fn drain(&mut self) {
        let ids: Vec<EndpointId> = self.words.keys().copied().collect();
        for id in ids {
            self.set_health(id, Health::Draining);
        }
    }

    /// Ends every endpoint for good.
    pub(super) fn withdraw(&mut self) {
        for word in self.words.values_mut() {
            if let Word::Put(endpoint) = word {
                *word = Word::Withdrawn(endpoint.sequence + 1);
            }
        }
    }

    /// What a gateway that was told `sent` has not heard yet; notes it as sent.
    pub(super) fn unsent(&self, sent: &mut BTreeMap<EndpointId, u64>) -> Vec<wire::Upstream> {
        use wire::upstream::Frame;
        let mut frames = Vec::new();
        for (id, word) in &self.words {
            let sequence = word.sequence();
            if sent.insert(*id, sequence) == Some(sequence) {
                continue;
            }
            let frame = match word {
                Word::Put(endpoint) => Frame::Put(convert::to_endpoint(endpoint)),
                Word::Withdrawn(_) => Frame::Withdraw(wire::Withdraw {
                    id: id.0.to_vec().into(),
                    sequence,
                }),
            };
            frames.push(wire::Upstream { frame: Some(frame) });
        }
        frames
    }

    fn next(&self, id: EndpointId) -> u64 {
        self.words.get(&id).map_or(1, |word| word.sequence() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::fixture;

    fn sent(own: &Own, sent: &mut BTreeMap<EndpointId, u64>) -> String {
        let frames = own
            .unsent(sent)
            .into_iter()
            .map(|up| match up.frame.unwrap() {
                wire::upstream::Frame::Put(e) => format!("put {} {:?}", e.sequence, e.health()),
                wire::upstream::Frame::Withdraw(w) => format!("withdraw {}", w.sequence),
                other => panic!("{other:?}"),
            });
        frames.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn every_change_counts_and_is_sent_once() {
        let (mut own, mut told) = (Own::default(), BTreeMap::new());
        let endpoint = fixture::endpoint("eu-west-1", 1, 0);
        let id = endpoint.id;
        own.put(endpoint);
        assert_eq!(sent(&own, &mut told), "put 1 Ready");
        assert!(own.set_health(id, Health::NotReady));
        assert!(!own.set_health(id, Health::NotReady));
        assert_eq!(sent(&own, &mut told), "put 2 NotReady");
        assert_eq!(sent(&own, &mut told), "");
        own.drain();
        assert!(!own.set_health(id, Health::Ready), "it does not come back");
        assert_eq!(sent(&own, &mut told), "put 3 Draining");
        own.withdraw();
        assert_eq!(sent(&own, &mut told), "withdraw 4");
        assert_eq!(
            sent(&own, &mut BTreeMap::new()),
            "withdraw 4",
            "a new session"
        );
    }
}
