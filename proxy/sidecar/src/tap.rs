//! Requests shown to somebody who asked, while it lasts.
//!
//! ```text
//! workers ─ is_on? ─> offer ─> buffer per tap (bounded) <─ take ─ catalog session, stand-in
//! ```
//!
//! **Invariant:** no request waits for a tap: a full buffer, or one that somebody reads at that
//! moment, costs the event and not the request.

mod event;

#[cfg(test)]
pub(crate) use event::tests::sample as sample_event;
pub(crate) use event::{Answered, Sighting};
pub use event::{TapEvent, TapHeader, TapServed, Value};

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use weft_model::TapFilter;

/// Names a tap in the whole federation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapId(pub [u8; 16]);

/// Events of one tap that wait in one process. More: bursts are seen whole; less memory otherwise.
pub(crate) const EVENTS_MAX: usize = 256;
/// Taps open at once in one process; further ones see nothing of it.
const TAPS_MAX: usize = 16;

/// The open taps of a process. Clones share them.
#[derive(Clone, Default)]
pub struct Taps(Arc<Shared>);

#[derive(Default)]
struct Shared {
    on: AtomicBool,
    /// Events dropped because somebody was reading; whose they were is not known.
    busy: AtomicU64,
    open: Mutex<BTreeMap<TapId, Open>>,
}

struct Open {
    filter: TapFilter,
    /// Whom its events are for: the first who asked.
    reader: String,
    until: Instant,
    events: VecDeque<TapEvent>,
    dropped: u64,
}

/// What one tap saw since it was last read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// In the order in which answers came.
    pub events: Vec<TapEvent>,
    /// Events that found no room.
    pub dropped: u64,
}

impl Taps {
    /// Whether anybody wants to see anything: all that a request has to ask.
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// Opens a tap for `reader`, or lets it last `lasting` from now on. One that another reader
    /// has asked for is theirs.
    pub fn open(&self, id: TapId, filter: TapFilter, reader: &str, lasting: Duration) {
        let until = Instant::now() + lasting;
        let mut open = self.lock();
        let is_full = open.len() >= TAPS_MAX;
        match open.get_mut(&id) {
            Some(known) if known.reader == reader => known.until = until,
            Some(_) => {}
            None if is_full => tracing::warn!("too many taps are open: one more sees nothing here"),
            None => {
                let fresh = Open {
                    filter,
                    reader: reader.to_owned(),
                    until,
                    events: VecDeque::new(),
                    dropped: 0,
                };
                open.insert(id, fresh);
                self.0.on.store(true, Ordering::Relaxed);
            }
        }
    }

    /// What `reader`'s taps saw since the last time. Taps whose time is over end here.
    pub fn take(&self, reader: &str) -> Vec<(TapId, Seen)> {
        let now = Instant::now();
        let mut open = self.lock();
        let busy = self.0.busy.swap(0, Ordering::Relaxed);
        let mine = open.iter_mut().filter(|(_, tap)| tap.reader == reader);
        let seen = mine.map(|(id, tap)| {
            let seen = Seen {
                events: tap.events.drain(..).collect(),
                dropped: std::mem::take(&mut tap.dropped) + busy,
            };
            (*id, seen)
        });
        let seen = seen.collect();
        open.retain(|_, tap| tap.until > now);
        self.0.on.store(!open.is_empty(), Ordering::Relaxed);
        seen
    }

    /// `reader` is gone, and its taps with it.
    pub fn forget(&self, reader: &str) {
        let mut open = self.lock();
        open.retain(|_, tap| tap.reader != reader);
        self.0.on.store(!open.is_empty(), Ordering::Relaxed);
    }

    /// Shows a request to those who want to see it.
    pub(crate) fn offer(&self, event: impl FnOnce() -> TapEvent) {
        let Ok(mut open) = self.0.open.try_lock() else {
            self.0.busy.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let event = event();
        let subject = event.subject();
        let wanted = open.values_mut().filter(|tap| tap.filter.matches(&subject));
        for tap in wanted {
            if tap.events.len() < EVENTS_MAX {
                tap.events.push_back(event.clone());
            } else {
                tap.dropped += 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TapId, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::name;

    use super::*;

    fn event(path: &str) -> TapEvent {
        TapEvent {
            path: path.to_owned(),
            ..sample_event()
        }
    }

    fn paths(seen: &[(TapId, Seen)]) -> Vec<String> {
        let events = seen.iter().flat_map(|(_, seen)| &seen.events);
        events.map(|event| event.path.clone()).collect()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_tap_shows_what_its_filter_admits_to_who_asked_first() {
        let taps = Taps::default();
        assert!(!taps.is_on());
        let filter = TapFilter {
            path: Some("/pay".to_owned()),
            ..TapFilter::default()
        };
        taps.open(TapId([1; 16]), filter.clone(), "gw-1", LONG);
        taps.open(TapId([1; 16]), filter, "gw-2", LONG);
        assert!(taps.is_on());
        for path in ["/pay/1", "/", "/pay/2"] {
            taps.offer(|| event(path));
        }
        assert!(taps.take("gw-2").is_empty());
        assert_eq!(paths(&taps.take("gw-1")), ["/pay/1", "/pay/2"]);
        assert_eq!(paths(&taps.take("gw-1")), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tap_that_nobody_renews_ends() {
        let taps = Taps::default();
        let open = || taps.open(TapId([1; 16]), TapFilter::default(), "gw-1", LONG);
        open();
        tokio::time::advance(LONG / 2).await;
        open();
        tokio::time::advance(LONG * 2 / 3).await;
        taps.take("gw-1");
        assert!(taps.is_on(), "it was renewed");
        tokio::time::advance(LONG).await;
        taps.take("gw-1");
        assert!(!taps.is_on(), "it was not");
        open();
        taps.forget("gw-1");
        assert!(!taps.is_on(), "its reader is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_loses_events_and_is_told_how_many() {
        let taps = Taps::default();
        taps.open(TapId([1; 16]), TapFilter::default(), "slow", LONG);
        let other = TapFilter {
            service: Some(name("shop/other")),
            ..TapFilter::default()
        };
        taps.open(TapId([2; 16]), other, "slow", LONG);
        for _ in 0..EVENTS_MAX + 5 {
            taps.offer(|| event("/"));
        }
        let seen = taps.take("slow");
        let counts: Vec<_> = seen
            .iter()
            .map(|(_, seen)| (seen.events.len(), seen.dropped))
            .collect();
        assert_eq!(counts, [(EVENTS_MAX, 5), (0, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_does_not_wait_for_a_reader() {
        let taps = Taps::default();
        taps.open(TapId([1; 16]), TapFilter::default(), "gw-1", LONG);
        let reading = taps.lock();
        taps.offer(|| event("/"));
        drop(reading);
        let seen = taps.take("gw-1");
        assert_eq!((seen[0].1.events.len(), seen[0].1.dropped), (0, 1));
    }
}
