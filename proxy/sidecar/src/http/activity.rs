//! What goes on on one client's connection, and since when nothing does.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::Timeouts;

/// The exchanges and tunnels of one connection. Clones share them.
#[derive(Clone)]
pub(crate) struct Activity(Rc<Inner>);

struct Inner {
    slots: RefCell<Vec<Slot>>,
    open: Cell<usize>,
    idle_since: Cell<Instant>,
}

#[derive(Clone, Copy)]
enum Slot {
    Free,
    /// The other side is to do something, or the client has all there is.
    Waiting,
    /// The client was offered a piece of an answer then, and has not taken it yet.
    Offered(Instant),
}

/// One exchange or tunnel; it lasts until dropped.
pub(crate) struct Exchange {
    activity: Activity,
    slot: usize,
}

/// Why a connection's time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// No request came.
    Idle,
    /// An answer is not taken.
    Stalled,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Inner {
            slots: RefCell::default(),
            open: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
        }))
    }

    pub(crate) fn begin(&self) -> Exchange {
        let mut slots = self.0.slots.borrow_mut();
        let free = slots.iter().position(|slot| matches!(slot, Slot::Free));
        let slot = free.unwrap_or_else(|| {
            slots.push(Slot::Free);
            slots.len() - 1
        });
        slots[slot] = Slot::Waiting;
        self.0.open.set(self.0.open.get() + 1);
        Exchange {
            activity: self.clone(),
            slot,
        }
    }

    /// Returns once nothing was asked for `timeouts.idle`, or an answer was not
    /// taken for `timeouts.send`. What goes on in between wakes nobody: it looks
    /// every half of the shorter time, and so may be that much too late.
    pub(crate) async fn overdue(&self, timeouts: &Timeouts) -> Overdue {
        let pause = (timeouts.send.min(timeouts.idle) / 2).max(Duration::from_millis(1));
        loop {
            let now = Instant::now();
            let next = now + pause;
            let wake = match self.deadline(timeouts) {
                Some((deadline, overdue)) if deadline <= now => return overdue,
                Some((deadline, _)) => deadline.min(next),
                None => next,
            };
            sleep_until(wake).await;
        }
    }

    /// Waits for the end of a connection that was asked to end: `max` once it is
    /// idle, longer while an exchange that began in the meantime lasts.
    pub(crate) async fn end<T>(&self, max: Duration, end: impl Future<Output = T>) -> Option<T> {
        let mut end = pin!(end);
        loop {
            match timeout(max, end.as_mut()).await {
                Ok(ended) => return Some(ended),
                Err(_) if self.0.open.get() == 0 => return None,
                Err(_) => {}
            }
        }
    }

    fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Overdue)> {
        if self.0.open.get() == 0 {
            return Some((self.0.idle_since.get() + timeouts.idle, Overdue::Idle));
        }
        let slots = self.0.slots.borrow();
        let offered = slots.iter().filter_map(|slot| match slot {
            Slot::Offered(since) => Some(*since),
            Slot::Free | Slot::Waiting => None,
        });
        Some((offered.min()? + timeouts.send, Overdue::Stalled))
    }
}

impl Exchange {
    /// The client has a piece of the answer to take.
    pub(crate) fn offer(&self) {
        self.set(Slot::Offered(Instant::now()));
    }

    /// The client took it.
    pub(crate) fn taken(&self) {
        self.set(Slot::Waiting);
    }

    fn set(&self, slot: Slot) {
        self.activity.0.slots.borrow_mut()[self.slot] = slot;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.set(Slot::Free);
        let inner = &self.activity.0;
        inner.open.set(inner.open.get() - 1);
        inner.idle_since.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(1),
        idle: Duration::from_secs(100),
        body: Duration::from_secs(1),
        answer: Duration::from_secs(1),
        send: Duration::from_secs(10),
    };

    async fn overdue(activity: &Activity) -> (Overdue, u64) {
        let start = Instant::now();
        let overdue = activity.overdue(&TIMEOUTS).await;
        (overdue, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_is_idle() {
        let activity = Activity::new();
        assert_eq!(overdue(&activity).await, (Overdue::Idle, 100));
        let exchange = activity.begin();
        drop(exchange);
        assert_eq!(overdue(&activity).await, (Overdue::Idle, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exchange_that_waits_for_the_app_is_never_overdue() {
        let activity = Activity::new();
        let exchange = activity.begin();
        exchange.offer();
        exchange.taken();
        let hour = Duration::from_secs(3600);
        assert!(timeout(hour, activity.overdue(&TIMEOUTS)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_that_is_not_taken_is_enough() {
        let activity = Activity::new();
        let (waiting, stalled) = (activity.begin(), activity.begin());
        stalled.offer();
        assert_eq!(overdue(&activity).await, (Overdue::Stalled, 10));
        drop((waiting, stalled));
    }
}
