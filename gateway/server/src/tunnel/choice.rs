//! Which data connection carries a relayed connection. Pure.

use std::time::Duration;

/// What is known of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// It has been heard from lately and its peer takes new streams.
    pub(super) fit: bool,
    /// The least seen. The smoothed one rises with the load that a choice puts on
    /// a path, and choices that follow it swing from one path to the other.
    pub(super) rtt: Duration,
}

/// The place of the one to use: among the fit (among all if none is) those
/// about as near as the nearest take turns.
pub(super) fn choose(candidates: &[Candidate], turn: usize) -> Option<usize> {
    let any_fit = candidates.iter().any(|candidate| candidate.fit);
    let eligible = |candidate: &Candidate| candidate.fit || !any_fit;
    let nearest = candidates
        .iter()
        .filter(|candidate| eligible(candidate))
        .map(|candidate| candidate.rtt)
        .min()?;
    let near = nearest + (nearest / 4).max(JITTER);
    let chosen: Vec<usize> = (0..candidates.len())
        .filter(|place| eligible(&candidates[*place]) && candidates[*place].rtt <= near)
        .collect();
    chosen.get(turn % chosen.len()).copied()
}

/// Differences below this say more about load than about the path: gateways of
/// one cluster are about as far.
const JITTER: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(candidates: &[(bool, u64)], expect: &[usize]) {
        let candidates: Vec<Candidate> = candidates
            .iter()
            .map(|(fit, millis)| Candidate {
                fit: *fit,
                rtt: Duration::from_millis(*millis),
            })
            .collect();
        let chosen: Vec<usize> = (0..expect.len())
            .filter_map(|turn| choose(&candidates, turn))
            .collect();
        assert_eq!(chosen, expect, "{candidates:?}");
    }

    #[test]
    fn fit_before_near_before_turns() {
        check(&[], &[]);
        check(&[(true, 80)], &[0, 0]);
        check(&[(true, 80), (true, 81)], &[0, 1, 0]);
        check(&[(true, 80), (true, 140)], &[0, 0]);
        check(&[(false, 1), (true, 140)], &[1, 1]);
        check(&[(false, 80), (false, 90)], &[0, 1, 0]);
        check(&[(true, 0), (true, 5), (true, 6)], &[0, 1, 0, 1]);
    }
}
