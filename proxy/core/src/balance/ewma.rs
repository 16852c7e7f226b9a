//! Peak EWMA: what an endpoint's next request is expected to cost.

use std::time::Duration;

use super::Outcome;
use crate::Tick;

/// An exponentially weighted moving average of latency that jumps up to a peak at
/// once and comes down slowly, and the requests under way (Finagle's `PeakEwma`).
///
/// It differs from Finagle's and Linkerd's in two points, both for services with
/// little traffic: an endpoint that was never measured is judged by its requests
/// alone instead of by a guess of 30 ms, and latencies less than a factor of
/// [`NOISE`] apart count as equal, so that jitter does not starve an endpoint.
#[derive(Debug, Clone)]
pub(super) struct PeakEwma {
    seconds: Option<f64>,
    stamp: Tick,
    pending: u32,
}

/// Time after which a past latency counts 1/e (Finagle's and Linkerd's value).
/// Shorter: forgives a slow endpoint sooner, and follows noise more.
const DECAY: Duration = Duration::from_secs(10);
/// Latencies closer than this factor are the same. Higher: shares are more even
/// among unequal endpoints.
const NOISE: f64 = 2.0;

impl PeakEwma {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            seconds: None,
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
                self.observe(seen.max(self.seconds.unwrap_or(0.0)), now);
            }
            Outcome::Cancelled => {}
        }
    }

    /// Whether one more request is better off here than at `other`, each having
    /// its weight.
    pub(super) fn beats(&self, weight: f64, other: &Self, other_weight: f64, now: Tick) -> bool {
        let (mut here, mut there) = match (self.latency(now), other.latency(now)) {
            (Some(here), Some(there)) => (here, there),
            _ => (1.0, 1.0),
        };
        if here < there * NOISE && there < here * NOISE {
            (here, there) = (1.0, 1.0);
        }
        let queue = |load: &Self| f64::from(load.pending.saturating_add(1));
        here * queue(self) / weight < there * queue(other) / other_weight
    }

    fn latency(&self, now: Tick) -> Option<f64> {
        Some(self.seconds? * self.kept(now))
    }

    fn observe(&mut self, seen: f64, now: Tick) {
        self.seconds = Some(match self.seconds {
            Some(past) if seen <= past => {
                let kept = self.kept(now);
                past * kept + seen * (1.0 - kept)
            }
            _ => seen,
        });
        self.stamp = now;
    }

    fn kept(&self, now: Tick) -> f64 {
        let idle = now.since(self.stamp).as_secs_f64();
        (-idle / DECAY.as_secs_f64()).exp()
    }
}
