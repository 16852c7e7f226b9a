//! The bytes under the store: a file, or anything like one, whose writes wait
//! while the disk is full.
//!
//! redb gives up a handle for good after one failed write, and cannot say what
//! of a transaction was written. So it never sees a full disk: a write that
//! finds no room is repeated here, at its own offset with its own bytes, until
//! there is room. A failed sync is never repeated: the kernel may have dropped
//! the pages, and a second sync would say that they are safe.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use redb::{BackendError, StorageBackend};

use super::room::Gauge;

/// The state is of concern to its owner alone.
const MODE: u32 = 0o600;

/// Opens or makes the file that a store is in.
pub(super) fn open(path: &Path, make: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(make)
        .mode(MODE)
        .open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o777 & !MODE != 0 {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

/// A backend whose writes wait while the disk is full.
#[derive(Debug)]
pub(super) struct Patient<B> {
    inner: B,
    gauge: Arc<Gauge>,
}

impl<B> Patient<B> {
    pub(super) fn new(inner: B, gauge: Arc<Gauge>) -> Self {
        Self { inner, gauge }
    }
}

impl<B: StorageBackend> StorageBackend for Patient<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.gauge.patiently(|| self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.gauge.patiently(|| self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
