//! The state of a rate limit: what waits, and until when the transmitter is busy.

use std::collections::VecDeque;

use crate::moment::Moment;
use crate::spec::Bottleneck;

/// The transmitter and its queue. Knows lengths and times, holds no packet.
///
/// Departures are fixed when a packet is admitted: a change of rate governs the
/// packets after it, and cannot make them overtake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transmitter {
    /// Last bit's departure and length of every packet not yet gone, in order.
    queue: VecDeque<(Moment, u64)>,
    queued_bytes: u64,
    busy_until: Moment,
}

impl Transmitter {
    /// When the packet's last bit leaves; `None` if the queue has no room.
    pub(crate) fn admit(&mut self, now: Moment, bytes: u64, spec: &Bottleneck) -> Option<Moment> {
        self.forget_departed(now);
        // An empty packet still takes a place, so that they cannot pile up.
        let bytes = bytes.max(1);
        let filled = self.queued_bytes.checked_add(bytes)?;
        if !self.queue.is_empty() && filled > spec.queue_bytes_max {
            return None;
        }
        let departure = self.busy_until.max(now) + spec.rate.time_to_send(bytes);
        self.busy_until = departure;
        self.queue.push_back((departure, bytes));
        self.queued_bytes = filled;
        Some(departure)
    }

    fn forget_departed(&mut self, now: Moment) {
        while let Some(&(departure, bytes)) = self.queue.front() {
            if departure > now {
                return;
            }
            self.queue.pop_front();
            self.queued_bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spec::Rate;

    fn ms(ms: u64) -> Moment {
        Moment::after(Duration::from_millis(ms))
    }

    /// One byte per millisecond.
    fn slow(queue_bytes_max: u64) -> Bottleneck {
        Bottleneck {
            rate: Rate::from_bits_per_second(8_000).unwrap(),
            queue_bytes_max,
        }
    }

    #[test]
    fn packets_leave_one_after_the_other_and_the_tail_is_dropped() {
        let mut transmitter = Transmitter::default();
        let spec = slow(250);
        assert_eq!(transmitter.admit(ms(0), 100, &spec), Some(ms(100)));
        assert_eq!(transmitter.admit(ms(0), 100, &spec), Some(ms(200)));
        assert_eq!(
            transmitter.admit(ms(99), 100, &spec),
            None,
            "300 bytes would wait"
        );
        assert_eq!(
            transmitter.admit(ms(99), 50, &spec),
            Some(ms(250)),
            "exactly full"
        );
        assert_eq!(
            transmitter.admit(ms(100), 100, &spec),
            Some(ms(350)),
            "the first has gone"
        );
        assert_eq!(
            transmitter.admit(ms(900), 1, &spec),
            Some(ms(901)),
            "idle time is not saved up"
        );
    }

    #[test]
    fn an_idle_transmitter_takes_a_packet_larger_than_its_queue() {
        let mut transmitter = Transmitter::default();
        assert_eq!(transmitter.admit(ms(0), 9_000, &slow(10)), Some(ms(9_000)));
        assert_eq!(transmitter.admit(ms(0), 1, &slow(10)), None);
    }

    #[test]
    fn a_faster_rate_does_not_overtake_what_was_admitted() {
        let mut transmitter = Transmitter::default();
        let before = transmitter.admit(ms(0), 100, &slow(1_000)).unwrap();
        let faster = Bottleneck {
            rate: Rate::from_bits_per_second(u64::MAX).unwrap(),
            ..slow(1_000)
        };
        assert!(transmitter.admit(ms(1), 100, &faster).unwrap() > before);
    }
}
