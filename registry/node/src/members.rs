//! Who should replicate and who should vote: a pure function of the state, the
//! group's configuration and the followers' progress.
//!
//! Every gateway holds a replica. At most five of those whose clusters are
//! trusted with the log vote: an odd number, spread over regions first and
//! clusters second, and no more changes than that needs. Followers, which keep
//! nothing on a disk, never do.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::ConfState;
use weft_model::{ClusterName, ClusterRole, Federation, NodeId, RegionName};
use weft_proto::log::conf_change;

/// How many vote at most. Five survive two losses; more would only make commits slower.
pub const VOTERS_MAX: usize = 5;

/// A follower this close to the commit counts as caught up, in entries.
const CAUGHT_UP: u64 = 64;

/// How far a follower is, as its leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many committed entries it may lack.
    pub behind: u64,
    /// Whether it was heard lately.
    pub active: bool,
}

/// The next step towards the right group. One at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// A gateway that holds no replica yet begins to.
    AddLearner(NodeId),
    /// A gateway that is gone stops counting.
    Remove(NodeId),
    /// These begin to vote and those stop, at once (joint consensus if they are several).
    Voters {
        /// Replicas that begin to vote.
        promote: Vec<NodeId>,
        /// Voters that go on as plain replicas.
        demote: Vec<NodeId>,
    },
    /// The leader itself must go: somebody else leads first.
    Transfer(NodeId),
}

impl MemberChange {
    pub(crate) fn singles(&self) -> Vec<(conf_change::Type, NodeId)> {
        use conf_change::Type;
        match self {
            Self::AddLearner(node) => vec![(Type::AddLearner, *node)],
            Self::Remove(node) => vec![(Type::Remove, *node)],
            Self::Voters { promote, demote } => {
                let up = promote.iter().map(|node| (Type::AddVoter, *node));
                let down = demote.iter().map(|node| (Type::AddLearner, *node));
                up.chain(down).collect()
            }
            Self::Transfer(_) => Vec::new(),
        }
    }
}

/// What the leader `me` should change next; none if all is as it should be.
pub fn plan_members(
    state: &Federation,
    conf: &ConfState,
    progress: &BTreeMap<NodeId, Progress>,
    me: NodeId,
) -> Option<MemberChange> {
    let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
    let (voters, learners) = (ids(conf.get_voters()), ids(conf.get_learners()));
    if let Some(gone) = voters
        .union(&learners)
        .find(|node| state.node(**node).is_none())
    {
        return remove(state, *gone, &voters, progress, me);
    }
    let newcomer = state
        .nodes()
        .map(|(node, _)| node)
        .find(|node| !voters.contains(node) && !learners.contains(node));
    if let Some(newcomer) = newcomer {
        return Some(MemberChange::AddLearner(newcomer));
    }
    let wanted = choose_voters(&candidates(state, &voters, progress));
    if wanted.is_empty() {
        return None;
    }
    let promote: Vec<NodeId> = wanted.difference(&voters).copied().collect();
    let demote: Vec<NodeId> = voters.difference(&wanted).copied().collect();
    if promote.is_empty() && demote.is_empty() {
        return from_witness(state, &voters, progress, me);
    }
    if demote.contains(&me) {
        return successor(state, &voters, progress, me).map(MemberChange::Transfer);
    }
    Some(MemberChange::Voters { promote, demote })
}

/// A witness that leads hands over to whoever is none.
fn from_witness(
    state: &Federation,
    voters: &BTreeSet<NodeId>,
    progress: &BTreeMap<NodeId, Progress>,
    me: NodeId,
) -> Option<MemberChange> {
    if !is_witness(state, me) {
        return None;
    }
    let next = successor(state, voters, progress, me);
    next.filter(|node| !is_witness(state, *node))
        .map(MemberChange::Transfer)
}

fn is_witness(state: &Federation, node: NodeId) -> bool {
    let cluster = state.node(node).and_then(|it| state.cluster(&it.cluster));
    cluster.is_some_and(|it| it.spec.role == ClusterRole::Witness)
}

fn remove(
    state: &Federation,
    gone: NodeId,
    voters: &BTreeSet<NodeId>,
    progress: &BTreeMap<NodeId, Progress>,
    me: NodeId,
) -> Option<MemberChange> {
    if gone != me {
        return Some(MemberChange::Remove(gone));
    }
    successor(state, voters, progress, me).map(MemberChange::Transfer)
}

/// The voter that can lead soonest; a witness only if there is no other.
pub(crate) fn successor(
    state: &Federation,
    voters: &BTreeSet<NodeId>,
    progress: &BTreeMap<NodeId, Progress>,
    me: NodeId,
) -> Option<NodeId> {
    voters
        .iter()
        .filter(|node| **node != me)
        .filter_map(|node| {
            let progress = progress.get(node).filter(|progress| progress.active)?;
            Some((is_witness(state, *node), progress.behind, *node))
        })
        .min()
        .map(|(_, _, node)| node)
}

/// Whether another voter should lead because `writer`, a cluster, writes most: one of that cluster, or
/// of its region. None if the leader `me` is there, or no such voter has caught up.
pub(crate) fn near(
    state: &Federation,
    voters: &BTreeSet<NodeId>,
    progress: &BTreeMap<NodeId, Progress>,
    me: NodeId,
    writer: &ClusterName,
) -> Option<MemberChange> {
    let region = &state.cluster(writer)?.spec.region;
    // Nearest first.
    let distance = |node: &NodeId| {
        let cluster = &state.node(*node)?.cluster;
        match cluster == writer {
            true => Some(0),
            false => (state.cluster(cluster)?.spec.region == *region).then_some(1),
        }
    };
    if distance(&me).is_some() {
        return None;
    }
    let ready = |node: &&NodeId| {
        progress
            .get(node)
            .is_some_and(|progress| progress.active && progress.behind <= CAUGHT_UP)
    };
    let candidates = voters.iter().filter(ready);
    candidates
        .filter_map(|node| Some((distance(node)?, *node)))
        .min()
        .map(|(_, node)| MemberChange::Transfer(node))
}

/// A gateway that could vote.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    node: NodeId,
    region: RegionName,
    cluster: ClusterName,
    votes_now: bool,
    lapsed: bool,
    witness: bool,
}

/// Those who vote now and may go on, and replicas that have caught up.
fn candidates(
    state: &Federation,
    voters: &BTreeSet<NodeId>,
    progress: &BTreeMap<NodeId, Progress>,
) -> Vec<Candidate> {
    let ready = |node: &NodeId| {
        progress
            .get(node)
            .is_some_and(|progress| progress.active && progress.behind <= CAUGHT_UP)
    };
    let candidate = |(node, record): (NodeId, &std::sync::Arc<weft_model::Node>)| {
        let member = state.cluster(&record.cluster)?;
        let votes_now = voters.contains(&node);
        let lapsed = member.lapsed.is_some();
        if !state.may_vote(node) || (!votes_now && (lapsed || !ready(&node))) {
            return None;
        }
        Some(Candidate {
            node,
            region: member.spec.region.clone(),
            cluster: record.cluster.clone(),
            votes_now,
            lapsed,
            witness: member.spec.role == ClusterRole::Witness,
        })
    };
    state.nodes().filter_map(candidate).collect()
}

/// Picks one after the other: from the region with the fewest picks, and there
/// witnesses last; then the cluster with the fewest; those whose lease is held before those whose has
/// lapsed; those who vote already before others; the oldest.
fn choose_voters(candidates: &[Candidate]) -> BTreeSet<NodeId> {
    let count = candidates.len().min(VOTERS_MAX);
    let odd = count - usize::from(count > 0 && count.is_multiple_of(2));
    let mut regions: BTreeMap<&RegionName, usize> = BTreeMap::new();
    let mut clusters: BTreeMap<&ClusterName, usize> = BTreeMap::new();
    let mut chosen = BTreeSet::new();
    while chosen.len() < odd {
        let next = candidates
            .iter()
            .filter(|candidate| !chosen.contains(&candidate.node))
            .min_by_key(|candidate| {
                (
                    candidate.lapsed,
                    regions.get(&candidate.region).copied().unwrap_or(0),
                    candidate.witness,
                    clusters.get(&candidate.cluster).copied().unwrap_or(0),
                    !candidate.votes_now,
                    candidate.node,
                )
            });
        let Some(next) = next else {
            break;
        };
        chosen.insert(next.node);
        *regions.entry(&next.region).or_default() += 1;
        *clusters.entry(&next.cluster).or_default() += 1;
    }
    chosen
}

#[cfg(test)]
mod tests;
