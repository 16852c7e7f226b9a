//! What is broken next, on a seed: a deck of all faults, shuffled anew each time it is through.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// A way to break things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A gateway dies by SIGKILL, and is started again at the end.
    Kill,
    /// A gateway is told to end, and is started again at the end.
    Restart,
    /// All of them die at once, and are started again.
    KillAll,
    /// A gateway is stopped by SIGSTOP, and goes on at the end with what it knew.
    Stop,
    /// Packets between some gateways are lost.
    Cut(Shape),
    /// Three packets in ten are lost on every link.
    Loss,
    /// Every link delays by 80 ms.
    Delay,
    /// A gateway's wall clock jumps forwards by an hour, and back at the end.
    ClockForwards,
    /// A gateway's wall clock jumps back by an hour, and forwards at the end.
    ClockBack,
    /// A cluster joins, votes, and is removed, while another one is cut off.
    Membership,
}

/// Which packets are lost; the first site of a shape is the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// The victim hears nobody and nobody hears it.
    Alone,
    /// The victim and one more, and the three others.
    Minority,
    /// The victim is not heard by anybody, and hears all.
    Mute,
    /// The victim hears nobody, and is heard by all.
    Deaf,
    /// The victim is the only one that both halves of the others hear.
    Bridge,
    /// Each hears its two neighbours only.
    Ring,
}

/// Whom a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// Whoever leads when it begins.
    Leader,
    /// A site by its number, counted from 0.
    Site(usize),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub fault: Fault,
    /// For whom.
    pub victim: Victim,
    /// How long.
    pub length: Duration,
    /// How long nothing is broken after it.
    pub rest: Duration,
}

/// How long faults take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Seconds: all kinds within some three minutes.
    Brief,
    /// Up to half a minute.
    Long,
}

/// An endless plan.
#[derive(Debug, Clone)]
pub struct Plan {
    rng: StdRng,
    pace: Pace,
    deck: Vec<Fault>,
}

/// Every fault once. Those of the registry's leader come by the victim.
pub(crate) const FAULTS: [Fault; 15] = [
    Fault::Kill,
    Fault::Restart,
    Fault::KillAll,
    Fault::Stop,
    Fault::Cut(Shape::Alone),
    Fault::Cut(Shape::Minority),
    Fault::Cut(Shape::Mute),
    Fault::Cut(Shape::Deaf),
    Fault::Cut(Shape::Bridge),
    Fault::Cut(Shape::Ring),
    Fault::Loss,
    Fault::Delay,
    Fault::ClockForwards,
    Fault::ClockBack,
    Fault::Membership,
];

/// The gateways that stay.
pub(crate) const SITES: usize = 5;

impl Plan {
    /// Equal seeds give equal plans.
    pub fn new(seed: u64, pace: Pace) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            pace,
            deck: Vec::new(),
        }
    }

    /// Whether the deck is through: every fault has been as often as every other.
    pub fn is_even(&self) -> bool {
        self.deck.is_empty()
    }

    fn draw(&mut self) -> Fault {
        loop {
            if let Some(fault) = self.deck.pop() {
                return fault;
            }
            self.deck = FAULTS.to_vec();
            self.deck.shuffle(&mut self.rng);
        }
    }

    fn seconds(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(self.rng.random_range(from..to))
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let fault = self.draw();
        // Two in three are for the leader: it has the most to lose. Some must be.
        let leader = match fault {
            Fault::Kill | Fault::Cut(Shape::Alone | Shape::Minority) => true,
            _ => self.rng.random_bool(0.66),
        };
        let site = self.rng.random_range(0..SITES);
        let victim = match leader {
            true => Victim::Leader,
            false => Victim::Site(site),
        };
        let length = match (self.pace, fault) {
            // So long that what is promised within ten seconds can be seen to be so.
            (Pace::Brief, Fault::Cut(_)) => self.seconds(10.0, 11.0),
            (Pace::Brief, _) => self.seconds(4.0, 7.0),
            (Pace::Long, Fault::Cut(_)) => self.seconds(10.0, 30.0),
            (Pace::Long, Fault::Stop) => self.seconds(1.0, 30.0),
            (Pace::Long, _) => self.seconds(5.0, 20.0),
        };
        let rest = match self.pace {
            Pace::Brief => self.seconds(1.0, 2.0),
            Pace::Long => self.seconds(0.5, 8.0),
        };
        Some(Step {
            fault,
            victim,
            length,
            rest,
        })
    }
}

impl Shape {
    /// The directions in which packets are lost, as (from, to), among `sites` of which the
    /// victim is `first`.
    pub fn links(self, first: usize, sites: usize) -> Vec<(usize, usize)> {
        // Counted from the victim, so that 0 is the victim.
        let lost = |from: usize, to: usize| match self {
            Self::Alone => from == 0 || to == 0,
            Self::Minority => (from < 2) != (to < 2),
            Self::Mute => from == 0,
            Self::Deaf => to == 0,
            Self::Bridge => {
                let half = |site: usize| 2 * site > sites;
                from != 0 && to != 0 && half(from) != half(to)
            }
            Self::Ring => {
                let apart = from.abs_diff(to);
                apart.min(sites - apart) > 1
            }
        };
        let pairs = (0..sites).flat_map(|from| (0..sites).map(move |to| (from, to)));
        pairs
            .filter(|(from, to)| from != to && lost(*from, *to))
            .map(|(from, to)| ((from + first) % sites, (to + first) % sites))
            .collect()
    }

    /// Whether a majority can still hear each other, some of it only through the victim.
    pub fn is_partial(self) -> bool {
        matches!(self, Self::Mute | Self::Deaf | Self::Bridge | Self::Ring)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `a>b` for each direction that is lost.
    fn lost(shape: Shape) -> Vec<String> {
        let links = shape.links(0, SITES);
        links
            .iter()
            .map(|(from, to)| format!("{from}>{to}"))
            .collect()
    }

    #[test]
    fn shapes_lose_what_they_say() {
        assert_eq!(lost(Shape::Mute), ["0>1", "0>2", "0>3", "0>4"]);
        assert_eq!(lost(Shape::Deaf), ["1>0", "2>0", "3>0", "4>0"]);
        assert_eq!(lost(Shape::Alone).len(), 8);
        assert_eq!(lost(Shape::Minority).len(), 12);
        let bridge = ["1>3", "1>4", "2>3", "2>4", "3>1", "3>2", "4>1", "4>2"];
        assert_eq!(lost(Shape::Bridge), bridge);
        let ring = [
            "0>2", "0>3", "1>3", "1>4", "2>0", "2>4", "3>0", "3>1", "4>1", "4>2",
        ];
        assert_eq!(lost(Shape::Ring), ring);
    }

    #[test]
    fn a_shape_turns_with_its_victim() {
        assert_eq!(
            Shape::Mute.links(3, SITES),
            [(3, 4), (3, 0), (3, 1), (3, 2)]
        );
    }

    #[test]
    fn equal_seeds_plan_the_same_and_every_deck_has_every_fault() {
        let steps = |seed| Plan::new(seed, Pace::Long).take(2 * FAULTS.len());
        assert!(steps(4).eq(steps(4)));
        assert!(!steps(4).eq(steps(5)));
        let all: Vec<Fault> = steps(4).map(|step| step.fault).collect();
        for deck in all.chunks(FAULTS.len()) {
            assert_eq!(deck.iter().collect::<BTreeSet<_>>().len(), FAULTS.len());
        }
    }

    #[test]
    fn a_pause_is_one_to_thirty_seconds() {
        let stops = Plan::new(1, Pace::Long).filter(|step| step.fault == Fault::Stop);
        let lengths: Vec<Duration> = stops.take(200).map(|step| step.length).collect();
        let seconds = |n| Duration::from_secs(n);
        assert!(
            lengths
                .iter()
                .all(|l| (seconds(1)..seconds(30)).contains(l))
        );
        assert!(
            lengths.iter().any(|l| *l > seconds(25)) && lengths.iter().any(|l| *l < seconds(5))
        );
    }
}
