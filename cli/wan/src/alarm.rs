//! When a shell around links wakes up.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::moment::Moment;

/// For deadlines that the clock cannot express; the timer is then set again.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 3600);

/// A clock that begins at [`Moment::START`], and one timer on it.
#[derive(Debug)]
pub(crate) struct Alarm {
    started: Instant,
    timer: Pin<Box<Sleep>>,
    /// What `timer` is set to.
    armed: Option<Moment>,
}

impl Alarm {
    /// Begins now, unset.
    ///
    /// # Panics
    /// Outside a tokio runtime with time.
    pub(crate) fn new() -> Self {
        let started = Instant::now();
        Self {
            started,
            timer: Box::pin(tokio::time::sleep_until(started)),
            armed: None,
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::after(self.started.elapsed())
    }

    /// Touches the timer only when the deadline is another one: with a steady
    /// delay that is once per packet sent, not once per event.
    pub(crate) fn set(&mut self, next: Option<Moment>) {
        if let Some(at) = next.filter(|_| next != self.armed) {
            let latest = Instant::now() + SLEEP_MAX;
            let at = self.started.checked_add(at.since_start());
            let at = at.map_or(latest, |at| at.min(latest));
            self.timer.as_mut().reset(at);
        }
        self.armed = next;
    }

    /// Resolves at the deadline, once; never while there is none. May be dropped
    /// and called again.
    pub(crate) async fn ring(&mut self) {
        if self.armed.is_none() {
            std::future::pending::<()>().await;
        }
        self.timer.as_mut().await;
        self.armed = None;
    }
}
