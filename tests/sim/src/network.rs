//! The network: delay, loss, duplication, reordering, cuts in one or both directions.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;
use weft_model::NodeId;
use weft_proto::peer::RaftMessage;
use weft_registry::Proposal;

use crate::coverage::{Coverage, Seen};
use crate::faults::Cuts;

/// What travels.
#[derive(Debug, Clone)]
pub(crate) enum Letter {
    Raft(Box<RaftMessage>),
    /// A proposal that a client's node forwards to the leader.
    Forward(Proposal),
}

/// How bad the network is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: f64,
    pub(crate) duplication: f64,
    /// The longest delay, in units of time; the shortest is 1.
    pub(crate) delay_max: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self {
        loss: 0.0,
        duplication: 0.0,
        delay_max: 4,
    };
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    /// Directions in which nothing arrives.
    pub(crate) cuts: Cuts,
    flying: BTreeMap<(u64, u64), (NodeId, NodeId, Letter)>,
    sequence: u64,
    /// The newest that arrived on each way.
    newest: BTreeMap<(NodeId, NodeId), u64>,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self {
            weather: Weather::FAIR,
            cuts: Cuts::new(),
            flying: BTreeMap::new(),
            sequence: 0,
            newest: BTreeMap::new(),
        }
    }

    pub(crate) fn send(
        &mut self,
        now: u64,
        rng: &mut SmallRng,
        seen: &mut Coverage,
        (from, to): (NodeId, NodeId),
        letter: Letter,
    ) {
        let copies = 1 + usize::from(rng.random_bool(self.weather.duplication));
        for copy in 0..copies {
            if self.cuts.contains(&(from, to)) {
                continue;
            }
            if rng.random_bool(self.weather.loss) {
                seen.note(Seen::Lost);
                continue;
            }
            seen.add(Seen::Duplicated, copy);
            self.sequence += 1;
            let arrives = now + rng.random_range(1..=self.weather.delay_max);
            self.flying
                .insert((arrives, self.sequence), (from, to, letter.clone()));
        }
    }

    /// What arrives now, in order.
    pub(crate) fn take_arrivals(
        &mut self,
        now: u64,
        seen: &mut Coverage,
    ) -> Vec<(NodeId, NodeId, Letter)> {
        let later = self.flying.split_off(&(now + 1, 0));
        let arrived = std::mem::replace(&mut self.flying, later);
        for ((_, sequence), (from, to, _)) in &arrived {
            let newest = self.newest.entry((*from, *to)).or_default();
            match newest {
                newest if *newest > *sequence => seen.note(Seen::Reordered),
                newest => *newest = *sequence,
            }
        }
        arrived.into_values().collect()
    }
}
