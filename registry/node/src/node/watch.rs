//! Watches: a ring of what the log said of late and a cursor per watcher.
//!
//! A watcher that does not read costs its cursor and a few entries. One that stayed away for
//! longer than the ring reaches reads history; where history begins later, it is told from where
//! it can go on, and reads the state instead.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch as latest;
use weft_model::{Event, Index, Refusal};

use super::Shared;
use crate::disk::ArchiveError;
use crate::replica::{Answer, Origin};
use crate::wire::{self, Row};

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

impl Judged {
    /// None for what neither changed anything nor was refused: a request that was judged
    /// before, what says what is known, and what cannot be read.
    pub(super) fn of(
        index: Index,
        origin: Option<Origin>,
        answer: &Answer,
        events: Vec<Event>,
    ) -> Option<Self> {
        let result = match answer {
            Answer::Judged(Err(refusal)) => Err(refusal.clone()),
            _ => Ok(events),
        };
        let origin = origin.filter(|_| result != Ok(Vec::new()))?;
        Some(Self {
            index,
            origin,
            result,
        })
    }

    pub(super) fn of_row(row: Row) -> Option<Self> {
        let origin = wire::origin(&row);
        let answer = row.answer?;
        Self::of(Index(row.entry.index), origin, &answer, row.events)
    }
}

/// Why a watch cannot go on where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// What changed since is no longer kept. Read the state, then watch from its index.
    #[error("changes are kept from after {first} on")]
    Compacted {
        /// The oldest position from which a watch can begin.
        first: Index,
    },
    /// History cannot be read from the disk.
    #[error("history cannot be read: {0}")]
    Unreadable(String),
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

/// The entries after a position that changed something or were refused, in order and without a
/// gap. Those that the ring has no room for are read from history.
pub struct Watch {
    shared: Arc<Shared>,
    /// All up to here was handed out, or was nothing to hand out.
    cursor: Index,
    /// Read from history, and not handed out yet.
    ahead: VecDeque<Arc<Judged>>,
    /// Up to where `ahead` was read.
    read: Index,
    index: latest::Receiver<Index>,
    written: latest::Receiver<Index>,
}

/// Rows read from history at once: what a watcher that stalls holds at most.
const ROWS_MAX: usize = 32;

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, from: Index) -> Self {
        let (index, written) = (shared.index.subscribe(), shared.written.subscribe());
        Self {
            shared,
            cursor: from,
            ahead: VecDeque::new(),
            read: from,
            index,
            written,
        }
    }

    /// The next entry that changed something or was refused. Cancel-safe.
    pub async fn next(&mut self) -> Result<Arc<Judged>, WatchError> {
        loop {
            // Marked as seen before looking, so that no change falls between.
            self.index.borrow_and_update();
            self.written.borrow_and_update();
            if let Some(entry) = self.ahead.pop_front() {
                self.cursor = match self.ahead.is_empty() {
                    true => self.read,
                    false => entry.index,
                };
                return Ok(entry);
            }
            match self.shared.ring.after(self.cursor) {
                Ok(Some(entry)) => {
                    self.cursor = entry.index;
                    return Ok(entry);
                }
                Ok(None) => {}
                Err(WatchError::Compacted { .. }) if self.fetch().await? => continue,
                Err(WatchError::Compacted { .. }) => {}
                Err(other) => return Err(other),
            }
            if self.shared.stopped.load(Ordering::Acquire) {
                return Err(WatchError::Stopped);
            }
            let woken = tokio::select! {
                woken = self.index.changed() => woken,
                woken = self.written.changed() => woken,
            };
            woken.map_err(|_| WatchError::Stopped)?;
        }
    }

    /// Reads on in history. False if it goes no further yet: the ring has let go of what is still
    /// on its way to the disk.
    async fn fetch(&mut self) -> Result<bool, WatchError> {
        let (archive, after) = (self.shared.archive.clone(), self.cursor.0);
        let read = tokio::task::spawn_blocking(move || archive.rows(after, ROWS_MAX)).await;
        let (begins, rows) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(ArchiveError::Closed)) | Err(_) => return Err(WatchError::Stopped),
            Ok(Err(error)) => return Err(WatchError::Unreadable(error.to_string())),
        };
        if after < begins && begins != u64::MAX {
            let first = Index(begins);
            return Err(WatchError::Compacted { first });
        }
        let Some(last) = rows.last().map(|row| Index(row.entry.index)) else {
            return Ok(false);
        };
        self.ahead = rows
            .into_iter()
            .filter_map(Judged::of_row)
            .map(Arc::new)
            .collect();
        self.read = last;
        if self.ahead.is_empty() {
            self.cursor = last;
        }
        Ok(true)
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
        ring.restart(Index(20));
        check(19, Err(20));
        check(20, Ok(None));
    }
}
