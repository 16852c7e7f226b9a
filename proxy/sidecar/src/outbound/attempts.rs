//! Which endpoints one request or connection has tried, and which is next.

use std::sync::Arc;

use weft_decide::{EndpointView, Reason, Tick};
use weft_model::EndpointId;

use super::flight::Flight;
use super::{Chosen, Shared};

/// Endpoints tried before the client hears of the failure.
const ATTEMPTS_MAX: usize = 3;

/// The attempts so far.
pub(super) struct Attempts {
    max: usize,
    count: usize,
    tried: Vec<EndpointId>,
    /// The last endpoint was reached, and then its connection broke: a fresh
    /// connection to it may do, if there is no other endpoint.
    was_cut: bool,
    /// When a connection broke last.
    cut_at: Option<Tick>,
    last: Option<Reason>,
}

impl Attempts {
    /// None so far; a rule allows `more` than otherwise.
    pub(super) fn new(more: u32) -> Self {
        let more = usize::try_from(more).unwrap_or(0);
        Self {
            max: ATTEMPTS_MAX + more,
            count: 0,
            tried: Vec::new(),
            was_cut: false,
            cut_at: None,
            last: None,
        }
    }

    /// The next endpoint, from the table as it is by then.
    pub(super) fn next(
        &mut self,
        shared: &Shared,
        chosen: &mut Chosen,
    ) -> Result<Arc<EndpointView>, Reason> {
        if self.count >= self.max {
            return Err(self.last.unwrap_or(Reason::NoEndpoints));
        }
        if self.count > 0 {
            shared.refresh(chosen);
        }
        self.count += 1;
        let mut picked = shared.pick(chosen, &self.tried);
        if picked.is_err() && self.was_cut {
            picked = shared.pick(chosen, &[]);
        }
        picked.map_err(|reason| self.last.unwrap_or(reason))
    }

    /// Whether `id` is another endpoint than the first that was chosen.
    pub(super) fn moved_to(&self, id: EndpointId) -> bool {
        self.tried.first().is_some_and(|first| *first != id)
    }

    /// The endpoint could not be reached.
    pub(super) fn unreached(&mut self, flight: &Flight, reason: Reason) {
        self.failed(flight, reason);
        self.was_cut = false;
    }

    /// The endpoint's connection broke.
    pub(super) fn cut(&mut self, shared: &Shared, flight: &Flight, reason: Reason) {
        self.failed(flight, reason);
        self.was_cut = true;
        self.cut_at = Some(shared.clock.now());
    }

    /// The endpoint answered what is not wanted, or too late.
    pub(super) fn unwanted(&mut self, flight: &Flight, reason: Reason) {
        self.failed(flight, reason);
        self.was_cut = true;
    }

    /// When the connection of an attempt broke last.
    pub(super) fn cut_at(&self) -> Option<Tick> {
        self.cut_at
    }

    fn failed(&mut self, flight: &Flight, reason: Reason) {
        self.tried.push(flight.view.endpoint.id);
        self.last = Some(reason);
    }
}
