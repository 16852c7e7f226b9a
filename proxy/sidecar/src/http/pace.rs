//! How a request comes in, and how long its answer may take after that.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, timeout_at};

/// The progress of one request's body. Clones share it: one goes with the body,
/// one stays with whoever waits for the answer.
#[derive(Debug, Clone)]
pub(crate) struct Pace(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    last: Cell<Instant>,
    stalled: Cell<bool>,
}

/// The answer did not begin in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silent;

impl Pace {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Inner {
            last: Cell::new(Instant::now()),
            stalled: Cell::new(false),
        }))
    }

    /// Whether the client stopped sending the body.
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.stalled.get()
    }

    /// Waits for `answer`, at most `max` after the last piece of the request passed.
    pub(crate) async fn patiently<T>(
        &self,
        max: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, Silent> {
        let mut answer = pin!(answer);
        loop {
            let deadline = self.0.last.get() + max;
            if let Ok(answer) = timeout_at(deadline, answer.as_mut()).await {
                return Ok(answer);
            }
            if self.0.last.get() + max <= Instant::now() {
                return Err(Silent);
            }
        }
    }
}

/// Looks after one body's [`Pace`].
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    /// None: the body may be quiet as long as it likes.
    max: Option<Duration>,
    deadline: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Pacer {
    pub(super) fn new(pace: Pace, max: Option<Duration>) -> Self {
        Self {
            pace,
            max,
            deadline: None,
            waiting: false,
        }
    }

    /// A piece came.
    pub(super) fn moved(&mut self) {
        self.waiting = false;
        self.pace.0.last.set(Instant::now());
    }

    /// No piece came. Ready when none came for too long.
    pub(super) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(max) = self.max else {
            return Poll::Pending;
        };
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(max)));
        if !std::mem::replace(&mut self.waiting, true) {
            deadline.as_mut().reset(Instant::now() + max);
        }
        let stalled = deadline.as_mut().poll(cx);
        if stalled.is_ready() {
            self.pace.0.stalled.set(true);
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn patience_begins_anew_with_every_piece() {
        let pace = Pace::new();
        let mut pacer = Pacer::new(pace.clone(), None);
        let start = Instant::now();
        let sending = async {
            sleep(Duration::from_secs(8)).await;
            pacer.moved();
        };
        let waiting = pace.patiently(MAX, std::future::pending::<()>());
        let ((), silent) = tokio::join!(sending, waiting);
        assert_eq!(silent, Err(Silent));
        assert_eq!(start.elapsed().as_secs(), 18);
        assert_eq!(pace.patiently(MAX, async { 7 }).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_wait_that_lasts_is_a_stall() {
        let pace = Pace::new();
        let mut pacer = Pacer::new(pace.clone(), Some(MAX));
        let mut wait = async |max: Duration| {
            let stalled = std::future::poll_fn(|cx| pacer.poll_stalled(cx));
            let stalled = tokio::time::timeout(max, stalled).await.is_ok();
            pacer.moved();
            stalled
        };
        assert!(!wait(Duration::from_secs(9)).await);
        assert!(!wait(Duration::from_secs(9)).await);
        assert!(!pace.is_stalled());
        assert!(wait(Duration::from_secs(11)).await);
        assert!(pace.is_stalled());
    }
}
