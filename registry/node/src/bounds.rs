//! What no term, position or configuration of a sound group is, wherever it is read: from a peer, a
//! disk or a backup. The consensus library panics on what is beyond.

use std::collections::BTreeSet;

use raft::eraftpb::ConfState;

/// Terms and positions stay below this, so that adding to them cannot overflow.
pub(crate) const NUMBER_MAX: u64 = 1 << 60;

/// The library's own rules for a configuration (raft-rs `confchange::restore`).
pub(crate) fn is_possible(conf: &ConfState) -> bool {
    let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
    let lists = [
        conf.get_voters(),
        conf.get_learners(),
        conf.get_voters_outgoing(),
        conf.get_learners_next(),
    ];
    if lists
        .iter()
        .any(|ids| ids.contains(&0) || set(ids).len() != ids.len())
    {
        return false;
    }
    let [voters, learners, outgoing, next] = lists.map(set);
    let joint = !outgoing.is_empty();
    !voters.is_empty()
        && learners.is_disjoint(&voters)
        && learners.is_disjoint(&outgoing)
        && next.is_subset(&outgoing)
        && next.is_disjoint(&voters)
        && (joint || (next.is_empty() && !conf.auto_leave))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_configurations_are_refused() {
        let check = |voters: &[u64], learners: &[u64], outgoing: &[u64], next: &[u64], expect| {
            let conf = ConfState {
                voters: voters.to_vec(),
                learners: learners.to_vec(),
                voters_outgoing: outgoing.to_vec(),
                learners_next: next.to_vec(),
                ..ConfState::default()
            };
            assert_eq!(is_possible(&conf), expect, "{conf:?}");
        };
        check(&[1], &[], &[], &[], true);
        check(&[1, 2, 3], &[4], &[], &[], true);
        check(&[1, 4], &[5], &[1, 2], &[2], true);
        check(&[], &[1], &[], &[], false);
        check(&[0], &[], &[], &[], false);
        check(&[1, 1], &[], &[], &[], false);
        check(&[1], &[1], &[], &[], false);
        check(&[1], &[2], &[2], &[], false);
        check(&[1], &[], &[], &[2], false);
        check(&[1], &[], &[2], &[3], false);
    }
}
