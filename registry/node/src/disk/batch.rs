//! What is written together, and what is read back.

use bytes::Bytes;
use raft::eraftpb::{Entry, HardState};
use weft_model::Index;

use super::archive::Bounds;
use super::record;
use crate::image::Image;

/// What a node must have on disk before it may go on. Batches are written in order.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Counted from 1 per start, without gaps.
    pub number: u64,
    pub(crate) hard: HardState,
    /// Replaces the log and the snapshot: a leader's snapshot came in.
    pub(crate) install: Option<Box<Image>>,
    /// Replaces the log from the first of them on.
    pub(crate) entries: Vec<Entry>,
    pub(crate) compaction: Option<Box<Compaction>>,
    /// Forgets all history: it begins after this position from now on.
    pub(crate) begin: Option<u64>,
    /// History's next rows, sealed.
    pub(crate) rows: Vec<(u64, Bytes)>,
    /// Raises the fence, where the state is not the others', or lowers it.
    pub(crate) fence: Option<Mark>,
}

/// The fence around a replica whose state is not the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A majority had another state at this position.
    Raised(Index),
    Lowered,
}

/// A new snapshot, and how much of the log it makes superfluous.
#[derive(Debug, Clone)]
pub(crate) struct Compaction {
    pub(crate) image: Image,
    /// Position and term of the last forgotten entry.
    pub(crate) through: (u64, u64),
    /// The position of the snapshot before, which goes into history, and the size of the rows since.
    pub(crate) archived: (u64, u64),
    /// What history may take.
    pub(crate) bounds: Bounds,
}

/// What a disk held when it was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    pub(crate) before: (u64, u64),
    pub(crate) entries: Vec<Entry>,
    pub(crate) hard: HardState,
    pub(crate) image: Image,
    /// Where history begins; none in a folder of a build that kept none.
    pub(crate) history: Option<u64>,
    /// Its last row; 0 if there is none.
    pub(crate) last_row: u64,
    /// Set if its state is not the others': a majority had another one at this position.
    pub(crate) fenced: Option<Index>,
}

impl Stored {
    /// The position up to which the state is known without the log.
    pub fn applied(&self) -> Index {
        self.image.index
    }

    /// The last position known to be committed.
    pub(crate) fn commit(&self) -> u64 {
        self.hard.commit
    }

    /// The same with the whole log counted as committed.
    pub(crate) fn all_committed(mut self) -> Self {
        let last = self.entries.last().map(|entry| entry.index);
        self.hard.commit = last.unwrap_or(self.hard.commit);
        self
    }
}

impl Batch {
    /// How many entries it writes.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Up to where it writes history, if it does.
    pub(crate) fn last_row(&self) -> Option<u64> {
        let last = self.rows.last().map(|(index, _)| *index);
        last.or(self.begin)
    }

    /// The single writes, in order.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.entries.len() + 3);
        if let Some(image) = &self.install {
            changes.push(Change::DropFrom(0));
            changes.push(Change::Meta(
                Meta::Start,
                record::start(image.index.0, image.term),
            ));
            changes.push(Change::Meta(Meta::Snapshot, record::image(image)));
        }
        if let Some(after) = self.begin {
            changes.push(Change::Begin(after));
        }
        for (index, row) in &self.rows {
            changes.push(Change::Row(*index, row.clone()));
        }
        if let Some(first) = self.entries.first() {
            changes.push(Change::DropFrom(first.index));
        }
        for entry in &self.entries {
            changes.push(Change::Put(entry.index, record::entry(entry)));
        }
        if let Some(compaction) = &self.compaction {
            let Compaction {
                image,
                through,
                archived: (index, rows_bytes),
                bounds,
            } = &**compaction;
            changes.push(Change::Archive {
                index: *index,
                rows_bytes: *rows_bytes,
            });
            changes.push(Change::Meta(Meta::Snapshot, record::image(image)));
            changes.push(Change::Meta(
                Meta::Start,
                record::start(through.0, through.1),
            ));
            changes.push(Change::DropThrough(through.0));
            changes.push(Change::Trim {
                newest: image.index.0,
                bounds: *bounds,
            });
        }
        if let Some(mark) = self.fence {
            changes.push(Change::Meta(Meta::Fence, record::fence(mark)));
        }
        changes.push(Change::Meta(Meta::Hard, record::hard(&self.hard)));
        changes
    }
}

/// What a founder's disk holds first, as one batch.
pub(super) fn founding_batch(stored: &Stored) -> Batch {
    Batch {
        number: 0,
        hard: stored.hard.clone(),
        install: Some(Box::new(stored.image.clone())),
        entries: stored.entries.clone(),
        compaction: None,
        begin: Some(stored.image.index.0),
        rows: Vec::new(),
        fence: None,
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Forget the entries from here on.
    DropFrom(u64),
    /// Forget the entries up to and including this one.
    DropThrough(u64),
    Put(u64, Bytes),
    Meta(Meta, Bytes),
    /// Forget all history, and begin it after this position.
    Begin(u64),
    /// History's next row.
    Row(u64, Bytes),
    /// Keep the snapshot, which is of this position, in history before it is replaced.
    Archive {
        index: u64,
        rows_bytes: u64,
    },
    /// Forget the oldest of history until it keeps within bounds.
    Trim {
        newest: u64,
        bounds: Bounds,
    },
}

/// The single values beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meta {
    Folder,
    Hard,
    Start,
    Snapshot,
    History,
    Fence,
}

impl Meta {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Hard => "hard state",
            Self::Start => "log start",
            Self::Snapshot => "snapshot",
            Self::History => "history start",
            Self::Fence => "fence",
        }
    }
}
