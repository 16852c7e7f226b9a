//! Peak EWMA: what an endpoint's next request is expected to cost.

use std::time::Duration;

use super::Outcome;
use crate::Tick;

/// An exponentially weighted moving average of latency that jumps up to a peak at
/// once and comes down slowly, times the requests under way (Finagle's
/// `PeakEwma`; Linkerd uses the same constants).
#[derive(Debug, Clone)]
pub(super) struct PeakEwma {
    seconds: f64,
    stamp: Tick,
    pending: u32,
}

/// Time after which a past latency counts 1/e. Shorter: forgives a slow endpoint
/// sooner, and follows noise more.
const DECAY: Duration = Duration::from_secs(10);
/// What an endpoint costs before its first answer. Higher: new endpoints warm up slower.
const LATENCY_DEFAULT: Duration = Duration::from_millis(30);

impl PeakEwma {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            seconds: LATENCY_DEFAULT.as_secs_f64(),
            stamp: now,
            pending: 0,
        }
    }

    pub(super) fn start(&mut self) {
        self.pending = self.pending.saturating_add(1);
    }

    pub(super) fn finish(&mut self, outcome: Outcome, latency: Duration, now: Tick) {
        self.pending = self.pending.saturating_sub(1);
        let seen = latency.as_secs_f64();
        match outcome {
            Outcome::Success => self.observe(seen, now),
            // A quick failure must not make an endpoint look fast and draw more traffic.
            Outcome::ServerError | Outcome::LocalOrigin => {
                self.observe(seen.max(self.seconds), now);
            }
            Outcome::Cancelled => {}
        }
    }

    /// Expected seconds until an answer to one more request.
    pub(super) fn cost(&self, now: Tick) -> f64 {
        self.seconds * self.kept(now) * f64::from(self.pending.saturating_add(1))
    }

    fn observe(&mut self, seen: f64, now: Tick) {
        if seen > self.seconds {
            self.seconds = seen;
        } else {
            let kept = self.kept(now);
            self.seconds = self.seconds * kept + seen * (1.0 - kept);
        }
        self.stamp = now;
    }

    fn kept(&self, now: Tick) -> f64 {
        let idle = now.since(self.stamp).as_secs_f64();
        (-idle / DECAY.as_secs_f64()).exp()
    }
}
