//! A disk in memory that can lose what was not synced.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::batch::{Batch, Change, Meta, Stored};
use super::record::{self, Damage};

/// A disk for the simulation: what is synced survives a crash, of the rest an
/// arbitrary number of whole batches from the oldest on.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    log: BTreeMap<u64, Bytes>,
    meta: BTreeMap<Meta, Bytes>,
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
        record::read(
            self.log
                .iter()
                .map(|(index, value)| Ok((*index, value.clone()))),
            |meta| Ok(self.meta.get(&meta).cloned()),
        )
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
    }
}
