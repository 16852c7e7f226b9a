//! Watches: what of the log is shown to whom, decided without a clock, a thread or waiting for a disk.
//!
//! A [`Ring`] holds what the log said of late, a [`Cursor`] stands for each watcher. One that does
//! not read costs its cursor and a few entries. One that stayed away for longer than the ring
//! reaches reads history; where history begins later, it is told from where it can go on, and
//! reads the state instead.

mod cursor;
mod ring;

use weft_model::{Event, Index, Refusal};

pub use cursor::{Cursor, Page, Progress, Step};
pub use ring::Ring;

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
    pub fn of(
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

    pub(crate) fn of_row(row: Row) -> Option<Self> {
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

impl From<ArchiveError> for WatchError {
    fn from(error: ArchiveError) -> Self {
        error.fault().map_or(Self::Stopped, Self::Unreadable)
    }
}
