//! What goes wrong, and when: drawn from the seed.

mod shape;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use weft_model::NodeId;
use weft_registry::disk::Space;

use crate::coverage::Seen;
use crate::network::Weather;
use crate::world::TICK;
pub(crate) use shape::Cuts;

/// One thing that goes wrong, or right again.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing arrives in these directions any more.
    Cut(Seen, Cuts),
    /// All cuts end.
    Mend,
    Weather(Weather),
    /// A node loses power for a while: now, or in the middle of its next write.
    Crash {
        node: NodeId,
        down: u64,
        writing: bool,
    },
    /// All nodes lose power for a while.
    Blackout {
        down: u64,
    },
    /// The disks of some nodes run short of room, or out of it, for a while.
    Shortage {
        nodes: Vec<NodeId>,
        space: Space,
        lasts: u64,
    },
    /// A node stands still for a while, then goes on as if nothing had happened.
    Pause {
        node: NodeId,
        lasts: u64,
    },
    /// A node's wall clock is put so many milliseconds off.
    Step {
        node: NodeId,
        millis: i64,
    },
    /// A node's clocks run at another rate: so many units of time are one of its ticks.
    Drift {
        node: NodeId,
        tick: u64,
    },
}

/// How likely each kind of fault is in one run: some runs know only some of them, so
/// that what one kind does is not hidden by another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    weights: [u32; KINDS],
}

const KINDS: usize = 8;
/// Cut, mend, weather, crash, blackout, shortage, pause, clock.
const USUAL: [u32; KINDS] = [6, 5, 3, 6, 1, 5, 3, 3];

impl Mix {
    /// Half of all runs have all kinds, in the others each is left out with one chance in three.
    pub(crate) fn draw(rng: &mut SmallRng) -> Self {
        let mut weights = USUAL;
        if rng.random_bool(0.5) {
            for weight in &mut weights {
                *weight *= u32::from(rng.random_bool(0.67));
            }
        }
        Self { weights }
    }

    fn kind(&self, rng: &mut SmallRng) -> Option<usize> {
        let total: u32 = self.weights.iter().sum();
        let mut drawn = rng.random_range(0..total.max(1));
        self.weights.iter().position(|weight| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        })
    }
}

/// Draws what happens in this unit of time, if anything does.
pub(crate) fn draw(
    rng: &mut SmallRng,
    mix: Mix,
    nodes: &[NodeId],
    leader: Option<NodeId>,
) -> Option<Fault> {
    if !rng.random_bool(0.025) {
        return None;
    }
    let kind = mix.kind(rng)?;
    // The leader is where it hurts.
    let node = leader
        .filter(|_| rng.random_bool(0.5))
        .or_else(|| nodes.choose(rng).copied())?;
    Some(match kind {
        0 => {
            let (shape, cuts) = shape::draw(rng, nodes, leader)?;
            Fault::Cut(shape, cuts)
        }
        1 => Fault::Mend,
        2 => Fault::Weather(weather(rng)),
        3 => Fault::Crash {
            node,
            down: rng.random_range(5..200),
            writing: rng.random_bool(0.6),
        },
        4 => Fault::Blackout {
            down: rng.random_range(5..100),
        },
        5 => shortage(rng, nodes, leader),
        // One second to thirty, the long ones rarely.
        6 => {
            let seconds_max = *[3, 10, 30].choose(rng)?;
            Fault::Pause {
                node,
                lasts: 100 * rng.random_range(1..=seconds_max),
            }
        }
        _ => clock(rng, node),
    })
}

/// Up to an hour off, in either direction; or a fifth too fast or too slow, and now and then ten times.
fn clock(rng: &mut SmallRng, node: NodeId) -> Fault {
    match rng.random_bool(0.6) {
        true => Fault::Step {
            node,
            millis: rng.random_range(-HOUR..=HOUR),
        },
        false => Fault::Drift {
            node,
            tick: match rng.random_range(0..4) {
                0 => *[TICK / 10, TICK * 10].choose(rng).unwrap_or(&TICK),
                _ => rng.random_range(8..=12),
            },
        },
    }
}

const HOUR: i64 = 3_600_000;

/// Mostly one node, and then the leader as often as not; sometimes several at once.
fn shortage(rng: &mut SmallRng, nodes: &[NodeId], leader: Option<NodeId>) -> Fault {
    let short = match leader.filter(|_| rng.random_bool(0.4)) {
        Some(leader) => vec![leader],
        None => {
            let share = *[0.2, 0.2, 0.6, 1.0].choose(rng).unwrap_or(&0.2);
            let hit = |_: &NodeId| rng.random_bool(share);
            nodes.iter().copied().filter(hit).collect()
        }
    };
    Fault::Shortage {
        nodes: short,
        space: match rng.random_bool(0.3) {
            true => Space::Low,
            false => Space::Full,
        },
        lasts: rng.random_range(20..600),
    }
}

fn weather(rng: &mut SmallRng) -> Weather {
    Weather {
        loss: *[0.0, 0.02, 0.1, 0.3].choose(rng).unwrap_or(&0.0),
        duplication: *[0.0, 0.05, 0.3].choose(rng).unwrap_or(&0.0),
        delay_max: *[2, 6, 20, 60].choose(rng).unwrap_or(&4),
    }
}
