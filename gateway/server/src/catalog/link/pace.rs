//! How fast one gateway's words are taken in, whatever streams it says them on.
//!
//! All catalog streams are read on one thread, and what has arrived is read without waiting: a
//! peer that says much would have it to itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message;
use tokio::time::{Instant, sleep};
use weft_model::{ClusterName, GatewayName};
use weft_proto::catalog::PeerFrame;
use weft_proto::catalog::peer_frame::Frame;

/// Frames that are taken at once: a snapshot of a large cluster.
const BURST: u32 = 50_000;
/// Frames a second beyond that.
const RATE: u32 = 5_000;
/// What a stream's beginning counts as, and a wish for which all that the peer may see is told
/// anew.
const OPENING: u32 = 1_000;
/// Bytes that count as another frame.
const LENGTH: usize = 1024;
/// Others are let in after so many.
const TURN: u32 = 64;
/// A gateway that may say too little waits this long before it is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// What a frame counts as.
fn cost(frame: &PeerFrame) -> u32 {
    let wish = matches!(frame.frame, Some(Frame::Interest(_) | Frame::Resync(_)));
    let length = u32::try_from(frame.encoded_len() / LENGTH).unwrap_or(BURST);
    1 + length + if wish { OPENING } else { 0 }
}

/// What one gateway may still say for now.
#[derive(Debug)]
struct Pace {
    left: f64,
    filled: Instant,
}

impl Pace {
    /// Of a gateway that has said nothing.
    fn new(now: Instant) -> Self {
        Self {
            left: BURST.into(),
            filled: now,
        }
    }

    /// Spends so many frames; false if there are not enough left.
    fn spend(&mut self, frames: u32, now: Instant) -> bool {
        self.fill(now);
        let enough = self.left >= frames.into();
        if enough {
            self.left -= f64::from(frames);
        }
        enough
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.duration_since(self.filled).as_secs_f64() * f64::from(RATE);
        self.left = (self.left + gained).min(BURST.into());
        self.filled = now;
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= BURST.into()
    }
}

/// What each gateway may still say, on all streams that it has or opens.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Paces(Mutex<BTreeMap<(ClusterName, GatewayName), Shared>>);

type Shared = Arc<Mutex<Pace>>;

impl Paces {
    /// For a stream of that gateway, which begins.
    pub(super) async fn begin(&self, cluster: &ClusterName, gateway: &GatewayName) -> Paced {
        let mut paced = self.paced((cluster.clone(), gateway.clone()), Instant::now());
        paced.spend(OPENING).await;
        paced
    }

    /// As if nobody had said anything.
    #[cfg(test)]
    pub(in crate::catalog) fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    fn paced(&self, whose: (ClusterName, GatewayName), now: Instant) -> Paced {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paces.retain(|_, pace| Arc::strong_count(pace) > 1 || !lock(pace).is_full(now));
        let pace = paces
            .entry(whose)
            .or_insert_with(|| Arc::new(Mutex::new(Pace::new(now))));
        Paced {
            pace: Arc::clone(pace),
            turn: 0,
        }
    }
}

/// What the gateway at the other end of a stream may still say.
#[derive(Debug)]
pub(super) struct Paced {
    pace: Shared,
    turn: u32,
}

impl Paced {
    /// Counts a frame, and lets others have their turn; waits once the peer has said too much.
    pub(super) async fn count(&mut self, frame: &PeerFrame) {
        self.turn += 1;
        if self.turn.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
        self.spend(cost(frame)).await;
    }

    async fn spend(&mut self, frames: u32) {
        while !lock(&self.pace).spend(frames, Instant::now()) {
            sleep(PAUSE).await;
        }
    }
}

fn lock(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says so many frames as soon as it may; how long it took since `begun`, in seconds.
    fn say(pace: &Mutex<Pace>, frames: &[u32], begun: Instant, now: &mut Instant) -> f64 {
        for frames in frames {
            while !lock(pace).spend(*frames, *now) {
                *now += PAUSE;
            }
        }
        now.duration_since(begun).as_secs_f64()
    }

    #[test]
    fn a_burst_is_taken_at_once_and_what_follows_at_its_rate() {
        let begun = Instant::now();
        let (pace, mut now) = (Mutex::new(Pace::new(begun)), begun);
        assert_eq!(say(&pace, &vec![1; BURST as usize], begun, &mut now), 0.0);
        let took = say(&pace, &vec![1; 4 * RATE as usize], begun, &mut now);
        assert!((3.9..=4.1).contains(&took), "{took} s");
        // Nothing is saved up beyond a burst.
        now += Duration::from_secs(3600);
        let later = now;
        let took = say(&pace, &[BURST, RATE, RATE], later, &mut now);
        assert!((1.9..=2.1).contains(&took), "{took} s");
    }

    #[test]
    fn another_stream_is_no_other_gateway() {
        let paces = Paces::default();
        let whose = |gateway: &str| ("b".parse().unwrap(), gateway.parse().unwrap());
        let begun = Instant::now();
        let mut now = begun;
        // One that stays open, and others that come and go beside it.
        let first = paces.paced(whose("gw-1"), now);
        for _ in 0..BURST / OPENING {
            let next = paces.paced(whose("gw-1"), now);
            assert_eq!(say(&next.pace, &[OPENING], begun, &mut now), 0.0);
        }
        let took = say(&first.pace, &[RATE], begun, &mut now);
        assert!((0.9..=1.1).contains(&took), "{took} s");
        drop(first);
        let next = paces.paced(whose("gw-1"), now);
        let took = say(&next.pace, &[RATE], begun, &mut now);
        assert!((1.9..=2.1).contains(&took), "{took} s");
        drop(next);
        // Another gateway has its own.
        let other = paces.paced(whose("gw-2"), now);
        assert_eq!(say(&other.pace, &[OPENING], begun, &mut now), took);
        // Nothing is kept for who may say everything again.
        now += Duration::from_secs(60);
        drop(paces.paced(whose("gw-3"), now));
        assert_eq!(
            paces.0.lock().unwrap().len(),
            2,
            "that of gw-2, which is open, and gw-3's"
        );
    }

    #[test]
    fn long_frames_and_wishes_count_as_many() {
        let frame = |frame| PeerFrame { frame: Some(frame) };
        let retracted = |length| frame(Frame::EndpointRetracted(vec![0; length].into()));
        assert_eq!(cost(&retracted(16)), 1);
        assert!((1024..1030).contains(&cost(&retracted(1 << 20))));
        let resync = weft_proto::catalog::Resync {};
        assert_eq!(cost(&frame(Frame::Resync(resync))), 1 + OPENING);
        // No frame asks for more than there ever is.
        assert!(cost(&retracted(4 << 20)) + OPENING < BURST);
    }
}
