//! Whether a connection that should be answering still gives a sign of life. Pure.
//!
//! A path can go silent without a word: a gateway is stopped, a firewall forgets. TCP
//! would notice after minutes. While an answer is due and nothing arrives, the shell
//! asks the far side for a sign of life; if that does not come either, the connection is
//! *suspect*: new requests go elsewhere, and one that may be repeated is sent a second
//! time. Nothing is closed on a suspicion, so that a wrong one costs little, and the
//! first byte that arrives ends it.

use std::time::Duration;

use crate::Tick;

/// What is known of one connection's life.
#[derive(Debug, Clone)]
pub struct Pulse {
    heard: Tick,
    /// When the last request was sent: silence before it means nothing.
    sent: Tick,
    /// The question for a sign of life that nothing has followed yet.
    asked: Option<Tick>,
    rtt: Duration,
    /// Silence before the next question.
    pause: Duration,
}

/// What to make of a connection on which an answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vital {
    /// Nothing is wrong yet.
    Alive {
        /// When to look again.
        look: Tick,
    },
    /// It has been silent for a while: ask for a sign of life now.
    Ask {
        /// When to look again.
        look: Tick,
    },
    /// It was asked and did not answer in time.
    Suspect,
}

/// The least time a sign of life is waited for. Lower: paths that go silent are left
/// sooner; higher: a process that pauses for want of a processor is left in peace.
const PATIENCE_MIN: Duration = Duration::from_millis(200);
/// The most, whatever round trips were measured.
const PATIENCE_MAX: Duration = Duration::from_secs(3);
/// How many round trips a sign of life may take: a lost packet costs one or two more.
const ROUND_TRIPS: u32 = 3;
/// An answer that takes its time is not asked about more often than this in the end.
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Pulse {
    /// A connection that was made just now, in steps that took `rtt` each.
    pub fn new(now: Tick, rtt: Duration) -> Self {
        let mut pulse = Self {
            heard: now,
            sent: now,
            asked: None,
            rtt,
            pause: Duration::ZERO,
        };
        pulse.pause = pulse.patience() / 2;
        pulse
    }

    /// How long a sign of life may take: three round trips, 200 ms at least.
    pub fn patience(&self) -> Duration {
        (self.rtt * ROUND_TRIPS).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// Something arrived.
    pub fn on_heard(&mut self, now: Tick) {
        self.heard = now;
        self.asked = None;
    }

    /// A request goes out.
    pub fn on_sent(&mut self, now: Tick) {
        self.sent = now;
        self.pause = self.patience() / 2;
    }

    /// What was asked at `asked` is answered. Falls at once and rises slowly with what
    /// is measured: the far side's delays are in it.
    pub fn on_answer(&mut self, asked: Tick, now: Tick) {
        let sample = now.since(asked);
        self.rtt = match sample.checked_sub(self.rtt) {
            Some(more) => self.rtt + more / 4,
            None => sample,
        };
    }

    /// What to do now, while an answer is due.
    pub fn check(&mut self, now: Tick) -> Vital {
        if let Some(asked) = self.asked {
            return match self.is_suspect(now) {
                true => Vital::Suspect,
                false => Vital::Alive {
                    look: asked.after(self.patience()),
                },
            };
        }
        let due = self.heard.max(self.sent).after(self.pause);
        if now < due {
            return Vital::Alive { look: due };
        }
        self.asked = Some(now);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Vital::Ask {
            look: now.after(self.patience()),
        }
    }

    /// Whether a sign of life is overdue.
    pub fn is_suspect(&self, now: Tick) -> bool {
        self.asked
            .is_some_and(|asked| now.since(asked) >= self.patience())
    }

    /// Whether something has arrived at `since` or later.
    pub fn was_heard(&self, since: Tick) -> bool {
        self.heard >= since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::at(Duration::from_millis(ms))
    }

    fn pulse(rtt: u64) -> Pulse {
        let mut pulse = Pulse::new(at(0), Duration::from_millis(rtt));
        pulse.on_sent(at(0));
        pulse
    }

    /// When a connection that says nothing is asked, and when it is suspect.
    fn check(rtt: u64, asked: u64, suspect: u64) {
        let mut pulse = pulse(rtt);
        assert_eq!(pulse.check(at(0)), Vital::Alive { look: at(asked) });
        assert_eq!(pulse.check(at(asked)), Vital::Ask { look: at(suspect) });
        assert_eq!(
            pulse.check(at(suspect - 1)),
            Vital::Alive { look: at(suspect) }
        );
        assert!(!pulse.is_suspect(at(suspect - 1)));
        assert_eq!(pulse.check(at(suspect)), Vital::Suspect);
        assert!(pulse.is_suspect(at(suspect)));
    }

    #[test]
    fn silence_is_asked_about_and_then_suspect() {
        check(1, 100, 300);
        check(80, 120, 360);
        check(180, 270, 810);
        check(60_000, 1500, 4500);
    }

    #[test]
    fn any_byte_ends_a_suspicion() {
        let mut pulse = pulse(1);
        pulse.check(at(100));
        assert!(pulse.is_suspect(at(400)));
        pulse.on_heard(at(500));
        assert!(!pulse.is_suspect(at(9_000)));
        assert!(pulse.was_heard(at(500)) && !pulse.was_heard(at(501)));
    }

    #[test]
    fn a_connection_that_answers_is_asked_ever_less_until_the_next_request() {
        let mut pulse = pulse(1);
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let Vital::Alive { look } = pulse.check(now) else {
                panic!("{pulse:?}");
            };
            assert!(matches!(pulse.check(look), Vital::Ask { .. }));
            pauses.push(look.since(now).as_millis());
            pulse.on_heard(look);
            now = look;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        pulse.on_sent(now);
        assert_eq!(
            pulse.check(now),
            Vital::Alive {
                look: now.after(Duration::from_millis(100))
            }
        );
    }

    #[test]
    fn silence_before_a_request_means_nothing() {
        let mut pulse = Pulse::new(at(0), Duration::from_millis(1));
        pulse.on_sent(at(60_000));
        assert_eq!(pulse.check(at(60_000)), Vital::Alive { look: at(60_100) });
    }

    #[test]
    fn a_path_that_grew_longer_is_given_more_time() {
        let mut pulse = pulse(100);
        for round in 0..20 {
            pulse.on_answer(at(round * 1000), at(round * 1000 + 500));
        }
        let patience = pulse.patience();
        assert!(patience > Duration::from_millis(1480), "{patience:?}");
        pulse.on_answer(at(0), at(80));
        assert_eq!(pulse.patience(), Duration::from_millis(240));
    }
}
