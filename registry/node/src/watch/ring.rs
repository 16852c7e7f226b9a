//! The entries that the log brought of late, for all watchers of a node.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weft_model::Index;

use super::Judged;

/// The recent entries.
#[derive(Debug)]
pub struct Ring {
    inner: Mutex<Inner>,
    capacity: usize,
}

#[derive(Debug)]
struct Inner {
    /// Every entry after this position, up to the newest, is kept.
    after: Index,
    entries: VecDeque<Arc<Judged>>,
}

impl Ring {
    /// One that is to hold so many of the entries after a position.
    pub fn new(after: Index, capacity: usize) -> Self {
        let inner = Inner {
            after,
            entries: VecDeque::new(),
        };
        Self {
            inner: Mutex::new(inner),
            capacity,
        }
    }

    /// Takes the next entry, and lets go of the oldest where there is no room.
    pub fn push(&self, entry: Judged) {
        let mut inner = self.lock();
        inner.entries.push_back(Arc::new(entry));
        while inner.entries.len() > self.capacity {
            if let Some(oldest) = inner.entries.pop_front() {
                inner.after = oldest.index;
            }
        }
    }

    /// The state jumped: what changed on the way is unknown.
    pub fn restart(&self, after: Index) {
        let mut inner = self.lock();
        inner.entries.clear();
        inner.after = after;
    }

    /// The first entry after a position.
    pub(super) fn after(&self, position: Index) -> Found {
        let inner = self.lock();
        if position < inner.after {
            return Found::LetGo;
        }
        let at = inner
            .entries
            .partition_point(|entry| entry.index <= position);
        match inner.entries.get(at) {
            Some(entry) => Found::Entry(entry.clone()),
            None => Found::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A push cannot panic halfway: a poisoned ring is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a ring has after a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The first entry.
    Entry(Arc<Judged>),
    /// Nothing happened since.
    Nothing,
    /// It does not reach back so far.
    LetGo,
}

#[cfg(test)]
pub(super) mod tests {
    use weft_model::{Author, Refusal, WallTime};

    use super::*;
    use crate::replica::Origin;

    pub(crate) fn at(index: u64) -> Judged {
        Judged {
            index: Index(index),
            origin: Origin {
                author: Author::Founder,
                by_order_of: None,
                time: WallTime(index),
                command: "raise format",
                target: None,
            },
            result: Err(Refusal::Founding),
        }
    }

    #[test]
    fn a_cursor_sees_every_entry_once_or_learns_that_it_cannot() {
        let ring = Ring::new(Index(4), 2);
        let entry = |index| Found::Entry(Arc::new(at(index)));
        let check = |position, expect| {
            assert_eq!(ring.after(Index(position)), expect, "{position}");
        };
        check(3, Found::LetGo);
        check(4, Found::Nothing);
        ring.push(at(6));
        ring.push(at(9));
        check(4, entry(6));
        check(6, entry(9));
        check(9, Found::Nothing);
        ring.push(at(10));
        check(4, Found::LetGo);
        check(6, entry(9));
        ring.restart(Index(20));
        check(19, Found::LetGo);
        check(20, Found::Nothing);
    }
}
