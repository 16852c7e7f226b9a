//! Who talks through which front: the relay's NAT table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::moment::Moment;

/// A flow's number, never used twice in one relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowId(u64);

/// What a flow belongs to: a front, by its place in the configuration, and a
/// client's address.
pub(super) type FlowKey = (usize, SocketAddr);

/// Flows by client, bounded in number and in idle time. `F` is whatever the
/// relay keeps per flow.
#[derive(Debug)]
pub(super) struct FlowTable<F> {
    flows: BTreeMap<FlowId, Entry<F>>,
    by_key: BTreeMap<FlowKey, FlowId>,
    next_id: u64,
    flows_max: usize,
    idle_max: Duration,
    /// No flow expires before this.
    sweep_at: Option<Moment>,
}

#[derive(Debug)]
struct Entry<F> {
    key: FlowKey,
    last_used: Moment,
    flow: F,
}

impl<F> FlowTable<F> {
    pub(super) fn new(flows_max: usize, idle_max: Duration) -> Self {
        Self {
            flows: BTreeMap::new(),
            by_key: BTreeMap::new(),
            next_id: 0,
            flows_max,
            idle_max,
            sweep_at: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.flows.len() >= self.flows_max
    }

    /// The client's flow, which is thereby used.
    pub(super) fn touch_client(&mut self, now: Moment, key: &FlowKey) -> Option<&F> {
        let id = *self.by_key.get(key)?;
        self.touch(now, id).map(|(_, flow)| flow)
    }

    /// The flow of this number, which is thereby used.
    pub(super) fn touch(&mut self, now: Moment, id: FlowId) -> Option<(FlowKey, &F)> {
        let entry = self.flows.get_mut(&id)?;
        entry.last_used = now;
        Some((entry.key, &entry.flow))
    }

    /// The number that [`insert`](Self::insert) will give next.
    pub(super) fn next_id(&self) -> FlowId {
        FlowId(self.next_id)
    }

    /// Adds a flow; the caller has seen that there is room and no other.
    pub(super) fn insert(&mut self, now: Moment, key: FlowKey, flow: F) -> &F {
        let id = self.next_id();
        self.next_id += 1;
        self.by_key.insert(key, id);
        let expiry = now + self.idle_max;
        self.sweep_at = Some(self.sweep_at.map_or(expiry, |at| at.min(expiry)));
        &self
            .flows
            .entry(id)
            .or_insert(Entry {
                key,
                last_used: now,
                flow,
            })
            .flow
    }

    /// Forgets one flow, if it is still there.
    pub(super) fn remove(&mut self, id: FlowId) {
        if let Some(entry) = self.flows.remove(&id) {
            self.by_key.remove(&entry.key);
        }
    }

    /// Forgets every flow for which `keep` is false, and says how many those were.
    pub(super) fn retain(&mut self, keep: impl Fn(&F) -> bool) -> usize {
        self.retain_entries(|entry| keep(&entry.flow))
    }

    /// When to call [`expire`](Self::expire) next.
    pub(super) fn next_sweep(&self) -> Option<Moment> {
        self.sweep_at
    }

    /// Forgets the flows that have been idle too long, and says how many.
    pub(super) fn expire(&mut self, now: Moment) -> usize {
        if self.sweep_at.is_none_or(|at| at > now) {
            return 0;
        }
        let idle_max = self.idle_max;
        let expired = self.retain_entries(|entry| entry.last_used + idle_max > now);
        // A flow used meanwhile only expires later: this is the earliest there can be.
        self.sweep_at = self
            .flows
            .values()
            .map(|entry| entry.last_used + idle_max)
            .min();
        expired
    }

    fn retain_entries(&mut self, keep: impl Fn(&Entry<F>) -> bool) -> usize {
        let before = self.flows.len();
        self.flows.retain(|_, entry| keep(entry));
        self.by_key.retain(|_, id| self.flows.contains_key(id));
        before - self.flows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::after(Duration::from_secs(seconds))
    }

    fn key(port: u16) -> FlowKey {
        (0, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn a_flow_lives_for_as_long_as_it_is_used() {
        let mut table = FlowTable::new(8, Duration::from_secs(60));
        let first = table.next_id();
        table.insert(at(0), key(1), "first");
        table.insert(at(10), key(2), "second");
        assert_eq!(table.next_sweep(), Some(at(60)));
        assert!(table.touch(at(50), first).is_some());

        assert_eq!(
            table.expire(at(60)),
            0,
            "used at 50, and the second is younger"
        );
        assert_eq!(table.next_sweep(), Some(at(70)));
        assert_eq!(table.expire(at(70)), 1, "the second");
        assert!(table.touch_client(at(70), &key(2)).is_none());
        assert_eq!(table.touch_client(at(70), &key(1)), Some(&"first"));
        assert_eq!(table.expire(at(110)), 0, "due, but used again at 70");
        assert_eq!(table.expire(at(130)), 1);
        assert_eq!((table.len(), table.next_sweep()), (0, None));
    }

    #[test]
    fn numbers_are_not_used_twice() {
        let mut table = FlowTable::new(1, Duration::from_secs(60));
        let old = table.next_id();
        table.insert(at(0), key(1), ());
        assert!(table.is_full());
        table.remove(old);
        assert!(!table.is_full());
        table.insert(at(0), key(1), ());
        assert!(table.touch(at(0), old).is_none());
        assert_eq!(table.retain(|()| false), 1);
        assert!(table.touch_client(at(0), &key(1)).is_none());
    }
}
