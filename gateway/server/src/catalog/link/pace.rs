//! How fast one gateway's words are taken in, whatever streams it says them on.
//!
//! All catalog streams are read on one thread, and what has arrived is read without waiting: a
//! peer that says much would have it to itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weft_model::{ClusterName, GatewayName};

/// Frames that are taken at once: a snapshot of a large cluster.
const BURST: u32 = 50_000;
/// Frames a second beyond that.
const RATE: u32 = 5_000;
/// A stream's beginning counts as so many: what was heard on the one before is judged anew.
const OPENING: u32 = 1_000;
/// Others are let in after so many.
const TURN: u32 = 64;

/// What one gateway may still say for now.
#[derive(Debug, Clone, Copy)]
struct Pace {
    left: u32,
    filled: Instant,
}

impl Pace {
    /// Of a gateway that has said nothing.
    fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            filled: now,
        }
    }

    /// Spends so many frames; how long to wait if there were not enough left.
    fn spend(&mut self, frames: u32, now: Instant) -> Option<Duration> {
        if self.left < frames {
            let gained = now.duration_since(self.filled).as_secs_f64() * f64::from(RATE);
            self.left = self.left.saturating_add(gained as u32).min(BURST);
            self.filled = now;
        }
        match self.left.checked_sub(frames) {
            Some(left) => {
                self.left = left;
                None
            }
            None => Some(Duration::from_secs(1) * TURN / RATE),
        }
    }
}

/// What each gateway may still say, on this stream and those after it.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Paces(Mutex<BTreeMap<(ClusterName, GatewayName), Pace>>);

impl Paces {
    /// For a stream of that gateway, which begins.
    pub(super) async fn begin(&self, cluster: &ClusterName, gateway: &GatewayName) -> Paced<'_> {
        let mut paced = self.take((cluster.clone(), gateway.clone()), Instant::now());
        paced.spend(OPENING).await;
        paced
    }

    fn take(&self, whose: (ClusterName, GatewayName), now: Instant) -> Paced<'_> {
        let mut paces = self.lock();
        // Of those that have been filled for so long there would be a whole burst by now.
        let full = Duration::from_secs(1) * BURST / RATE;
        paces.retain(|_, pace| now.duration_since(pace.filled) < full);
        let kept = paces.remove(&whose);
        Paced {
            paces: self,
            whose,
            pace: kept.unwrap_or_else(|| Pace::new(now)),
            turn: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ClusterName, GatewayName), Pace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pace of one stream; kept for the next one when dropped.
#[derive(Debug)]
pub(super) struct Paced<'a> {
    paces: &'a Paces,
    whose: (ClusterName, GatewayName),
    pace: Pace,
    turn: u32,
}

impl Paced<'_> {
    /// Counts a frame, and lets others have their turn; waits once the peer has said too much.
    pub(super) async fn count(&mut self) {
        self.turn += 1;
        if self.turn.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
        self.spend(1).await;
    }

    async fn spend(&mut self, frames: u32) {
        while let Some(pause) = self.pace.spend(frames, Instant::now()) {
            sleep(pause).await;
        }
    }
}

impl Drop for Paced<'_> {
    fn drop(&mut self) {
        let mut paces = self.paces.lock();
        paces.insert(self.whose.clone(), self.pace);
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
                while let Some(pause) = pace.spend(1, now) {
                    now += pause;
                }
            }
            now.duration_since(begun).as_secs_f64()
        };
        assert_eq!(say(BURST), 0.0);
        let took = say(RATE * 4);
        assert!((3.5..=4.5).contains(&took), "{took} s");
    }

    #[test]
    fn another_stream_is_no_other_gateway() {
        let paces = Paces::default();
        let whose = |gateway: &str| ("b".parse().unwrap(), gateway.parse().unwrap());
        let begun = Instant::now();
        let mut now = begun;
        let mut stream = |gateway: &str, frames: &[u32]| {
            let mut paced = paces.take(whose(gateway), now);
            for frames in frames {
                while let Some(pause) = paced.pace.spend(*frames, now) {
                    now += pause;
                }
            }
            now.duration_since(begun).as_secs_f64()
        };
        for _ in 0..BURST / OPENING {
            // It says nothing, and is gone at once.
            assert_eq!(stream("gw-1", &[OPENING]), 0.0);
        }
        let mut took = 0.0;
        for _ in 0..10 {
            took = stream("gw-1", &[OPENING, RATE / 5]);
        }
        assert!((3.5..=4.5).contains(&took), "{took} s");
        // Another gateway has its own.
        assert_eq!(stream("gw-2", &[OPENING]), took);
        // Whoever was silent for long has all of it again, and nothing is kept for it.
        now += Duration::from_secs(60);
        drop(paces.take(whose("gw-3"), now));
        assert_eq!(paces.lock().len(), 1);
    }
}
