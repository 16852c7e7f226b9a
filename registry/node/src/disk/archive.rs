//! History at rest: a row for each committed entry, and the snapshots that rows are replayed from.
//!
//! It begins after a position and has no gap from there on. It is written with the
//! log, by the thread that writes the log, and read by anybody beside that: a
//! read sees one moment of it. The oldest goes first, a snapshot's worth at a time.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
};

use super::batch::Meta;
use super::record::{self, Damage};
use super::store::META;
use crate::image::Image;
use crate::wire::Row;

pub(super) const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");
pub(super) const IMAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history images");

/// Entries that history holds at most, but for the newest snapshot's worth.
pub const HISTORY_ENTRIES: u64 = 100_000;
/// Bytes that it holds at most, snapshots included, but for the newest snapshot's worth.
pub const HISTORY_BYTES: u64 = 128 * 1024 * 1024;

/// What history may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Entries.
    pub entries: u64,
    /// Bytes, those of snapshots included.
    pub bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            entries: HISTORY_ENTRIES,
            bytes: HISTORY_BYTES,
        }
    }
}

/// Where history is to begin so that it keeps within bounds; none if it does.
///
/// `images` are the archived snapshots with what they and the rows after them take, oldest first;
/// `newest` is the position of the snapshot that is not archived yet, up to which there are rows.
pub(super) fn forget(images: &[(u64, u64)], newest: u64, bounds: Bounds) -> Option<u64> {
    let sizes = images.iter().map(|(_, bytes)| *bytes);
    let mut bytes = sizes.fold(0, u64::saturating_add);
    let mut after = None;
    for (at, (index, takes)) in images.iter().enumerate() {
        if newest.saturating_sub(*index) <= bounds.entries && bytes <= bounds.bytes {
            break;
        }
        bytes = bytes.saturating_sub(*takes);
        after = Some(images.get(at + 1).map_or(newest, |(next, _)| *next));
    }
    after
}

/// Why history cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The registry has stopped.
    #[error("the registry has stopped")]
    Closed,
    /// The file cannot be read.
    #[error("the state folder cannot be read: {0}")]
    File(Box<redb::Error>),
    /// What it holds is damaged.
    #[error("history is damaged: {0}")]
    Damaged(#[from] Damage),
    /// The library that reads the file gave up on it.
    #[error("the store panicked on it")]
    Panicked,
}

impl ArchiveError {
    /// What readers are told of it; none if there is nothing wrong but that the registry has stopped.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Self::Closed => None,
            Self::File(_) | Self::Damaged(_) | Self::Panicked => Some(self.to_string()),
        }
    }
}

impl<E: Into<redb::Error>> From<E> for ArchiveError {
    fn from(error: E) -> Self {
        Self::File(Box::new(error.into()))
    }
}

/// The history of an open state folder, for readers.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    database: Weak<Database>,
}

/// A state, and the rows that follow it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) image: Image,
    pub(crate) rows: Vec<Row>,
}

impl Archive {
    pub(super) fn new(database: &Arc<Database>) -> Self {
        Self {
            database: Arc::downgrade(database),
        }
    }

    fn begin(&self) -> Result<ReadTransaction, ArchiveError> {
        let database = self.database.upgrade().ok_or(ArchiveError::Closed)?;
        Ok(database.begin_read()?)
    }

    /// The position after which it begins, and its last row; none before the first is written.
    pub(crate) fn span(&self) -> Result<Option<(u64, u64)>, ArchiveError> {
        let transaction = self.begin()?;
        let Some(after) = start(&transaction)? else {
            return Ok(None);
        };
        let last = match rows(&transaction)? {
            Some(rows) => rows.last()?.map_or(after, |(index, _)| index.value()),
            None => after,
        };
        Ok(Some((after, last.max(after))))
    }

    /// Up to `limit` rows after `after`, and where it begins.
    pub(crate) fn rows(&self, after: u64, limit: usize) -> Result<(u64, Vec<Row>), ArchiveError> {
        let transaction = self.begin()?;
        let begins = start(&transaction)?.unwrap_or(u64::MAX);
        if after < begins {
            return Ok((begins, Vec::new()));
        }
        Ok((begins, read(&transaction, after, u64::MAX, limit)?))
    }

    /// Up to `limit` rows before `before`, the newest first.
    pub(crate) fn rows_before(&self, before: u64, limit: usize) -> Result<Vec<Row>, ArchiveError> {
        let transaction = self.begin()?;
        let Some(table) = rows(&transaction)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for item in table.range(..before)?.rev().take(limit) {
            let (index, value) = item?;
            let value = Bytes::copy_from_slice(value.value());
            found.push(record::read_row(index.value(), &value)?);
        }
        Ok(found)
    }

    /// The newest state at or before `index`, and the rows from there up to `through`.
    /// None if it begins later.
    pub(crate) fn segment(
        &self,
        index: u64,
        through: u64,
    ) -> Result<Option<Segment>, ArchiveError> {
        let transaction = self.begin()?;
        let Some(image) = image(&transaction, index)? else {
            return Ok(None);
        };
        let rows = read(&transaction, image.index.0, through, usize::MAX)?;
        Ok(Some(Segment { image, rows }))
    }

    /// The positions of the states that are kept, oldest first.
    pub(crate) fn images(&self) -> Result<Vec<u64>, ArchiveError> {
        let transaction = self.begin()?;
        let mut found = Vec::new();
        if let Some(images) = images(&transaction)? {
            for item in images.iter()? {
                found.push(item?.0.value());
            }
        }
        found.extend(snapshot(&transaction)?.map(|image| image.index.0));
        Ok(found)
    }
}

type Table = redb::ReadOnlyTable<u64, &'static [u8]>;

fn table(
    transaction: &ReadTransaction,
    definition: TableDefinition<'static, u64, &'static [u8]>,
) -> Result<Option<Table>, ArchiveError> {
    match transaction.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn rows(transaction: &ReadTransaction) -> Result<Option<Table>, ArchiveError> {
    table(transaction, ROWS)
}

fn images(transaction: &ReadTransaction) -> Result<Option<Table>, ArchiveError> {
    table(transaction, IMAGES)
}

fn start(transaction: &ReadTransaction) -> Result<Option<u64>, ArchiveError> {
    let meta = transaction.open_table(META)?;
    match meta.get(Meta::History.key())? {
        Some(value) => Ok(Some(record::read_start(Meta::History, value.value())?.0)),
        None => Ok(None),
    }
}

fn snapshot(transaction: &ReadTransaction) -> Result<Option<Image>, ArchiveError> {
    let meta = transaction.open_table(META)?;
    let value = meta.get(Meta::Snapshot.key())?;
    let bytes = value.map(|value| Bytes::copy_from_slice(value.value()));
    Ok(bytes.map(|bytes| record::read_image(&bytes)).transpose()?)
}

fn image(transaction: &ReadTransaction, index: u64) -> Result<Option<Image>, ArchiveError> {
    if let Some(newest) = snapshot(transaction)?.filter(|image| image.index.0 <= index) {
        return Ok(Some(newest));
    }
    let Some(images) = images(transaction)? else {
        return Ok(None);
    };
    match images.range(..=index)?.next_back().transpose()? {
        Some((index, value)) => Ok(Some(record::read_archived(index.value(), value.value())?)),
        None => Ok(None),
    }
}

/// Rows after one position up to another. A gap is damage.
fn read(
    transaction: &ReadTransaction,
    after: u64,
    through: u64,
    limit: usize,
) -> Result<Vec<Row>, ArchiveError> {
    let mut found = Vec::new();
    let Some(rows) = rows(transaction)? else {
        return Ok(found);
    };
    let mut last = after;
    if after >= through {
        return Ok(found);
    }
    for item in rows.range(after + 1..=through)?.take(limit) {
        let (index, value) = item?;
        if index.value() != last + 1 {
            let what = format!("history row {}", last + 1);
            return Err(record::damage(&what, "it is missing").into());
        }
        last = index.value();
        let value = Bytes::copy_from_slice(value.value());
        found.push(record::read_row(last, &value)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_a_snapshot_at_a_time_and_the_newest_stays() {
        let images = [(1, 50), (10, 30), (20, 40)];
        let check = |entries, bytes, expect| {
            let bounds = Bounds { entries, bytes };
            assert_eq!(forget(&images, 30, bounds), expect, "{bounds:?}");
        };
        check(29, 120, None);
        check(28, 120, Some(10));
        check(20, 120, Some(10));
        check(10, 120, Some(20));
        check(9, 120, Some(30));
        check(100, 119, Some(10));
        check(100, 69, Some(20));
        check(100, 0, Some(30));
        assert_eq!(
            forget(
                &[],
                30,
                Bounds {
                    entries: 0,
                    bytes: 0
                }
            ),
            None
        );
    }
}
