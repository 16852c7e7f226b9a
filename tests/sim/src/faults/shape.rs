//! The shapes of partitions.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use weft_model::NodeId;

use crate::coverage::Seen;

/// Directions in which nothing arrives.
pub(crate) type Cuts = BTreeSet<(NodeId, NodeId)>;

/// Draws a partition of these nodes; the leader is where it hurts.
pub(crate) fn draw(
    rng: &mut SmallRng,
    nodes: &[NodeId],
    leader: Option<NodeId>,
) -> Option<(Seen, Cuts)> {
    let mut around = nodes.to_vec();
    around.shuffle(rng);
    if let Some(leader) = leader.filter(|_| rng.random_bool(0.4)) {
        around.retain(|node| *node != leader);
        around.insert(0, leader);
    }
    let (first, rest) = around.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let side = &around[..rng.random_range(1..around.len())];
    let shape = [
        Seen::CutOneWay,
        Seen::CutOff,
        Seen::CutHalves,
        Seen::CutBridge,
        Seen::CutRing,
    ];
    // In a ring or over a bridge of three or fewer everybody still hears enough.
    let known = if around.len() < 4 { 3 } else { shape.len() };
    let shape = *shape[..known].choose(rng)?;
    let cuts = match shape {
        Seen::CutOneWay if rng.random_bool(0.5) => one_way(side, nodes),
        Seen::CutOneWay => one_way(nodes, side),
        Seen::CutOff => both_ways(&[*first], rest),
        Seen::CutHalves => both_ways(side, nodes),
        Seen::CutBridge => {
            let half = rest.len() / 2;
            both_ways(&rest[..half], &rest[half..])
        }
        _ => ring(&around),
    };
    Some((shape, cuts))
}

fn one_way(from: &[NodeId], to: &[NodeId]) -> Cuts {
    let pairs = from
        .iter()
        .flat_map(|one| to.iter().map(move |other| (*one, *other)));
    pairs
        .filter(|(one, other)| !(from.contains(other) && to.contains(one)) && one != other)
        .collect()
}

fn both_ways(one: &[NodeId], other: &[NodeId]) -> Cuts {
    let other: Vec<NodeId> = other.iter().copied().filter(|n| !one.contains(n)).collect();
    let mut cuts = one_way(one, &other);
    cuts.extend(one_way(&other, one));
    cuts
}

/// Everybody hears the neighbours on both sides, and nobody else.
fn ring(around: &[NodeId]) -> Cuts {
    let count = around.len();
    let mut cuts = Cuts::new();
    for (at, node) in around.iter().enumerate() {
        for step in 2..count.saturating_sub(1) {
            cuts.insert((*node, around[(at + step) % count]));
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u64) -> Vec<NodeId> {
        (1..=count).map(NodeId).collect()
    }

    #[test]
    fn a_side_against_the_rest_is_cut_in_the_directions_meant() {
        let all = nodes(4);
        assert_eq!(one_way(&all[..1], &all).len(), 3);
        assert_eq!(one_way(&all, &all[..1]).len(), 3);
        assert!(one_way(&all, &all[..1]).contains(&(NodeId(2), NodeId(1))));
        assert_eq!(both_ways(&all[..2], &all).len(), 8);
    }

    #[test]
    fn in_a_ring_each_of_five_hears_two() {
        let cuts = ring(&nodes(5));
        assert_eq!(cuts.len(), 10);
        assert!(!cuts.contains(&(NodeId(5), NodeId(1))));
        assert!(cuts.contains(&(NodeId(1), NodeId(3))));
    }
}
