//! Where a watcher stands, and what it gets next.

use std::collections::VecDeque;
use std::sync::Arc;

use weft_model::Index;

use super::ring::Found;
use super::{Judged, Ring, WatchError};
use crate::disk::Archive;
use crate::wire::Row;

/// A watcher's position between a [`Ring`] and history: entries come in order and without a gap.
#[derive(Debug)]
pub struct Cursor {
    /// All up to here was handed out, or was nothing to hand out.
    position: Index,
    /// Read from history, and not handed out yet.
    ahead: VecDeque<Arc<Judged>>,
    /// Up to where `ahead` was read.
    read: Index,
    /// The fault to have, for the simulation to catch.
    #[cfg(feature = "bugs")]
    bug: Option<crate::driver::Bug>,
}

/// What a watcher is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This is the next entry.
    Entry(Arc<Judged>),
    /// Read history after this position, and say what it has: the ring does not reach back so far.
    Read {
        /// The position.
        after: Index,
    },
    /// Wait until more is applied, or written to the disk.
    Wait,
}

/// What came of a read of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The cursor goes on: ask it for the next step.
    Further,
    /// It goes no further yet: the ring has let go of what is still on its way to the disk. Wait.
    NotYet,
}

/// Rows read from history at once: what a watcher that stalls holds at most.
const ROWS_MAX: usize = 32;

/// What history had after a position when it was read.
#[derive(Debug)]
pub struct Page {
    /// Where it begins; the highest number before anything is written.
    begins: u64,
    rows: Vec<Row>,
}

impl Page {
    pub(crate) fn read(archive: &Archive, after: Index) -> Result<Self, WatchError> {
        let (begins, rows) = archive.rows(after.0, ROWS_MAX)?;
        Ok(Self { begins, rows })
    }
}

impl Cursor {
    /// One for a watcher that knows all up to a position.
    pub fn new(from: Index) -> Self {
        Self {
            position: from,
            ahead: VecDeque::new(),
            read: from,
            #[cfg(feature = "bugs")]
            bug: None,
        }
    }

    /// The same cursor with a fault, if it is one of a cursor's.
    #[cfg(feature = "bugs")]
    pub fn with(self, bug: Option<crate::driver::Bug>) -> Self {
        Self { bug, ..self }
    }

    /// What comes next, as the ring is now.
    pub fn next(&mut self, ring: &Ring) -> Step {
        if let Some(entry) = self.ahead.pop_front() {
            self.position = match self.ahead.is_empty() {
                true => self.behind_read(),
                false => entry.index,
            };
            return Step::Entry(entry);
        }
        match ring.after(self.position) {
            Found::Entry(entry) => {
                self.position = entry.index;
                Step::Entry(entry)
            }
            Found::Nothing => Step::Wait,
            Found::LetGo => Step::Read {
                after: self.position,
            },
        }
    }

    /// Goes on by what history has after [`Self::position`].
    pub fn read(&mut self, page: Page) -> Result<Progress, WatchError> {
        let Page { begins, rows } = page;
        if self.position.0 < begins && begins != u64::MAX {
            let first = Index(begins);
            return Err(WatchError::Compacted { first });
        }
        let Some(last) = rows.last().map(|row| Index(row.entry.index)) else {
            return Ok(Progress::NotYet);
        };
        self.ahead = rows
            .into_iter()
            .filter_map(Judged::of_row)
            .map(Arc::new)
            .collect();
        self.read = last;
        if self.ahead.is_empty() {
            self.position = self.behind_read();
        }
        Ok(Progress::Further)
    }

    /// The position to resume from.
    pub fn position(&self) -> Index {
        self.position
    }

    /// Where the cursor stands once it has handed out all that was read.
    fn behind_read(&self) -> Index {
        #[cfg(feature = "bugs")]
        if self.bug == Some(crate::driver::Bug::SkipsAtSeam) {
            return Index(self.read.0 + 1);
        }
        self.read
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::Entry;

    use super::super::ring::tests::at;
    use super::*;

    /// Rows of the consensus's own: nothing to hand out.
    fn page(begins: u64, indexes: std::ops::Range<u64>) -> Page {
        let row = |index| Row {
            entry: Entry {
                index,
                ..Entry::default()
            },
            answer: None,
            events: Vec::new(),
        };
        Page {
            begins,
            rows: indexes.map(row).collect(),
        }
    }

    #[test]
    fn a_cursor_behind_the_ring_reads_history_up_to_it() {
        let ring = Ring::new(Index(6), 2);
        ring.push(at(9));
        let mut cursor = Cursor::new(Index(3));
        let read = |after| Step::Read {
            after: Index(after),
        };
        assert_eq!(cursor.next(&ring), read(3));
        assert_eq!(cursor.read(page(1, 4..6)), Ok(Progress::Further));
        // Not on the disk yet, and not in the ring any more.
        assert_eq!(cursor.next(&ring), read(5));
        assert_eq!(cursor.read(page(1, 6..6)), Ok(Progress::NotYet));
        assert_eq!(cursor.next(&ring), read(5));
        assert_eq!(cursor.read(page(1, 6..8)), Ok(Progress::Further));
        assert_eq!(cursor.position(), Index(7));
        assert_eq!(cursor.next(&ring), Step::Entry(Arc::new(at(9))));
        assert_eq!(cursor.next(&ring), Step::Wait);
        assert_eq!(cursor.position(), Index(9));
    }

    #[test]
    fn a_cursor_before_history_is_told_where_that_begins() {
        let mut cursor = Cursor::new(Index(3));
        let first = Index(4);
        assert_eq!(
            cursor.read(page(4, 5..9)),
            Err(WatchError::Compacted { first })
        );
        assert_eq!(cursor.position(), Index(3));
        // A node that joins has no history until it is sent a state.
        assert_eq!(cursor.read(page(u64::MAX, 0..0)), Ok(Progress::NotYet));
    }
}
