//! What a disk has to hold after given batches, told without a file: the store is compared with it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::archive::{self, Bounds};
use super::batch::{Batch, Change, Meta, Stored};
use super::record::{self, Damage};

/// The keys and bytes that batches leave behind.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    log: BTreeMap<u64, Bytes>,
    meta: BTreeMap<Meta, Bytes>,
    rows: BTreeMap<u64, Bytes>,
    images: BTreeMap<u64, Bytes>,
}

impl Model {
    pub(super) fn write(&mut self, batch: &Batch) {
        for change in batch.changes() {
            self.carry_out(change);
        }
    }

    pub(super) fn load(&self) -> Result<Stored, Damage> {
        let mut stored = record::read(
            self.log
                .iter()
                .map(|(index, value)| Ok((*index, value.clone()))),
            |meta| Ok(self.meta.get(&meta).cloned()),
        )?;
        stored.last_row = self.rows.keys().next_back().copied().unwrap_or(0);
        Ok(stored)
    }

    /// Where history begins, and its rows.
    pub(super) fn history(&self) -> (Option<u64>, impl Iterator<Item = (u64, &Bytes)>) {
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
