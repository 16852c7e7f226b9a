//! What goes wrong, and when: drawn from the seed.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use weft_model::NodeId;
use weft_registry::disk::Space;

use crate::network::Weather;

/// One thing that goes wrong, or right again.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing arrives in these directions any more.
    Cut(Vec<(NodeId, NodeId)>),
    /// All cuts end.
    Mend,
    Weather(Weather),
    /// A node loses power for a while.
    Crash {
        node: NodeId,
        down: u64,
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
}

/// Draws what happens in this unit of time, if anything does.
pub(crate) fn draw(rng: &mut SmallRng, nodes: &[NodeId], leader: Option<NodeId>) -> Option<Fault> {
    if !rng.random_bool(0.02) {
        return None;
    }
    Some(match rng.random_range(0..24) {
        0..5 => Fault::Cut(cut(rng, nodes, leader)),
        5..10 => Fault::Mend,
        10..13 => Fault::Weather(weather(rng)),
        13..19 => Fault::Crash {
            // The leader is where it hurts.
            node: leader
                .filter(|_| rng.random_bool(0.5))
                .or_else(|| nodes.choose(rng).copied())?,
            down: rng.random_range(5..200),
        },
        19 => Fault::Blackout {
            down: rng.random_range(5..100),
        },
        _ => shortage(rng, nodes, leader),
    })
}

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

/// A side against the rest, or one node against all, in one or both directions.
fn cut(rng: &mut SmallRng, nodes: &[NodeId], leader: Option<NodeId>) -> Vec<(NodeId, NodeId)> {
    let alone = leader.filter(|_| rng.random_bool(0.5));
    let side: Vec<NodeId> = match alone {
        Some(leader) => vec![leader],
        None => nodes
            .iter()
            .copied()
            .filter(|_| rng.random_bool(0.4))
            .collect(),
    };
    let (out, back) = match rng.random_range(0..3) {
        0 => (true, false),
        1 => (false, true),
        _ => (true, true),
    };
    let mut cuts = Vec::new();
    for one in &side {
        for other in nodes.iter().filter(|node| !side.contains(node)) {
            cuts.extend(out.then_some((*one, *other)));
            cuts.extend(back.then_some((*other, *one)));
        }
    }
    cuts
}
