//! How fast one gateway's words are taken in.
//!
//! All catalog streams are read on one thread, and what has arrived is read without waiting: a
//! peer that says much would have it to itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Frames that are taken at once: a snapshot of a large cluster.
const BURST: u32 = 50_000;
/// Frames a second beyond that.
const RATE: u32 = 5_000;
/// Others are let in after so many.
const TURN: u32 = 64;

/// What one stream may still say for now.
#[derive(Debug)]
pub(super) struct Pace {
    left: u32,
    filled: Instant,
    turn: u32,
}

impl Pace {
    /// A stream that has said nothing.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            filled: now,
            turn: 0,
        }
    }

    /// Counts a frame, and lets others have their turn; waits once the peer has said too much.
    pub(super) async fn count(&mut self) {
        self.turn += 1;
        if self.turn.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
        if let Some(pause) = self.spend(Instant::now()) {
            sleep(pause).await;
        }
    }

    /// Spends one frame; how long to wait if there was none left.
    fn spend(&mut self, now: Instant) -> Option<Duration> {
        if self.left == 0 {
            let gained = now.duration_since(self.filled).as_secs_f64() * f64::from(RATE);
            self.left = (gained as u32).min(BURST);
            self.filled = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                None
            }
            None => Some(Duration::from_secs(1) * TURN / RATE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_at_once_and_what_follows_at_its_rate() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let mut now = begun;
        let mut say = |frames: u32| {
            for _ in 0..frames {
                while let Some(pause) = pace.spend(now) {
                    now += pause;
                }
            }
            now.duration_since(begun).as_secs_f64()
        };
        assert_eq!(say(BURST), 0.0);
        let took = say(RATE * 4);
        assert!((3.5..=4.5).contains(&took), "{took} s");
    }
}
