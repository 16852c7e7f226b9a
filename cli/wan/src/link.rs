//! One direction of a link with the packets that are under way on it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::counters::{Counters, DropReason};
use crate::impairment::{Impairment, Verdict};
use crate::moment::Moment;
use crate::spec::LinkSpec;

/// 16 MiB: 100 ms of 1.3 Gbit/s. Bounds memory when a flood meets a long delay.
const IN_FLIGHT_BYTES_MAX: u64 = 16 << 20;
/// What a packet costs at least, so that empty ones are bounded too.
const PACKET_BYTES_MIN: u64 = 64;

/// An [`Impairment`] and its delay line: push packets in, poll them out when
/// they are due, sleep until [`next_deadline`](Link::next_deadline) in between.
///
/// Packets due at the same moment come out in the order they went in.
#[derive(Clone, Debug)]
pub struct Link<T> {
    impairment: Impairment,
    line: BinaryHeap<Reverse<InFlight<T>>>,
    line_bytes: u64,
    pushed: u64,
}

#[derive(Clone, Debug)]
struct InFlight<T> {
    at: Moment,
    /// Breaks ties, so that equal moments keep their order.
    sequence: u64,
    cost: u64,
    packet: T,
}

impl<T: Clone> Link<T> {
    /// An empty link that is up. Equal seeds and calls give equal traces.
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        Self {
            impairment: Impairment::new(spec, seed),
            line: BinaryHeap::new(),
            line_bytes: 0,
            pushed: 0,
        }
    }

    /// Takes a packet of `bytes` bytes as the wire counts them, or drops it.
    pub fn push(&mut self, now: Moment, bytes: usize, packet: T) -> Verdict {
        let cost = (bytes as u64).max(PACKET_BYTES_MIN);
        if self.line_bytes.saturating_add(cost) > IN_FLIGHT_BYTES_MAX {
            let counters = &mut self.impairment.counters;
            counters.offered += 1;
            counters.count_drop(DropReason::LineFull);
            return Verdict::Drop(DropReason::LineFull);
        }
        let verdict = self.impairment.offer(now, bytes);
        if let Verdict::Deliver { at, copy } = verdict {
            let second = copy.map(|copy_at| (copy_at, packet.clone()));
            self.enqueue(at, cost, packet);
            if let Some((copy_at, packet)) = second {
                self.enqueue(copy_at, cost, packet);
            }
        }
        verdict
    }

    fn enqueue(&mut self, at: Moment, cost: u64, packet: T) {
        let sequence = self.pushed;
        self.pushed += 1;
        self.line_bytes += cost;
        self.line.push(Reverse(InFlight {
            at,
            sequence,
            cost,
            packet,
        }));
    }
}

impl<T> Link<T> {
    /// The next packet that is due, in order of arrival.
    pub fn poll(&mut self, now: Moment) -> Option<T> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse(arrived) = self.line.pop()?;
        self.line_bytes -= arrived.cost;
        Some(arrived.packet)
    }

    /// When the next packet is due; `None` if nothing is under way.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.line.peek().map(|Reverse(next)| next.at)
    }

    /// Packets and copies under way.
    pub fn in_flight(&self) -> usize {
        self.line.len()
    }

    /// As [`Impairment::set_spec`].
    pub fn set_spec(&mut self, spec: LinkSpec) {
        self.impairment.set_spec(spec);
    }

    /// What the link does at present.
    pub fn spec(&self) -> &LinkSpec {
        self.impairment.spec()
    }

    /// As [`Impairment::cut`].
    pub fn cut(&mut self) {
        self.impairment.cut();
    }

    /// As [`Impairment::heal`].
    pub fn heal(&mut self) {
        self.impairment.heal();
    }

    /// Counts so far.
    pub fn counters(&self) -> &Counters {
        self.impairment.counters()
    }
}

impl<T> InFlight<T> {
    fn key(&self) -> (Moment, u64) {
        (self.at, self.sequence)
    }
}

impl<T> PartialEq for InFlight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for InFlight<T> {}

impl<T> PartialOrd for InFlight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for InFlight<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
