//! Whether replicas agree: digests of their states at the same positions, compared.
//!
//! What it is: which states to keep for a comparison, and the verdict. What it is not: in the
//! way of anything: a digest is computed on another thread, some seconds apart, and no entry waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use weft_model::{Federation, Index, NodeId};

/// Digests by position.
pub type Digests = BTreeMap<Index, u64>;

/// Of the positions that are multiples of these, the newest states are kept, so that replicas that are
/// not equally far still have one in common: on a quiet registry and on a busy one.
const GRIDS: [u64; 2] = [8, 256];
/// States kept for each grid.
const KEPT: usize = 2;

/// States of some positions, for a while.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    grids: [VecDeque<(Index, Arc<Federation>)>; GRIDS.len()],
}

impl Checkpoints {
    /// Keeps the state right after `index`, if it is one of those. Cloning it is cheap.
    pub(crate) fn note(&mut self, index: Index, state: &Federation) {
        let mut shared = None;
        for (grid, kept) in GRIDS.iter().zip(&mut self.grids) {
            if index.0.is_multiple_of(*grid) {
                let state = shared.get_or_insert_with(|| Arc::new(state.clone()));
                kept.push_back((index, state.clone()));
                while kept.len() > KEPT {
                    kept.pop_front();
                }
            }
        }
    }

    /// The state jumped: those that were kept are of another past.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What is kept.
    pub(crate) fn states(&self) -> impl Iterator<Item = (Index, Arc<Federation>)> + '_ {
        self.grids.iter().flatten().cloned()
    }
}

/// What a comparison says of this node's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// Nobody has said anything of a position that is known here.
    Unknown,
    /// A majority of the replicas, this one among them, has the same.
    Holds {
        /// The newest position at which that is so.
        index: Index,
        /// Replicas that have another state there.
        others: Vec<NodeId>,
    },
    /// A majority of the replicas has another state, all the same one.
    Broken {
        /// Where.
        index: Index,
        /// The majority.
        majority: Vec<NodeId>,
    },
    /// Some differ, and nobody is a majority.
    Split {
        /// Where.
        index: Index,
        /// Those that differ from this node.
        others: Vec<NodeId>,
    },
}

/// Judges the newest position of which most have spoken. Only those in `trusted` count, `me` among
/// them or not: a replica without a say in the log has none in who is right.
pub(crate) fn judge(
    me: NodeId,
    own: &Digests,
    said: &BTreeMap<NodeId, Digests>,
    trusted: &BTreeSet<NodeId>,
) -> Agreement {
    let majority = trusted.len() / 2 + 1;
    let count = |nodes: &[NodeId]| nodes.iter().filter(|it| trusted.contains(it)).count();
    let speakers = |index: &Index| {
        let speak = said.iter().filter(|(_, it)| it.contains_key(index));
        let nodes: Vec<NodeId> = speak.map(|(node, _)| *node).collect();
        (count(&nodes), nodes.len())
    };
    let most = own.keys().map(speakers).max().unwrap_or_default();
    let Some((index, mine)) = own
        .iter()
        .rev()
        .find(|(index, _)| most > (0, 0) && speakers(index) == most)
    else {
        return Agreement::Unknown;
    };
    let mut camps: BTreeMap<u64, Vec<NodeId>> = BTreeMap::new();
    for (node, digests) in said {
        if let Some(digest) = digests.get(index) {
            camps.entry(*digest).or_default().push(*node);
        }
    }
    let mut with_me = camps.remove(mine).unwrap_or_default();
    with_me.push(me);
    let index = *index;
    let others: Vec<NodeId> = camps.values().flatten().copied().collect();
    if let Some(nodes) = camps.into_values().find(|nodes| count(nodes) >= majority) {
        return Agreement::Broken {
            index,
            majority: nodes,
        };
    }
    match count(&with_me) >= majority || others.is_empty() {
        true => Agreement::Holds { index, others },
        false => Agreement::Split { index, others },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(rows: &[(u64, u64)]) -> Digests {
        let rows = rows.iter().copied();
        rows.map(|(index, digest)| (Index(index), digest)).collect()
    }

    #[test]
    fn the_majority_is_right_and_nobody_else() {
        let check = |said: &[(u64, &[(u64, u64)])], trusted: u64, expect: Agreement| {
            let own = digests(&[(8, 1), (16, 2)]);
            let said = said
                .iter()
                .map(|(node, rows)| (NodeId(*node), digests(rows)))
                .collect();
            let trusted = (1..=trusted).map(NodeId).collect();
            assert_eq!(judge(NodeId(1), &own, &said, &trusted), expect, "{said:?}");
        };
        let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        check(&[], 3, Agreement::Unknown);
        check(&[(2, &[(24, 9)])], 3, Agreement::Unknown);
        let holds = |index, others: &[u64]| Agreement::Holds {
            index: Index(index),
            others: nodes(others),
        };
        check(&[(2, &[(16, 2)]), (3, &[(16, 2)])], 3, holds(16, &[]));
        check(&[(2, &[(16, 2)]), (3, &[(16, 7)])], 3, holds(16, &[3]));
        // The newest that most have spoken of.
        check(&[(2, &[(8, 1), (16, 2)]), (3, &[(8, 1)])], 3, holds(8, &[]));
        let broken = Agreement::Broken {
            index: Index(16),
            majority: nodes(&[2, 3]),
        };
        check(&[(2, &[(16, 7)]), (3, &[(16, 7)])], 3, broken);
        let split = |others: &[u64]| Agreement::Split {
            index: Index(16),
            others: nodes(others),
        };
        check(&[(2, &[(16, 7)])], 2, split(&[2]));
        check(&[(2, &[(16, 7)]), (3, &[(16, 8)])], 3, split(&[2, 3]));
        check(&[(2, &[(16, 7)]), (3, &[(16, 7)])], 5, split(&[2, 3]));
        // Any number of those who do not count, who do not choose the position either.
        check(&[(2, &[(16, 7)]), (3, &[(16, 7)])], 1, holds(16, &[2, 3]));
        let spoken: [(u64, &[(u64, u64)]); 3] = [(2, &[(16, 2)]), (4, &[(8, 7)]), (5, &[(8, 7)])];
        check(&spoken, 3, holds(16, &[]));
    }

    #[test]
    fn who_does_not_count_is_judged_by_those_who_do() {
        let (mine, theirs) = (digests(&[(8, 1)]), digests(&[(8, 2)]));
        let said = [(2, &theirs), (3, &theirs), (5, &mine)];
        let said = said.map(|(node, it)| (NodeId(node), it.clone())).into();
        let trusted = [1, 2, 3].map(NodeId).into();
        let broken = Agreement::Broken {
            index: Index(8),
            majority: [2, 3].map(NodeId).into(),
        };
        assert_eq!(judge(NodeId(4), &mine, &said, &trusted), broken);
    }

    #[test]
    fn the_newest_states_of_each_grid_are_kept() {
        let mut kept = Checkpoints::default();
        for index in 1..=530 {
            kept.note(Index(index), &Federation::default());
        }
        let held: Vec<u64> = kept.states().map(|(index, _)| index.0).collect();
        assert_eq!(held, [520, 528, 256, 512]);
    }
}
