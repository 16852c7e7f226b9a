//! How long work that is done at each change waits for the next one.

use std::time::{Duration, Instant};

/// However long the work took.
const MOST: Duration = Duration::from_millis(250);
/// How much longer than the work took.
const REST: u32 = 3;

/// Rests after work three times as long as it took: whoever changes much, and again and again, has
/// a quarter of a thread for it, for as long as the work takes no third of the longest rest, a
/// quarter of a second. No change waits longer than that.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    least: Duration,
    rested: Instant,
}

impl Rest {
    /// Changes are gathered for `least` at least.
    pub fn new(least: Duration) -> Self {
        Self {
            least,
            rested: Instant::now(),
        }
    }

    /// For how long to gather changes from now on.
    pub fn gather(self) -> Duration {
        let rest = self.rested.saturating_duration_since(Instant::now());
        rest.max(self.least)
    }

    /// When it has rested after the last work.
    pub fn rested(self) -> Instant {
        self.rested
    }

    /// Does the work, and notes how long it took.
    pub fn after<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let made = work();
        let ended = Instant::now();
        self.rested = ended + rest(ended.duration_since(begun));
        made
    }
}

fn rest(took: Duration) -> Duration {
    took.saturating_mul(REST).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_takes_long_is_done_less_often_up_to_a_bound() {
        assert_eq!(rest(Duration::from_millis(20)), Duration::from_millis(60));
        assert_eq!(rest(Duration::MAX), MOST);
    }

    #[test]
    fn whoever_has_rested_gathers_for_the_least() {
        let least = Duration::from_millis(5);
        let mut rest = Rest::new(least);
        assert_eq!(rest.gather(), least);
        let begun = Instant::now();
        assert_eq!(rest.after(|| 7), 7);
        assert!(rest.rested() >= begun);
        rest.rested = begun + Duration::from_secs(3600);
        assert!(rest.gather() > least);
        rest.rested = begun;
        assert_eq!(rest.gather(), least, "also long after work that took long");
    }
}
