//! Watches: a ring of what the log said of late and a cursor per watcher.
//!
//! A watcher that does not read costs nothing but its cursor. One that stayed
//! away too long is told from where it can go on, and reads the state instead.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch as latest;
use weft_model::{Event, Index, Refusal};

use super::Shared;
use crate::replica::Origin;

/// An entry of the log, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its position.
    pub index: Index,
    /// Where it comes from, and what it asked for.
    pub origin: Origin,
    /// What changed, never nothing; or why nothing did.
    pub result: Result<Vec<Event>, Refusal>,
}

/// What is kept of the log's recent entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// Every entry after this position, up to the newest, is among `entries`.
    pub after: Index,
    /// Those that changed something or were refused, oldest first.
    pub entries: Vec<Arc<Judged>>,
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

/// The recent entries.
pub(super) struct Ring {
    inner: Mutex<Inner>,
    capacity: usize,
}

struct Inner {
    /// Every entry after this position, up to the newest, is kept.
    after: Index,
    entries: VecDeque<Arc<Judged>>,
}

impl Ring {
    pub(super) fn new(after: Index, capacity: usize) -> Self {
        let inner = Inner {
            after,
            entries: VecDeque::new(),
        };
        Self {
            inner: Mutex::new(inner),
            capacity,
        }
    }

    pub(super) fn push(&self, entry: Judged) {
        let mut inner = self.lock();
        inner.entries.push_back(Arc::new(entry));
        while inner.entries.len() > self.capacity {
            if let Some(oldest) = inner.entries.pop_front() {
                inner.after = oldest.index;
            }
        }
    }

    /// The state jumped: what changed on the way is unknown.
    pub(super) fn restart(&self, after: Index) {
        let mut inner = self.lock();
        inner.entries.clear();
        inner.after = after;
    }

    /// All that is kept.
    pub(super) fn recent(&self) -> Recent {
        let inner = self.lock();
        Recent {
            after: inner.after,
            entries: inner.entries.iter().cloned().collect(),
        }
    }

    /// The first entry after `cursor`, if there is one already.
    fn after(&self, cursor: Index) -> Result<Option<Arc<Judged>>, WatchError> {
        let inner = self.lock();
        if cursor < inner.after {
            return Err(WatchError::Compacted { first: inner.after });
        }
        let at = inner.entries.partition_point(|entry| entry.index <= cursor);
        Ok(inner.entries.get(at).cloned())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A push cannot panic halfway: a poisoned ring is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entries after a position that changed something or were refused, in order and without a gap.
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

    /// The next entry that changed something or was refused. Cancel-safe.
    pub async fn next(&mut self) -> Result<Arc<Judged>, WatchError> {
        loop {
            // Marked as seen before looking, so that no change falls between.
            self.index.borrow_and_update();
            if let Some(entry) = self.shared.ring.after(self.cursor)? {
                self.cursor = entry.index;
                return Ok(entry);
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

    fn at(index: u64) -> Judged {
        Judged {
            index: Index(index),
            origin: Origin {
                author: weft_model::Author::Founder,
                by_order_of: None,
                time: weft_model::WallTime(index),
                command: "raise format",
                target: None,
            },
            result: Err(Refusal::Founding),
        }
    }

    #[test]
    fn a_cursor_sees_every_entry_once_or_learns_that_it_cannot() {
        let ring = Ring::new(Index(4), 2);
        let check = |cursor, expect: Result<Option<u64>, u64>| {
            let expect = expect
                .map(|index| index.map(|index| Arc::new(at(index))))
                .map_err(|first| WatchError::Compacted {
                    first: Index(first),
                });
            assert_eq!(ring.after(Index(cursor)), expect, "{cursor}");
        };
        check(3, Err(4));
        check(4, Ok(None));
        ring.push(at(6));
        ring.push(at(9));
        check(4, Ok(Some(6)));
        check(6, Ok(Some(9)));
        check(9, Ok(None));
        ring.push(at(10));
        check(4, Err(6));
        check(6, Ok(Some(9)));
        let kept = ring.recent();
        assert_eq!(kept.after, Index(6));
        assert_eq!(kept.entries.len(), 2);
        ring.restart(Index(20));
        check(19, Err(20));
        check(20, Ok(None));
        assert_eq!(ring.recent().after, Index(20));
    }
}
