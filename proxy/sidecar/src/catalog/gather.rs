//! How long changes are gathered before something is made of them.

use std::time::{Duration, Instant};

/// However much goes on.
const MOST: Duration = Duration::from_millis(500);
/// How much longer than the work took: it has a quarter of a thread at most.
const REST: u32 = 3;

/// Gathers for longer, the longer the work takes: whoever changes much, and again and again, costs
/// no more than that, and the others' changes wait for half a second at most.
#[derive(Debug, Clone, Copy)]
pub struct Gather {
    least: Duration,
    took: Duration,
}

impl Gather {
    /// For `least`, while little goes on.
    pub fn new(least: Duration) -> Self {
        Self {
            least,
            took: Duration::ZERO,
        }
    }

    /// For how long to gather now.
    pub fn time(self) -> Duration {
        (self.took * REST).clamp(self.least, MOST)
    }

    /// Does the work, and notes how long it took.
    pub fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let made = work();
        self.took = begun.elapsed();
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_takes_long_is_done_less_often_up_to_a_bound() {
        let least = Duration::from_millis(5);
        let after = |millis| {
            let took = Duration::from_millis(millis);
            Gather { least, took }.time()
        };
        assert_eq!(Gather::new(least).time(), least);
        assert_eq!(after(1), least);
        assert_eq!(after(20), Duration::from_millis(60));
        assert_eq!(after(10_000), MOST);
    }
}
