//! Hands accepted connections from the control thread to the workers.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weft_proxy::Hint;

use super::front::Front;
use super::metrics::StandInMetrics;

/// An accepted connection on its way to a worker, not yet in any runtime.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    pub(super) work: Work,
    /// Counts it as the worker's until it ends.
    pub(super) load: Load,
}

/// What a connection is for.
pub(super) enum Work {
    /// A client without a sidecar wants this.
    Client(Hint),
    /// A peer wants a server that this gateway fronts.
    Server(Arc<Front>),
}

/// The workers' intakes. Clones share them.
#[derive(Clone)]
pub(super) struct Pool {
    lanes: Arc<[Lane]>,
    turn: Arc<AtomicUsize>,
    metrics: StandInMetrics,
}

struct Lane {
    intake: mpsc::UnboundedSender<Accepted>,
    load: Arc<AtomicUsize>,
}

/// One connection of a worker.
pub(super) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections per worker; further ones are reset. Each costs two descriptors.
const LOAD_MAX: usize = 16_384;
/// After an accept failed for want of something (descriptors, memory), wait this
/// long for it to be freed instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Pool {
    /// Lanes for `workers`, and the intakes for them to read.
    pub(super) fn new(
        workers: usize,
        metrics: StandInMetrics,
    ) -> (Self, Vec<mpsc::UnboundedReceiver<Accepted>>) {
        let lane = |_| {
            // Bounded by LOAD_MAX: what waits here is counted as the worker's.
            let (intake, accepted) = mpsc::unbounded_channel();
            let load = Arc::default();
            (Lane { intake, load }, accepted)
        };
        let (lanes, intakes): (Vec<_>, _) = (0..workers).map(lane).unzip();
        let pool = Self {
            lanes: lanes.into(),
            turn: Arc::default(),
            metrics,
        };
        (pool, intakes)
    }

    /// Accepts until stopped; `work` says what each connection is for. One that is for
    /// nothing is reset. What the kernel has completed by then is still accepted: closing
    /// the socket would reset it.
    pub(super) async fn accept(
        self,
        listener: TcpListener,
        stop: CancellationToken,
        work: impl Fn(&TcpStream) -> Option<Work>,
    ) {
        let take = |tcp: TcpStream| match work(&tcp) {
            Some(work) => self.hand(tcp, work),
            None => reset(&tcp),
        };
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted.and_then(|(tcp, _)| tcp.into_std()) {
                Ok(tcp) => take(tcp),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Not through the runtime, which need not have heard of the last ones yet.
        let Ok(listener) = listener.into_std() else {
            return;
        };
        while let Ok((tcp, _)) = listener.accept() {
            if tcp.set_nonblocking(true).is_ok() {
                take(tcp);
            }
        }
    }

    /// Gives a connection to the worker with the fewest.
    fn hand(&self, tcp: TcpStream, work: Work) {
        let loads = self.lanes.iter().map(|l| l.load.load(Ordering::Relaxed));
        let loads: Vec<usize> = loads.collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Some(worker) = least_loaded(&loads, turn) else {
            self.metrics.refused();
            return reset(&tcp);
        };
        let lane = &self.lanes[worker];
        lane.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&lane.load));
        // It fails only once the worker has ended: then the connection ends here.
        let _ = lane.intake.send(Accepted { tcp, work, load });
    }
}

/// Makes the end a reset rather than one that looks like an empty answer; a socket that
/// refuses the option is already dead.
fn reset(tcp: &TcpStream) {
    let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

/// The worker with the fewest connections; equal ones take turns. None if all are full.
fn least_loaded(loads: &[usize], turn: usize) -> Option<usize> {
    let workers = loads.len();
    let from_turn = (0..workers).map(|at| (turn % workers + at) % workers);
    from_turn
        .filter(|at| loads[*at] < LOAD_MAX)
        .min_by_key(|at| loads[*at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_takes_the_next_and_equals_take_turns() {
        let turns =
            |loads: &[usize]| -> Vec<_> { (0..4).map(|turn| least_loaded(loads, turn)).collect() };
        assert_eq!(turns(&[]), [None; 4]);
        assert_eq!(turns(&[3, 1]), [Some(1); 4]);
        assert_eq!(turns(&[2, 2]), [Some(0), Some(1), Some(0), Some(1)]);
        assert_eq!(turns(&[LOAD_MAX, LOAD_MAX]), [None; 4]);
        assert_eq!(turns(&[LOAD_MAX, 9]), [Some(1); 4]);
    }
}
