//! What history has of the log so far, and which rows the disk lacks.
//!
//! Rows are made as entries are applied and go to the disk with the next batch, so they are there
//! before the snapshot that covers them, and follow one another without a gap. A start applies
//! what the log holds beyond the snapshot again: those rows are on the disk already.

use bytes::Bytes;
use raft::eraftpb::Entry;

use crate::disk::{self, Stored};
use crate::replica::Record;
use crate::wire;

#[derive(Debug)]
pub(super) struct History {
    /// Where it is to begin anew.
    begin: Option<u64>,
    /// Made, and on no batch yet.
    rows: Vec<(u64, Bytes)>,
    /// The last row on the disk or on its way there.
    last: u64,
    /// The size of the rows since the newest snapshot.
    segment_bytes: u64,
}

impl History {
    pub(super) fn open(stored: &Stored) -> Self {
        let mut history = Self {
            begin: None,
            rows: Vec::new(),
            last: stored.last_row,
            segment_bytes: 0,
        };
        let snapshot = stored.image.index.0;
        let touches = stored
            .history
            .is_some_and(|after| after.max(stored.last_row) >= snapshot);
        // A joiner's begins with the snapshot that it will be sent.
        if !touches && snapshot > 0 {
            // A build that kept no history wrote the folder, at least of late.
            history.begin_after(snapshot);
        }
        history
    }

    /// The state jumps to this position: what was before it is not known here.
    pub(super) fn begin_after(&mut self, index: u64) {
        *self = Self {
            begin: Some(index),
            rows: Vec::new(),
            last: index,
            segment_bytes: 0,
        };
    }

    /// Takes down what came of an entry.
    pub(super) fn note(&mut self, entry: &Entry, record: &Record) {
        let row = disk::row(&wire::write_row(entry, record));
        self.segment_bytes += row.len() as u64;
        if entry.index > self.last {
            self.last = entry.index;
            self.rows.push((entry.index, row));
        }
    }

    pub(super) fn is_unsaved(&self) -> bool {
        self.begin.is_some() || !self.rows.is_empty()
    }

    /// What the next batch is to write.
    pub(super) fn take(&mut self) -> (Option<u64>, Vec<(u64, Bytes)>) {
        (self.begin.take(), std::mem::take(&mut self.rows))
    }

    /// A snapshot is taken here: how large the rows since the last one are.
    pub(super) fn close_segment(&mut self) -> u64 {
        std::mem::take(&mut self.segment_bytes)
    }
}
