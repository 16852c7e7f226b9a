//! How much room the disk has, and patience while it has none.
//!
//! Two marks. Below [`LOW_BYTES`] the node proposes nothing more, while what is
//! under way, and what other nodes commit, is still written: a reserve for votes
//! and certificates. When the disk then refuses a write for want of space, the
//! write waits and is tried again until it succeeds: whoever wrote sees a slow
//! disk, not a failed one, so nothing is lost, reordered or acknowledged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Below this, in bytes that any user may take, nothing is proposed. Higher keeps more in
/// reserve, and makes small disks useless.
pub const LOW_BYTES: u64 = 8 * 1024 * 1024;
/// From here on there is room again: more than the lower mark, so that it does not flap.
pub const ENOUGH_BYTES: u64 = 12 * 1024 * 1024;

/// How soon a write that found no room is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// What a disk has left, for those who decide what may still be begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Space {
    /// Writes are welcome.
    #[default]
    Enough,
    /// Little is left: nothing new is begun, what others commit is still written.
    Low,
    /// A write was refused and waits.
    Full,
}

/// A disk's space, with the figure for operators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// What may still be begun.
    pub space: Space,
    /// Bytes left to users without privileges; none if the file system does not say.
    pub free: Option<u64>,
}

impl Room {
    /// What will be left under `folder` by a file of as many `bytes`, given what held before. For
    /// those who share the registry's disk, and are to leave it its reserve.
    pub fn beside(self, folder: &Path, bytes: u64) -> Self {
        self.after(free(folder).map(|free| free.saturating_sub(bytes)))
    }

    /// What follows from the bytes left, given what held before.
    fn after(self, free: Option<u64>) -> Self {
        let space = match free {
            Some(free) if free < LOW_BYTES => Space::Low,
            Some(free) if free < ENOUGH_BYTES && self.space != Space::Enough => Space::Low,
            _ => Space::Enough,
        };
        Self { space, free }
    }
}

/// Watches the disk under one folder.
#[derive(Debug)]
pub(crate) struct Gauge {
    /// None: nothing is on a disk.
    folder: Option<PathBuf>,
    room: watch::Sender<Room>,
    /// Whether a refused write waits. Not while a folder is opened: whoever starts a node is told.
    patient: AtomicBool,
    closing: Mutex<bool>,
    wake: Condvar,
}

impl Gauge {
    pub(super) fn new(folder: &Path) -> Self {
        Self::over(Some(folder.to_owned()))
    }

    /// For what is in memory.
    pub(super) fn boundless() -> Self {
        Self::over(None)
    }

    fn over(folder: Option<PathBuf>) -> Self {
        Self {
            room: watch::Sender::new(Room::default().after(folder.as_deref().and_then(free))),
            folder,
            patient: AtomicBool::new(false),
            closing: Mutex::new(false),
            wake: Condvar::new(),
        }
    }

    /// The latest.
    pub(crate) fn watch(&self) -> watch::Receiver<Room> {
        self.room.subscribe()
    }

    /// Looks again.
    pub(crate) fn look(&self) {
        let free = self.free();
        self.set(|room| room.after(free));
    }

    /// From now on a write that finds no room waits for it.
    pub(crate) fn be_patient(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// No write waits any more: those that found no room fail.
    pub(crate) fn close(&self) {
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    /// Does `write`, again and again while the disk has no room for it. Any other
    /// failure is final. `write` must be one that may be repeated.
    pub(super) fn patiently(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        loop {
            match write() {
                Err(error) if is_full(&error) && self.waits() => {
                    let free = self.free();
                    self.set(|_| Room {
                        space: Space::Full,
                        free,
                    });
                    self.pause();
                }
                result => return result,
            }
        }
    }

    fn free(&self) -> Option<u64> {
        self.folder.as_deref().and_then(free)
    }

    fn waits(&self) -> bool {
        self.patient.load(Ordering::Relaxed)
            && !*self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(&self) {
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it was woken or time passed, the write is tried again.
        drop(
            self.wake
                .wait_timeout_while(closing, RETRY, |closing| !*closing),
        );
    }

    fn set(&self, next: impl FnOnce(Room) -> Room) {
        self.room.send_if_modified(|room| {
            let next = next(*room);
            let news = next != *room;
            *room = next;
            news
        });
    }
}

/// Whether a write failed because the disk, or this user's share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Bytes left under `folder`. A file system that has no blocks keeps no count of them.
fn free(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    (found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_short_from_the_lower_mark_to_the_upper_one() {
        let check = |space, free, expect| {
            let room = Room { space, free: None }.after(free);
            assert_eq!(room.space, expect, "{space:?} {free:?}");
        };
        let between = Some(LOW_BYTES + 1);
        check(Space::Enough, between, Space::Enough);
        check(Space::Enough, Some(LOW_BYTES - 1), Space::Low);
        check(Space::Low, between, Space::Low);
        check(Space::Full, between, Space::Low);
        check(Space::Low, Some(ENOUGH_BYTES), Space::Enough);
        check(Space::Full, Some(ENOUGH_BYTES), Space::Enough);
        check(Space::Full, None, Space::Enough);
    }

    #[test]
    fn a_folder_has_bytes_left() {
        assert!(free(&std::env::temp_dir()).is_some_and(|bytes| bytes > 0));
        assert_eq!(free(Path::new("/nowhere/at/all")), None);
        let beside = |bytes| Room::default().beside(&std::env::temp_dir(), bytes).space;
        assert_eq!((beside(0), beside(u64::MAX)), (Space::Enough, Space::Low));
    }
}
