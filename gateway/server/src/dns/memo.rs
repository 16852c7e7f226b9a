//! Answers that were compiled before, for as long as their zones are served.

use std::collections::HashMap;
use std::sync::Arc;

use weft_model::ServiceKey;
use weft_plan::dns::wire::{Compiled, Query};
use weft_plan::dns::{Audience, ClientView, Verdict, Zones, answer};

/// The most answers kept. Names that exist are few; a flood of names that do not
/// must not grow memory. Beyond it the memo starts afresh.
const KEPT_MAX: usize = 16_384;

/// What [`Memo::answer`] found.
pub(super) enum Found<'m> {
    /// The answer, and the service somebody should take an interest in.
    Compiled(&'m Compiled, Option<ServiceKey>),
    /// Endpoints of this service are not known yet: they may arrive any moment.
    Awaited(ServiceKey),
    /// The name is in none of our zones.
    NotOurs,
}

/// Compiled answers by question, of one generation of zones.
pub(super) struct Memo {
    zones: Arc<Zones>,
    kept: HashMap<Box<[u8]>, Compiled>,
    /// The last answer that holds for one client alone.
    once: Option<Compiled>,
    turn: u32,
}

impl Memo {
    pub(super) fn new(zones: Arc<Zones>) -> Self {
        Self {
            zones,
            kept: HashMap::new(),
            once: None,
            turn: 0,
        }
    }

    /// Answers from `zones` from now on.
    pub(super) fn follow(&mut self, zones: &Arc<Zones>) {
        if !Arc::ptr_eq(&self.zones, zones) {
            self.zones = Arc::clone(zones);
            self.kept.clear();
        }
    }

    /// Answers a query, from memory if the answer is there.
    pub(super) fn answer(&mut self, query: &Query<'_>) -> Found<'_> {
        // Looked up twice on a hit: a reference kept across the miss below would
        // borrow the memo for good.
        if self.kept.contains_key(query.key()) {
            return Found::Compiled(&self.kept[query.key()], None);
        }
        let question = query.question();
        self.turn = self.turn.wrapping_add(1);
        let answer = answer(&self.zones, &question, &ClientView { turn: self.turn });
        if let (Verdict::CannotKnow(_), Some(service)) = (&answer.verdict, &answer.wanted) {
            return Found::Awaited(service.clone());
        }
        let Some(compiled) = Compiled::new(&question, &answer) else {
            return Found::NotOurs;
        };
        // Denials are not kept: there is no end of names that do not exist.
        if answer.audience == Audience::ThisClient || answer.verdict == Verdict::NoName {
            return Found::Compiled(self.once.insert(compiled), answer.wanted);
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        let kept = self.kept.entry(query.key().into()).or_insert(compiled);
        Found::Compiled(kept, None)
    }
}
