//! What a file holds, read whole, and whether all of it is what was written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableError};
use weft_model::NodeId;
use weft_proto::log;

use super::super::archive::ROWS;
use super::super::batch::{Meta, Stored};
use super::super::error::DiskError;
use super::super::record::{self, Damage};
use super::super::trial::Trial;
use super::{FORMAT, Folder, LOG, META, Presence, StoreId, damaged, open_database};

/// Reads all of a store without changing a byte of it.
pub(super) fn examine(path: &Path) -> Result<(Folder, StoreId, Stored), DiskError> {
    let mut database = open_database(path, Presence::Existing, Trial::new)?;
    let wire = read_folder(&database).map_err(|damage| damaged(path, damage))?;
    if wire.format > FORMAT {
        return Err(DiskError::Format {
            path: path.into(),
            found: wire.format,
            known: FORMAT,
        });
    }
    let (folder, id) = check_folder(&wire).map_err(|damage| damaged(path, damage))?;
    let stored = read_whole(&mut database, path)?;
    Ok((folder, id, stored))
}

/// Reads what a store holds, and looks whether all of its pages are what they were, those of history
/// and those that it takes for free among them: what is written over by mistake is lost later.
fn read_whole(database: &mut Database, path: &Path) -> Result<Stored, DiskError> {
    let stored = load(database).map_err(|damage| damaged(path, damage))?;
    match database.check_integrity() {
        Ok(true) => Ok(stored),
        Ok(false) => {
            let what =
                "its pages, or what it knows of free ones, have changed since they were written";
            Err(damaged(path, record::damage("file", what)))
        }
        Err(error) => Err(damaged(path, record::damage("file", error))),
    }
}

/// Opens, reads and closes a store of any bytes as [`Store::open`] does a file's before it writes.
#[cfg(test)]
pub(in super::super) fn examine_bytes(
    bytes: impl redb::StorageBackend,
) -> Result<Stored, DiskError> {
    let path = Path::new(super::FILE_NAME);
    contained(path, || {
        let opened = super::builder().create_with_backend(bytes);
        let mut database = opened.map_err(|error| damaged(path, record::damage("file", error)))?;
        read_whole(&mut database, path)
    })
}

/// redb panics on some damaged files (a malformed allocator state among them).
/// While a folder is opened and read, that is damage like any other.
pub(super) fn contained<T>(
    path: &Path,
    read: impl FnOnce() -> Result<T, DiskError>,
) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let problem = words.unwrap_or("the store panicked on it");
        Err(damaged(path, record::damage("file", problem)))
    })
}

pub(super) fn load(database: &Database) -> Result<Stored, Damage> {
    let file = |error: redb::Error| record::damage("file", error);
    let transaction = database.begin_read().map_err(|e| file(e.into()))?;
    let meta = transaction.open_table(META).map_err(|e| file(e.into()))?;
    let log = transaction.open_table(LOG).map_err(|e| file(e.into()))?;
    let entries = log.iter().map_err(|e| file(e.into()))?.map(|item| {
        let (index, value) = item.map_err(|e| file(e.into()))?;
        Ok((index.value(), Bytes::copy_from_slice(value.value())))
    });
    let mut stored = record::read(entries, |key| {
        let value = meta.get(key.key()).map_err(|e| file(e.into()))?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    })?;
    stored.last_row = match transaction.open_table(ROWS) {
        Ok(rows) => {
            let last = rows.last().map_err(|e| file(e.into()))?;
            last.map_or(0, |(index, _)| index.value())
        }
        // A build that kept no history wrote it.
        Err(TableError::TableDoesNotExist(_)) => 0,
        Err(error) => return Err(file(error.into())),
    };
    Ok(stored)
}

fn read_folder(database: &Database) -> Result<log::Folder, Damage> {
    let file = |error: redb::Error| record::damage("file", error);
    let transaction = database.begin_read().map_err(|e| file(e.into()))?;
    let missing = || record::damage(Meta::Folder.key(), "it is missing");
    let meta = match transaction.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Err(missing()),
        Err(error) => return Err(file(error.into())),
    };
    let value = meta
        .get(Meta::Folder.key())
        .map_err(|e| file(e.into()))?
        .ok_or_else(missing)?;
    record::read_folder(value.value())
}

fn check_folder(wire: &log::Folder) -> Result<(Folder, StoreId), Damage> {
    let what = Meta::Folder.key();
    let domain = wire.domain.parse().map_err(|e| record::damage(what, e))?;
    let id = wire.store[..]
        .try_into()
        .map_err(|_| record::damage(what, "its id has not 16 bytes"))?;
    let folder = Folder {
        domain,
        node: NodeId(wire.node),
    };
    Ok((folder, StoreId(id)))
}
