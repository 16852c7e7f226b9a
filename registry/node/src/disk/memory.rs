//! A disk in memory that can lose what was not synced.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::archive::{self, Bounds};
use super::batch::{Batch, Change, Meta, Stored};
use super::record::{self, Damage};

/// A disk for the simulation: what is synced survives a crash, of the rest an
/// arbitrary number of whole batches from the oldest on.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    log: BTreeMap<u64, Bytes>,
    meta: BTreeMap<Meta, Bytes>,
    rows: BTreeMap<u64, Bytes>,
    images: BTreeMap<u64, Bytes>,
    unsynced: VecDeque<(u64, Vec<Change>)>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds what a founder's disk holds first.
    pub fn founded(stored: &Stored) -> Self {
        let mut disk = Self::default();
        disk.write(&founding_batch(stored));
        disk.sync_one();
        disk
    }

    /// Takes a batch, which is not durable yet.
    pub fn write(&mut self, batch: &Batch) {
        self.unsynced.push_back((batch.number, batch.changes()));
    }

    /// Makes the oldest batch durable and says which.
    pub fn sync_one(&mut self) -> Option<u64> {
        let (number, changes) = self.unsynced.pop_front()?;
        for change in changes {
            self.carry_out(change);
        }
        Some(number)
    }

    /// How many batches are not durable yet.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Loses power: of the batches under way, the oldest `survivors` were written all the same.
    pub fn crash(&mut self, survivors: usize) {
        for _ in 0..survivors {
            self.sync_one();
        }
        self.unsynced.clear();
    }

    /// What is durable.
    pub fn load(&self) -> Result<Stored, Damage> {
        let mut stored = record::read(
            self.log
                .iter()
                .map(|(index, value)| Ok((*index, value.clone()))),
            |meta| Ok(self.meta.get(&meta).cloned()),
        )?;
        stored.last_row = self.rows.keys().next_back().copied().unwrap_or(0);
        Ok(stored)
    }

    /// Where durable history begins, and its rows.
    pub fn history(&self) -> (Option<u64>, impl Iterator<Item = (u64, &Bytes)>) {
        let after = self.load().ok().and_then(|stored| stored.history);
        (after, self.rows.iter().map(|(index, row)| (*index, row)))
    }

    fn carry_out(&mut self, change: Change) {
        match change {
            Change::DropFrom(first) => {
                self.log.split_off(&first);
            }
            Change::DropThrough(last) => self.log = self.log.split_off(&(last + 1)),
            Change::Put(index, value) => {
                self.log.insert(index, value);
            }
            Change::Meta(meta, value) => {
                self.meta.insert(meta, value);
            }
            Change::Begin(after) => {
                self.rows.clear();
                self.images.clear();
                self.begin(after);
            }
            Change::Row(index, row) => {
                self.rows.insert(index, row);
            }
            Change::Archive { index, rows_bytes } => {
                let snapshot = self.meta.get(&Meta::Snapshot);
                let archived = snapshot.map(|value| record::archived(value, rows_bytes));
                if let Some(Ok(value)) = archived {
                    self.images.insert(index, value);
                }
            }
            Change::Trim { newest, bounds } => self.trim(newest, bounds),
        }
    }

    fn begin(&mut self, after: u64) {
        self.meta.insert(Meta::History, record::start(after, 0));
    }

    fn trim(&mut self, newest: u64, bounds: Bounds) {
        let bytes = |(index, value): (&u64, &Bytes)| {
            let bytes = record::archived_bytes(*index, value).unwrap_or(0);
            (*index, bytes)
        };
        let images: Vec<_> = self.images.iter().map(bytes).collect();
        if let Some(after) = archive::forget(&images, newest, bounds) {
            self.images = self.images.split_off(&after);
            self.rows = self.rows.split_off(&(after + 1));
            self.begin(after);
        }
    }
}

pub(super) fn founding_batch(stored: &Stored) -> Batch {
    Batch {
        number: 0,
        hard: stored.hard.clone(),
        install: Some(Box::new(stored.image.clone())),
        entries: stored.entries.clone(),
        compaction: None,
        begin: Some(stored.image.index.0),
        rows: Vec::new(),
    }
}
