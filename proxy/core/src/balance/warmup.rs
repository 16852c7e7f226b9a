//! Slow start: an endpoint that just came gets a growing part of its share.

use std::time::Duration;

use crate::{Rng, Tick};

/// The part that an endpoint has at once, in percent (Envoy's `min_weight_percent`).
const LEAST: u64 = 10;

/// How long endpoints warm up, and until when anyone does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Warmup {
    span: Option<Duration>,
    until: Option<Tick>,
}

impl Warmup {
    /// Warming up takes `span`; the last endpoint came at `latest`.
    pub(super) fn new(span: Option<Duration>, latest: Option<Tick>) -> Self {
        let span = span.filter(|span| !span.is_zero());
        let mut warmup = Self { span, until: None };
        latest.into_iter().for_each(|latest| warmup.extend(latest));
        warmup
    }

    /// An endpoint came.
    pub(super) fn extend(&mut self, came: Tick) {
        if let Some(span) = self.span {
            self.until = self.until.max(Some(came.after(span)));
        }
    }

    /// Whether an endpoint that was drawn by its weight keeps the request: always once it is warm.
    pub(super) fn admits(&self, came: Option<Tick>, now: Tick, rng: &mut Rng) -> bool {
        let (Some(span), Some(came)) = (self.span, came) else {
            return true;
        };
        if self.until.is_none_or(|until| until <= now) {
            return true;
        }
        let percent = now.since(came).as_millis() * 100 / span.as_millis().max(1);
        let percent = u64::try_from(percent).unwrap_or(100).max(LEAST);
        percent >= 100 || rng.below(100) < percent
    }
}
