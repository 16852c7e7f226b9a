//! Watches: a ring of recent changes and a cursor per watcher.
//!
//! A watcher that does not read costs nothing but its cursor. One that stayed
//! away too long is told from where it can go on, and reads the state instead.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch as latest;
use weft_model::{Event, Index};

use super::Shared;

/// What changed at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The position.
    pub index: Index,
    /// What changed there; never empty.
    pub events: Arc<[Event]>,
}

/// Why a watch cannot go on where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// What changed since is no longer kept. Read the state, then watch from its index.
    #[error("changes are kept from after {first} on")]
    Compacted {
        /// The oldest position from which a watch can begin.
        first: Index,
    },
    /// The registry has stopped.
    #[error("the registry has stopped")]
    Stopped,
}

/// The recent changes.
pub(super) struct Ring {
    inner: Mutex<Inner>,
    capacity: usize,
}

struct Inner {
    /// Every change after this position, up to the newest, is kept.
    after: Index,
    changes: VecDeque<Changes>,
}

impl Ring {
    pub(super) fn new(after: Index, capacity: usize) -> Self {
        let inner = Inner {
            after,
            changes: VecDeque::new(),
        };
        Self {
            inner: Mutex::new(inner),
            capacity,
        }
    }

    pub(super) fn push(&self, changes: Changes) {
        let mut inner = self.lock();
        inner.changes.push_back(changes);
        while inner.changes.len() > self.capacity {
            if let Some(oldest) = inner.changes.pop_front() {
                inner.after = oldest.index;
            }
        }
    }

    /// The state jumped: what changed on the way is unknown.
    pub(super) fn restart(&self, after: Index) {
        let mut inner = self.lock();
        inner.changes.clear();
        inner.after = after;
    }

    /// The first change after `cursor`, if there is one already.
    fn after(&self, cursor: Index) -> Result<Option<Changes>, WatchError> {
        let inner = self.lock();
        if cursor < inner.after {
            return Err(WatchError::Compacted { first: inner.after });
        }
        let at = inner
            .changes
            .partition_point(|changes| changes.index <= cursor);
        Ok(inner.changes.get(at).cloned())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A push cannot panic halfway: a poisoned ring is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The changes after a position, in order and without a gap.
pub struct Watch {
    shared: Arc<Shared>,
    cursor: Index,
    index: latest::Receiver<Index>,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, from: Index) -> Self {
        let index = shared.index.subscribe();
        Self {
            shared,
            cursor: from,
            index,
        }
    }

    /// The next position at which something changed. Cancel-safe.
    pub async fn next(&mut self) -> Result<Changes, WatchError> {
        loop {
            // Marked as seen before looking, so that no change falls between.
            self.index.borrow_and_update();
            if let Some(changes) = self.shared.ring.after(self.cursor)? {
                self.cursor = changes.index;
                return Ok(changes);
            }
            if self.shared.stopped.load(Ordering::Acquire) || self.index.changed().await.is_err() {
                return Err(WatchError::Stopped);
            }
        }
    }

    /// The position to resume from.
    pub fn position(&self) -> Index {
        self.cursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Changes {
        Changes {
            index: Index(index),
            events: Arc::new([]),
        }
    }

    #[test]
    fn a_cursor_sees_every_change_once_or_learns_that_it_cannot() {
        let ring = Ring::new(Index(4), 2);
        let check = |cursor, expect| assert_eq!(ring.after(Index(cursor)), expect, "{cursor}");
        check(3, Err(WatchError::Compacted { first: Index(4) }));
        check(4, Ok(None));
        ring.push(at(6));
        ring.push(at(9));
        check(4, Ok(Some(at(6))));
        check(6, Ok(Some(at(9))));
        check(9, Ok(None));
        ring.push(at(10));
        check(4, Err(WatchError::Compacted { first: Index(6) }));
        check(6, Ok(Some(at(9))));
        ring.restart(Index(20));
        check(19, Err(WatchError::Compacted { first: Index(20) }));
        check(20, Ok(None));
    }
}
