//! How much of a service may go without its owners saying so.

use std::time::Duration;

use crate::Moment;

/// Holds a shrink that is too large to be believed at once.
///
/// Losing one endpoint in ten without a word is a crash; losing six at once is
/// more often the witness's trouble than the endpoints'. Acting on it takes a
/// service down that is up; waiting costs callers a retry, since they judge
/// endpoints by their own requests as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShrinkGuard {
    /// Percent of a service's endpoints of one cluster; more than that is held.
    /// Lower: mass failures of witnesses do less harm, true mass failures linger.
    pub share: u8,
    /// Fewer doubted endpoints than this are never held.
    pub least: usize,
    /// How long a held shrink must last to be believed.
    pub confirm: Duration,
    /// How long a doubted endpoint that is not held stays, not ready, before it goes.
    pub linger: Duration,
}

impl Default for ShrinkGuard {
    fn default() -> Self {
        Self {
            share: 50,
            least: 3,
            confirm: Duration::from_secs(30),
            linger: Duration::from_secs(6),
        }
    }
}

impl ShrinkGuard {
    /// Whether `doubted` of `total` endpoints are too many to be believed.
    pub fn holds(&self, doubted: usize, total: usize) -> bool {
        doubted >= self.least && doubted * 100 > total * usize::from(self.share)
    }

    /// When an endpoint doubted since `since` goes.
    pub(crate) fn expiry(&self, since: Moment, held: bool) -> Moment {
        since.after(if held { self.confirm } else { self.linger })
    }
}

#[cfg(test)]
mod tests {
    use super::ShrinkGuard;

    #[test]
    fn holds_more_than_half_and_at_least_three() {
        let guard = ShrinkGuard::default();
        let cases = [
            ((1, 1), false),
            ((2, 2), false),
            ((3, 3), true),
            ((3, 5), true),
            ((3, 6), false),
            ((4, 6), true),
            ((50, 100), false),
            ((51, 100), true),
        ];
        for ((doubted, total), held) in cases {
            assert_eq!(guard.holds(doubted, total), held, "{doubted} of {total}");
        }
    }
}
