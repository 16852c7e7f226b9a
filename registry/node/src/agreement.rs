//! Whether replicas agree: digests of their states at the same positions, compared.
//!
//! What it is: which states to keep for a comparison, and the verdict. What it is not: in the
//! way of anything: a digest is computed on another thread, some seconds apart, and no entry waits for it.

use std::collections::{BTreeMap, VecDeque};
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

/// Judges the newest position of which most have spoken. `replicas` counts all, this node too.
pub(crate) fn judge(own: &Digests, said: &BTreeMap<NodeId, Digests>, replicas: usize) -> Agreement {
    let majority = replicas / 2 + 1;
    let speakers = |index: &Index| said.values().filter(|it| it.contains_key(index)).count();
    let most = own.keys().map(speakers).max().unwrap_or(0);
    let Some((index, mine)) = own
        .iter()
        .rev()
        .find(|(index, _)| most > 0 && speakers(index) == most)
    else {
        return Agreement::Unknown;
    };
    let mut camps: BTreeMap<u64, Vec<NodeId>> = BTreeMap::new();
    for (node, digests) in said {
        if let Some(digest) = digests.get(index) {
            camps.entry(*digest).or_default().push(*node);
        }
    }
    let with_me = camps.remove(mine).map_or(1, |nodes| nodes.len() + 1);
    let index = *index;
    let others: Vec<NodeId> = camps.values().flatten().copied().collect();
    if let Some(nodes) = camps.into_values().find(|nodes| nodes.len() >= majority) {
        return Agreement::Broken {
            index,
            majority: nodes,
        };
    }
    match with_me >= majority || others.is_empty() {
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
        let check = |said: &[(u64, &[(u64, u64)])], replicas, expect: Agreement| {
            let own = digests(&[(8, 1), (16, 2)]);
            let said = said
                .iter()
                .map(|(node, rows)| (NodeId(*node), digests(rows)))
                .collect();
            assert_eq!(judge(&own, &said, replicas), expect, "{said:?}");
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
