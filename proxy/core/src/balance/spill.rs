//! Nearest first, and the rest in proportion to what the nearest lack.
//!
//! As Envoy does with priorities: a level takes 1.4 times the part of its endpoints that works, at
//! most everything; what it does not take goes to the next one. So a level spills once fewer than
//! about 71 % of it work, and takes its traffic back as its endpoints come back.
//!
//! An administrator's ceiling on a cluster (`Cluster.spec.maxShare`, T6 of the threat model) bounds
//! what its level takes, by what it can take or by being nearest.

use weft_model::Percent;

use super::Limit;
use crate::{LevelMembers, Rng};

/// All of the traffic.
const FULL: u64 = 10_000;
/// How much more than its part a level is trusted with (Envoy's overprovisioning factor), in tenths.
const OVERPROVISIONING: u64 = 14;

/// What a level takes with `ready` of `capacity`, in ten thousandths of the traffic.
pub(crate) fn share(ready: u64, capacity: u64) -> u64 {
    let all = capacity.max(ready);
    let taken = u128::from(FULL) * u128::from(OVERPROVISIONING) * u128::from(ready);
    let taken = taken / (10 * u128::from(all.max(1)));
    u64::try_from(taken).unwrap_or(FULL).min(FULL)
}

/// One of `levels`, nearest first and each with what it can take; none if nobody may take it. Chance
/// is not asked when the nearest takes everything.
///
/// If ceilings limit it, a level with one takes no more than that, however little the others can:
/// what is left falls to those without.
pub(super) fn draw<'l>(
    levels: impl Iterator<Item = (&'l LevelMembers, u64)> + Clone,
    limit: Limit,
    rng: &mut Rng,
) -> Option<&'l LevelMembers> {
    let ceiling = |level: &LevelMembers| level.max_share.filter(|_| limit == Limit::Share);
    let bounded = levels.map(|(level, able)| (level, able.min(most(ceiling(level)))));
    let (nearest, first) = bounded.clone().next()?;
    if first >= FULL {
        return Some(nearest);
    }
    at(bounded.clone(), rng.below(FULL)).or_else(|| {
        let open = bounded.filter(|(level, _)| ceiling(level).is_none());
        let total: u64 = open.clone().map(|(_, share)| share).sum();
        let ticket = (total > 0).then(|| rng.below(total))?;
        at(open, ticket)
    })
}

/// What a level may take, in ten thousandths.
fn most(ceiling: Option<Percent>) -> u64 {
    let percent = ceiling.unwrap_or(Percent::ALL).value();
    u64::from(percent) * FULL / 100
}

/// The level at `ticket`, if each takes its share in turn.
fn at<'l>(
    mut levels: impl Iterator<Item = (&'l LevelMembers, u64)>,
    mut ticket: u64,
) -> Option<&'l LevelMembers> {
    let drawn = levels.find(|(_, share)| {
        let here = ticket < *share;
        ticket = ticket.saturating_sub(*share);
        here
    });
    drawn.map(|(level, _)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_spills_below_seven_tenths() {
        assert_eq!(share(10, 10), FULL);
        assert_eq!(share(8, 10), FULL);
        assert_eq!(share(7, 10), 9_800);
        assert_eq!(share(5, 10), 7_000);
        assert_eq!(share(0, 10), 0);
        assert_eq!(share(0, 0), 0);
        assert_eq!(share(u64::MAX, u64::MAX), FULL);
    }
}
