//! The decision for one direction of a link: does this packet arrive, and when.

use crate::bottleneck::Transmitter;
use crate::chance::{Chance, Stream};
use crate::counters::{Counters, DropReason};
use crate::loss::Wire;
use crate::moment::Moment;
use crate::spec::{LinkSpec, Overtaking};

/// One direction of a link, deciding on packets it never sees.
///
/// For those who keep packets themselves, as a simulator does in its event
/// queue; [`Link`](crate::Link) is the same with a delay line.
#[derive(Clone, Debug)]
pub struct Impairment {
    spec: LinkSpec,
    carrier: Carrier,
    transmitter: Transmitter,
    wire: Wire,
    jitter: Chance,
    reorder: Chance,
    duplicate: Chance,
    /// The latest `now` seen; a caller's earlier one is read as this.
    now: Moment,
    /// Where order is kept, nothing arrives before this.
    in_order_from: Moment,
    pub(crate) counters: Counters,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It arrives.
    Deliver {
        /// When.
        at: Moment,
        /// When its copy arrives, if the link made one.
        copy: Option<Moment>,
    },
    /// It does not.
    Drop(DropReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Up,
    Cut,
}

impl Impairment {
    /// A link that is up. Equal seeds decide equally.
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        Self {
            spec,
            carrier: Carrier::Up,
            transmitter: Transmitter::default(),
            wire: Wire::new(seed),
            jitter: Chance::new(seed, Stream::Jitter),
            reorder: Chance::new(seed, Stream::Reorder),
            duplicate: Chance::new(seed, Stream::Duplicate),
            now: Moment::START,
            in_order_from: Moment::START,
            counters: Counters::default(),
        }
    }

    /// Decides on a packet of `bytes` bytes as the wire counts them.
    pub fn offer(&mut self, now: Moment, bytes: usize) -> Verdict {
        self.now = self.now.max(now);
        self.counters.offered += 1;
        let bytes = bytes as u64;
        match self.transmit(bytes) {
            Ok(departure) => {
                self.counters.count_accepted(bytes);
                self.deliver(departure)
            }
            Err(reason) => {
                self.counters.count_drop(reason);
                Verdict::Drop(reason)
            }
        }
    }

    /// Packets offered from now on meet `spec`; those under way keep their
    /// times, and where order is kept nothing overtakes them.
    pub fn set_spec(&mut self, spec: LinkSpec) {
        if self.spec.loss != spec.loss {
            self.wire.reset();
        }
        self.spec = spec;
    }

    /// What the link does at present.
    pub fn spec(&self) -> &LinkSpec {
        &self.spec
    }

    /// Drops every packet offered until [`heal`](Self::heal). Those under way
    /// still arrive, as they would beyond a severed cable.
    pub fn cut(&mut self) {
        self.carrier = Carrier::Cut;
    }

    /// Ends a cut; the spec is what it was.
    pub fn heal(&mut self) {
        self.carrier = Carrier::Up;
    }

    /// Counts so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// When the packet's last bit leaves, or why it never arrives.
    fn transmit(&mut self, bytes: u64) -> Result<Moment, DropReason> {
        if self.carrier == Carrier::Cut {
            return Err(DropReason::Cut);
        }
        if self.spec.mtu.is_some_and(|mtu| bytes > mtu as u64) {
            return Err(DropReason::TooBig);
        }
        let departure = match &self.spec.bottleneck {
            Some(spec) => self
                .transmitter
                .admit(self.now, bytes, spec)
                .ok_or(DropReason::QueueFull)?,
            None => self.now,
        };
        match self.wire.lose(&self.spec.loss) {
            Some(reason) => Err(reason),
            None => Ok(departure),
        }
    }

    fn deliver(&mut self, departure: Moment) -> Verdict {
        let at = self.arrival(departure);
        let copy = self
            .duplicate
            .happens(self.spec.duplicate)
            .then(|| self.arrival(departure));
        self.counters.duplicated += u64::from(copy.is_some());
        Verdict::Deliver { at, copy }
    }

    fn arrival(&mut self, departure: Moment) -> Moment {
        let jitter = self.jitter.up_to(self.spec.jitter.range);
        let mut at = departure + self.spec.delay + jitter;
        if self.spec.jitter.overtaking == Overtaking::Forbidden {
            at = at.max(self.in_order_from);
        }
        // A packet held back does not hold back those behind it, which is the point.
        self.in_order_from = self.in_order_from.max(at);
        match self.spec.reorder {
            Some(reorder) if self.reorder.happens(reorder.probability) => {
                self.counters.held_back += 1;
                at + reorder.hold
            }
            _ => at,
        }
    }
}
