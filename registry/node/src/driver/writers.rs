//! Where writes come from: a leader far from most of its writers hands over to a voter near them.
//!
//! Each write travels from its gateway to the leader and back, and from the leader to a majority and
//! back. The second round trip is short for every voter that has another one near; the first is
//! nothing where the leader sits.

use std::collections::BTreeMap;

use weft_model::{Author, ClusterName, Federation, NodeId};

use super::Driver;
use crate::members::{self, MemberChange};
use crate::replica::{Answer, Record};

/// A leader stays for so many ticks: 1 min on short paths, 4 on the longest. It bounds how often two
/// groups of writers can pull it to and fro.
const STAY_TICKS: u32 = 1_200;
/// With fewer writes nobody can be said to write most.
const WRITES_MIN: u32 = 64;
/// Above this all counts are halved, so that what is past fades.
const WRITES_MAX: u32 = 256;

/// Writes of late, by the cluster whose gateway signed them.
#[derive(Debug, Default)]
pub(super) struct Writers {
    counts: BTreeMap<ClusterName, u32>,
    /// How long this node has led.
    ticks: u32,
}

impl Writers {
    /// Takes down a write that took effect.
    pub(super) fn note(&mut self, record: &Record, state: &Federation) {
        let author = record.origin.as_ref().map(|origin| &origin.author);
        let (Some(Author::Gateway(node, _)), Some(Answer::Judged(Ok(_)))) =
            (author, &record.answer)
        else {
            return;
        };
        if let Some(node) = state.node(*node) {
            *self.counts.entry(node.cluster.clone()).or_default() += 1;
        }
        if self.counts.values().sum::<u32>() > WRITES_MAX {
            self.counts.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
    }

    /// Another tick as the leader, or as none.
    fn count(&mut self, leads: bool) -> u32 {
        self.ticks = match leads {
            true => self.ticks.saturating_add(1),
            false => 0,
        };
        self.ticks
    }

    /// Who writes two thirds or more.
    fn most(&self) -> Option<&ClusterName> {
        let all: u32 = self.counts.values().sum();
        let (cluster, count) = self.counts.iter().max_by_key(|(_, count)| **count)?;
        (all >= WRITES_MIN && count * 3 >= all * 2).then_some(cluster)
    }
}

impl Driver {
    /// Once a tick: leads from elsewhere if most writers are there.
    pub(super) fn lead_near_writers(&mut self, leads: bool) {
        if self.writers.count(leads) < STAY_TICKS || self.raw.raft.lead_transferee.is_some() {
            return;
        }
        let Some(writer) = self.writers.most() else {
            return;
        };
        let image = self.image();
        let voters = image.conf.get_voters().iter().copied().map(NodeId);
        let next = members::near(
            &image.state,
            &voters.collect(),
            &super::output::progress(&self.raw),
            self.settings.node,
            writer,
        );
        if let Some(MemberChange::Transfer(to)) = next {
            self.raw.transfer_leader(to.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::{self, name};
    use weft_model::{Index, SignerEpoch, WallTime};

    use super::*;
    use crate::replica::Origin;

    fn write(node: u64) -> Record {
        let origin = Origin {
            author: Author::Gateway(NodeId(node), SignerEpoch::FIRST),
            by_order_of: None,
            time: WallTime(1),
            command: "put export",
            target: None,
        };
        Record {
            index: Index(1),
            checksum: 0,
            request: None,
            origin: Some(origin),
            answer: Some(Answer::Judged(Ok(Index(1)))),
            events: Vec::new(),
        }
    }

    #[test]
    fn two_thirds_of_enough_writes_are_most() {
        let check = |writes: &[(u64, u32)], expect: Option<&str>| {
            let (state, mut writers) = (fixture::federation(), Writers::default());
            for (node, times) in writes {
                for _ in 0..*times {
                    writers.note(&write(*node), &state);
                }
            }
            let expect: Option<ClusterName> = expect.map(name);
            assert_eq!(writers.most(), expect.as_ref(), "{writes:?}");
        };
        check(&[(2, 63)], None);
        check(&[(2, 64)], Some("eu-west-1"));
        check(&[(1, 40), (2, 79)], None);
        check(&[(1, 40), (2, 80)], Some("eu-west-1"));
        // What is past fades.
        check(&[(1, 200), (2, 2000)], Some("eu-west-1"));
        check(&[(2, 2000), (1, 2000)], Some("us-east-1"));
    }
}
