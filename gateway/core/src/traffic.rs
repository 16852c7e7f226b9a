//! What sources reported of their requests: the last five minutes, and sums over them. Pure.
//!
//! ```text
//! reports ─> Ring (one gateway) ─> Window ─┐
//! other gateways' windows ─────────────────┴─> services, regions, edges, versions
//! ```
//!
//! **Invariant:** a ring holds at most [`SLOTS`] × [`FLOWS_MAX`] tallies, whoever reports what.

mod sums;
#[cfg(test)]
mod tests;

pub use sums::{
    EdgeSum, Heard, RegionSum, Regions, ServiceSum, Sum, VersionSum, edges, grouped, regions,
    services, versions,
};

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use weft_model::{Flow, SpiffeId, Tally};

use crate::Moment;

/// The span of one bucket. Longer: fewer tallies; shorter: sharper edges in time.
pub const SLOT: Duration = Duration::from_secs(15);
/// How many buckets are kept: five minutes.
pub const SLOTS: usize = 20;
/// Flows kept in one bucket; more are left out, and counted.
pub const FLOWS_MAX: usize = 2048;

/// The flow of one source. Shared by the buckets that it is in.
type Key = Arc<(SpiffeId, Flow)>;

/// The last five minutes of one gateway's sources.
#[derive(Debug)]
pub struct Ring {
    began: Moment,
    /// Oldest first; buckets in which nothing was reported are left out.
    slots: VecDeque<Slot>,
    newest: Option<Moment>,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    flows: BTreeMap<Key, Tally>,
    left_out: u64,
}

/// What a ring knows of a span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// How long it really is: whole buckets, but not before the ring began.
    pub covered: Duration,
    /// Since the newest report; none if nothing was ever reported.
    pub age: Option<Duration>,
    /// In the order of source and flow.
    pub rows: Vec<WindowRow>,
    /// Requests that found no room on their way here.
    pub left_out: u64,
}

/// A flow of one source, summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRow {
    /// Who sent the requests.
    pub source: SpiffeId,
    /// What they were.
    pub flow: Flow,
    /// How many, how fast.
    pub tally: Tally,
}

impl Ring {
    /// An empty ring, from `now` on.
    pub fn new(now: Moment) -> Self {
        Self {
            began: now,
            slots: VecDeque::with_capacity(SLOTS),
            newest: None,
        }
    }

    /// Adds what `source` counted since its last report.
    pub fn add(&mut self, now: Moment, source: &SpiffeId, flow: Flow, tally: &Tally) {
        self.newest = Some(now);
        let known = self.key(source, flow);
        let slot = self.slot(now);
        if let Some(sum) = slot.flows.get_mut(&known) {
            return sum.merge(tally);
        }
        if slot.flows.len() >= FLOWS_MAX {
            slot.left_out = slot.left_out.saturating_add(tally.count());
            return;
        }
        slot.flows.insert(known, tally.clone());
    }

    /// Requests that a source had no room for.
    pub fn leave_out(&mut self, now: Moment, count: u64) {
        let slot = self.slot(now);
        slot.left_out = slot.left_out.saturating_add(count);
    }

    /// The sums over the last `span`, rounded up to whole buckets.
    pub fn window(&self, now: Moment, span: Duration) -> Window {
        let first = number_of(Moment(now.0.saturating_sub(span))).max(oldest(now));
        let begin = Moment(SLOT * u32::try_from(first).unwrap_or(u32::MAX)).max(self.began);
        let mut sums: BTreeMap<&Key, Tally> = BTreeMap::new();
        let mut left_out = 0u64;
        for slot in self.slots.iter().filter(|slot| slot.number >= first) {
            left_out = left_out.saturating_add(slot.left_out);
            for (key, tally) in &slot.flows {
                sums.entry(key).or_default().merge(tally);
            }
        }
        let row = |(key, tally): (&Key, Tally)| WindowRow {
            source: key.0.clone(),
            flow: key.1.clone(),
            tally,
        };
        Window {
            covered: now.since(begin),
            age: self.newest.map(|newest| now.since(newest)),
            rows: sums.into_iter().map(row).collect(),
            left_out,
        }
    }

    /// The newest bucket's key for the flow, if it has one: names are kept once.
    fn key(&self, source: &SpiffeId, flow: Flow) -> Key {
        let key = Arc::new((source.clone(), flow));
        let newest = self.slots.back();
        match newest.and_then(|slot| slot.flows.get_key_value(&key)) {
            Some((known, _)) => Arc::clone(known),
            None => key,
        }
    }

    /// The bucket of `now`. Time that goes back, which it does not, would count as the newest.
    fn slot(&mut self, now: Moment) -> &mut Slot {
        let number = number_of(now);
        if self.slots.back().is_none_or(|slot| slot.number < number) {
            self.slots.push_back(Slot {
                number,
                flows: BTreeMap::new(),
                left_out: 0,
            });
        }
        let oldest = oldest(now);
        while self.slots.front().is_some_and(|slot| slot.number < oldest) {
            self.slots.pop_front();
        }
        self.slots.back_mut().expect("one was just made sure of")
    }
}

/// The oldest bucket that is kept.
fn oldest(now: Moment) -> u64 {
    number_of(now).saturating_sub(SLOTS as u64 - 1)
}

fn number_of(moment: Moment) -> u64 {
    moment.0.as_secs() / SLOT.as_secs()
}
