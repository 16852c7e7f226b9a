//! Partial partitions, each by itself, in fair weather.
//!
//! Where a node hears some others and not all, a group may elect leaders without end although most of
//! it could work; in November 2020 that took an API of Cloudflare's for more than six hours.

use weft_model::NodeId;

use crate::faults::Cuts;
use crate::world::{self, Plan, Violation};

/// Who hears whom no longer, for a minute and ten seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// For messages.
    pub name: &'static str,
    /// Clusters with a gateway each, all of which vote.
    pub nodes: usize,
    /// Sender and hearer by their places: 0 is the leader, others come in the order of their ids.
    pub deaf: Vec<(usize, usize)>,
}

/// What a partition cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endured {
    /// Until the first write that was begun in it was answered, in units of 10 ms.
    pub first_write: u64,
    /// Leaders that were elected in its first ten seconds.
    pub settling: usize,
    /// Leaders that were elected in the minute after them.
    pub settled: usize,
}

/// Runs a federation from its founding into one partition, and out of it again.
///
/// # Errors
/// An invariant does not hold, or the group does not converge afterwards.
pub fn endure(plan: Plan, shape: &Shape) -> Result<Endured, Violation> {
    world::endure(plan, shape)
}

impl Shape {
    pub(crate) fn cuts(&self, leader: NodeId, mut others: Vec<NodeId>) -> Cuts {
        others.retain(|node| *node != leader);
        others.insert(0, leader);
        let node = |place: &usize| others.get(*place).copied();
        let ends = self.deaf.iter();
        ends.filter_map(|(from, to)| Some((node(from)?, node(to)?)))
            .collect()
    }
}

/// Every way in which one node is not heard by one other, hears nobody or is heard by nobody, every
/// bridge, ring and pair of halves of three or five nodes, up to the order of those who do not lead.
pub fn shapes(nodes: usize) -> Vec<Shape> {
    let all: Vec<usize> = (0..nodes).collect();
    let rest = |apart: &[usize]| -> Vec<usize> {
        let others = all.iter().filter(|place| !apart.contains(place));
        others.copied().collect()
    };
    let mut shapes = Vec::new();
    let mut add = |name, deaf| shapes.push(Shape { name, nodes, deaf });
    add("a follower does not hear the leader", vec![(0, 1)]);
    add("the leader does not hear a follower", vec![(1, 0)]);
    add("a follower does not hear another", vec![(1, 2)]);
    add(
        "leader and a follower do not hear each other",
        both(&[0], &[1]),
    );
    add("two followers do not hear each other", both(&[1], &[2]));
    for (who, names) in [
        (
            0,
            [
                "the leader hears nobody",
                "nobody hears the leader",
                "the leader is cut off",
            ],
        ),
        (
            1,
            [
                "a follower hears nobody",
                "nobody hears a follower",
                "a follower is cut off",
            ],
        ),
    ] {
        let [hears, heard, off] = names;
        let others = rest(&[who]);
        add(hears, ways(&others, &[who]));
        add(heard, ways(&[who], &others));
        add(off, both(&[who], &others));
    }
    if nodes == 5 {
        add(
            "halves, the leader in the smaller",
            both(&[0, 1], &[2, 3, 4]),
        );
        add(
            "halves, the leader in the larger",
            both(&[3, 4], &[0, 1, 2]),
        );
        add("halves over a bridge, which leads", both(&[1, 2], &[3, 4]));
        add(
            "halves over a bridge, which follows",
            both(&[0, 1], &[3, 4]),
        );
        add(
            "a ring",
            [both(&[0], &[2, 3]), both(&[1], &[3, 4]), both(&[2], &[4])].concat(),
        );
    }
    shapes
}

fn ways(from: &[usize], to: &[usize]) -> Vec<(usize, usize)> {
    let pairs = from.iter();
    pairs
        .flat_map(|one| to.iter().map(move |other| (*one, *other)))
        .collect()
}

fn both(one: &[usize], other: &[usize]) -> Vec<(usize, usize)> {
    [ways(one, other), ways(other, one)].concat()
}
