//! Taps as a gateway keeps them: asked for by whoever reads, carried out by its sidecars and its
//! own stand-in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use weft_model::{SpiffeId, TapFilter};
use weft_proto::catalog as wire;
use weft_proxy::catalog::{event, tap_id, to_filter};
use weft_proxy::{TapEvent, TapId, Taps};

/// A tap that nobody has read for this long ends.
const LEASE: Duration = Duration::from_secs(5);
/// For how long sidecars are told to go on; they are told again before it is over.
pub(crate) const ORDER: Duration = Duration::from_secs(10);
/// How often they are told again.
pub(crate) const REPEAT: Duration = Duration::from_secs(3);
/// Events of one tap that wait here to be read.
const EVENTS_MAX: usize = 512;
/// Events of one reading.
const BATCH: usize = 256;
/// Taps open at once; what more ask for sees nothing.
const TAPS_MAX: usize = 16;
/// Whom the stand-in shows requests to.
const OWN: &str = "this gateway";

/// The open taps of a gateway. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct TapTable(Arc<Shared>);

#[derive(Default)]
struct Shared {
    open: Mutex<BTreeMap<TapId, Open>>,
    /// Counts taps that were opened.
    opened: watch::Sender<u64>,
    own: OnceLock<Own>,
}

/// What the gateway itself forwards, for clients without a sidecar.
struct Own {
    identity: SpiffeId,
    taps: Taps,
}

struct Open {
    filter: TapFilter,
    until: Instant,
    events: VecDeque<Sent>,
    dropped: u64,
}

/// A request, and who sent it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    /// By its sidecar's proof, or the gateway that stood in for one.
    pub(crate) source: SpiffeId,
    /// The request.
    pub(crate) event: TapEvent,
}

/// What was seen since the last reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reading {
    /// In the order of arrival.
    pub(crate) sent: Vec<Sent>,
    /// Events that found no room on their way here.
    pub(crate) dropped: u64,
}

impl TapTable {
    /// What this gateway forwards itself is shown too.
    pub(crate) fn set_own(&self, identity: SpiffeId, taps: Taps) {
        let _set_before = self.0.own.set(Own { identity, taps });
    }

    /// Reads a tap, which opens it or lets it last.
    pub(crate) fn read(&self, id: TapId, filter: &TapFilter) -> Reading {
        self.read_own(id, filter);
        let mut open = self.lock();
        let now = Instant::now();
        open.retain(|_, tap| tap.until > now);
        if open.len() >= TAPS_MAX && !open.contains_key(&id) {
            tracing::warn!("too many taps are open here: one more sees nothing");
            return Reading::default();
        }
        let count = open.len();
        let tap = open.entry(id).or_insert_with(|| Open {
            filter: filter.clone(),
            until: now,
            events: VecDeque::new(),
            dropped: 0,
        });
        tap.until = now + LEASE;
        let batch = tap.events.len().min(BATCH);
        let reading = Reading {
            sent: tap.events.drain(..batch).collect(),
            dropped: std::mem::take(&mut tap.dropped),
        };
        if open.len() > count {
            drop(open);
            self.0.opened.send_modify(|count| *count += 1);
        }
        reading
    }

    /// Has the stand-in show what it forwards, and takes what it has shown.
    fn read_own(&self, id: TapId, filter: &TapFilter) {
        let Some(own) = self.0.own.get() else {
            return;
        };
        own.taps.open(id, filter.clone(), OWN, LEASE);
        for (id, seen) in own.taps.take(OWN) {
            let sent = seen.events.into_iter().map(|event| Sent {
                source: own.identity.clone(),
                event,
            });
            self.add(id, sent, seen.dropped);
        }
    }

    /// What sidecars are to show now.
    pub(crate) fn orders(&self) -> Vec<wire::TapOrder> {
        let now = Instant::now();
        let open = self.lock();
        let lasting = open.iter().filter(|(_, tap)| tap.until > now);
        lasting
            .map(|(id, tap)| wire::TapOrder {
                id: id.0.to_vec().into(),
                filter: Some(to_filter(&tap.filter)),
                lasting_ms: u32::try_from(ORDER.as_millis()).unwrap_or(u32::MAX),
            })
            .collect()
    }

    /// Hears of taps that are opened.
    pub(crate) fn opened(&self) -> watch::Receiver<u64> {
        self.0.opened.subscribe()
    }

    /// Takes in what the sidecar of `source` has seen, as far as it is lawful.
    pub(crate) fn arrived(&self, source: &SpiffeId, seen: &wire::TapEvents) {
        let Ok(id) = tap_id(&seen.id) else {
            return;
        };
        let lawful = seen.events.iter().filter_map(|sent| {
            let event = event(sent);
            let event =
                event.inspect_err(|why| tracing::debug!(%source, %why, "left an event out"));
            Some(Sent {
                source: source.clone(),
                event: event.ok()?,
            })
        });
        self.add(id, lawful, seen.dropped);
    }

    /// Events for a tap that is not open any more are nobody's.
    fn add(&self, id: TapId, sent: impl Iterator<Item = Sent>, dropped: u64) {
        let mut open = self.lock();
        let Some(tap) = open.get_mut(&id) else {
            return;
        };
        // What a sidecar says of itself.
        tap.dropped = tap.dropped.saturating_add(dropped);
        for one in sent {
            if tap.events.len() < EVENTS_MAX {
                tap.events.push_back(one);
            } else {
                tap.dropped = tap.dropped.saturating_add(1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TapId, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two such words once ended the task that took them in.
    #[test]
    fn a_sidecar_that_says_it_dropped_more_than_can_be_counted_is_heard_on() {
        let (table, id) = (TapTable::default(), TapId([4; 16]));
        let _opened = table.read(id, &TapFilter::default());
        let source = "spiffe://eu-west-1.fed.example.org/ns/shop/sa/web"
            .parse()
            .unwrap();
        let seen = wire::TapEvents {
            id: id.0.to_vec().into(),
            events: Vec::new(),
            dropped: u64::MAX,
        };
        table.arrived(&source, &seen);
        table.arrived(&source, &seen);
        assert_eq!(table.read(id, &TapFilter::default()).dropped, u64::MAX);
    }
}
