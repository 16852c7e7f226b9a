//! Outlier ejection, with Envoy's words and defaults.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use weft_model::OutlierDetection;

use super::Outcome;
use crate::Tick;

/// When an endpoint is set aside, and for how long (Istio `outlierDetection`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierConfig {
    /// Server errors in a row that eject; 0 is off. Default 5.
    pub consecutive_5xx: u32,
    /// Failures seen here in a row (connect, handshake, reset) that eject; 0 is off. Default 5.
    pub consecutive_local_origin_failures: u32,
    /// How long for, times the number of ejections so far. Default 30 s.
    pub base_ejection_time: Duration,
    /// The longest ejection. Default 300 s.
    pub ejection_time_max: Duration,
    /// Most of a service's endpoints that may be ejected at once, percent; one always may. Default 10.
    pub ejection_percent_max: u32,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_local_origin_failures: 5,
            base_ejection_time: Duration::from_secs(30),
            ejection_time_max: Duration::from_secs(300),
            ejection_percent_max: 10,
        }
    }
}

impl OutlierConfig {
    /// The same with what a policy says otherwise.
    pub fn with(self, said: &OutlierDetection) -> Self {
        let default = self;
        let failures = said.consecutive_local_origin_failures;
        Self {
            consecutive_5xx: said
                .consecutive_5xx_errors
                .unwrap_or(default.consecutive_5xx),
            consecutive_local_origin_failures: failures
                .unwrap_or(default.consecutive_local_origin_failures),
            base_ejection_time: said
                .base_ejection_time
                .unwrap_or(default.base_ejection_time),
            ejection_time_max: default
                .ejection_time_max
                .max(said.base_ejection_time.unwrap_or_default()),
            ejection_percent_max: said
                .max_ejection_percent
                .map_or(default.ejection_percent_max, u32::from),
        }
    }

    pub(super) fn ejected_max(&self, endpoints: usize) -> usize {
        let percent = usize::try_from(self.ejection_percent_max).unwrap_or(usize::MAX);
        (endpoints.saturating_mul(percent) / 100).max(1)
    }

    fn span(&self, ejections: u32) -> Duration {
        self.base_ejection_time
            .saturating_mul(ejections)
            .min(self.ejection_time_max)
    }
}

/// One endpoint's failures in a row and its record.
#[derive(Debug, Clone, Default)]
pub(super) struct Outlier {
    server_errors: u32,
    local_failures: u32,
    // How often it was ejected; forgiven one by one, a base time of calm each.
    ejections: u32,
    readmitted: Tick,
    until: Option<Tick>,
}

impl Outlier {
    /// Counts an outcome. True if the endpoint is to be ejected.
    pub(super) fn observe(&mut self, outcome: Outcome, config: &OutlierConfig) -> bool {
        match outcome {
            Outcome::Success => (self.server_errors, self.local_failures) = (0, 0),
            Outcome::ServerError => {
                self.server_errors = self.server_errors.saturating_add(1);
                self.local_failures = 0;
            }
            Outcome::LocalOrigin => self.local_failures = self.local_failures.saturating_add(1),
            Outcome::Cancelled => {}
        }
        let reached = |count: u32, limit: u32| limit > 0 && count >= limit;
        self.until.is_none()
            && (reached(self.server_errors, config.consecutive_5xx)
                || reached(
                    self.local_failures,
                    config.consecutive_local_origin_failures,
                ))
    }

    /// Sets it aside; says until when.
    pub(super) fn eject(&mut self, config: &OutlierConfig, now: Tick) -> Tick {
        let calm = now.since(self.readmitted).as_secs();
        let forgiven = calm / config.base_ejection_time.as_secs().max(1);
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.ejections = self.ejections.saturating_sub(forgiven).saturating_add(1);
        (self.server_errors, self.local_failures) = (0, 0);
        let until = now.after(config.span(self.ejections));
        self.until = Some(until);
        until
    }

    pub(super) fn readmit(&mut self) {
        if let Some(until) = self.until.take() {
            self.readmitted = until;
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.until.is_some()
    }

    pub(super) fn ejected_until(&self) -> Option<Tick> {
        self.until
    }
}

/// The ejected, soonest to return first.
#[derive(Debug, Default)]
pub(super) struct Ejections(BinaryHeap<Reverse<(Tick, u32)>>);

impl Ejections {
    pub(super) fn push(&mut self, until: Tick, position: u32) {
        self.0.push(Reverse((until, position)));
    }

    /// Where the ejected ones stand, in no order.
    pub(super) fn positions(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|Reverse((_, position))| *position)
    }

    /// The position of one whose time is over.
    pub(super) fn pop_due(&mut self, now: Tick) -> Option<u32> {
        let Reverse((until, position)) = *self.0.peek()?;
        if until > now {
            return None;
        }
        self.0.pop();
        Some(position)
    }
}

impl FromIterator<(Tick, u32)> for Ejections {
    fn from_iter<I: IntoIterator<Item = (Tick, u32)>>(ejected: I) -> Self {
        Self(ejected.into_iter().map(Reverse).collect())
    }
}
