//! How many retries a service's callers may add to its load.

use std::time::Duration;

use crate::Tick;

/// A retry costs one token; a request earns a fifth of one, and time earns some
/// more, so that a service with little traffic can be retried at all. At any
/// failure rate the upstream load stays below 1.2 × requests + `reserve` per
/// second (the rule of Finagle's and Linkerd's `RetryBudget`).
#[derive(Debug, Clone)]
pub struct RetryBudget {
    ratio: f64,
    earned: f64,
    reserve: f64,
    reserve_per_second: f64,
    last: Tick,
}

/// Tokens a request earns by default.
const RATIO: f64 = 0.2;
/// Most tokens that requests can save up: what 500 requests earn. Higher: longer
/// bursts of retries after a calm time.
const EARNED_MAX: f64 = 100.0;

impl RetryBudget {
    /// A budget whose reserve is full. `reserve_per_second` is this caller's part
    /// of the 10/s of a process: divide by the number of workers.
    pub fn new(reserve_per_second: f64, now: Tick) -> Self {
        Self {
            ratio: RATIO,
            earned: 0.0,
            reserve: reserve_per_second.max(1.0),
            reserve_per_second,
            last: now,
        }
    }

    /// What a policy says from now on: tokens that a request earns, and those that time does.
    pub fn configure(&mut self, ratio: Option<f64>, reserve_per_second: f64) {
        self.ratio = ratio.unwrap_or(RATIO);
        self.reserve_per_second = reserve_per_second;
    }

    /// A first attempt was made.
    pub fn on_request(&mut self) {
        self.earned = (self.earned + self.ratio).min(EARNED_MAX);
    }

    /// Takes a token for one retry, if there is one.
    pub fn try_retry(&mut self, now: Tick) -> bool {
        #[cfg(feature = "bugs")]
        if weft_model::planted::Bug::UnboundedRetry.is_planted() {
            return true;
        }
        let elapsed: Duration = now.since(self.last);
        self.last = now;
        self.reserve = (self.reserve + elapsed.as_secs_f64() * self.reserve_per_second).min(
            if self.reserve_per_second > 0.0 {
                self.reserve_per_second.max(1.0)
            } else {
                0.0
            },
        );
        for tokens in [&mut self.earned, &mut self.reserve] {
            if *tokens >= 1.0 {
                *tokens -= 1.0;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every request fails and is retried as often as the budget allows.
        #[test]
        fn load_stays_within_the_bound(requests in 1u32..20_000, seconds in 1u64..30) {
            let mut budget = RetryBudget::new(10.0, Tick::default());
            let step = Duration::from_secs(seconds) / requests;
            let mut now = Tick::default();
            let mut retries = 0u32;
            for _ in 0..requests {
                now = now.after(step);
                budget.on_request();
                retries += u32::from(budget.try_retry(now));
            }
            // One second's reserve may be there at the start.
            let bound = 0.2 * f64::from(requests) + 10.0 * (seconds + 1) as f64;
            prop_assert!(f64::from(retries) <= bound, "{retries} > {bound}");
        }
    }

    #[test]
    fn a_quiet_service_can_be_retried() {
        let mut budget = RetryBudget::new(10.0, Tick::default());
        budget.on_request();
        assert!(budget.try_retry(Tick::default()));
    }
}
