//! The shell around a [`Cursor`]: it waits, and reads the disk on threads that may block.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch as latest;
use weft_model::Index;

use super::Shared;
use super::history::read_aside;
use crate::watch::{Cursor, Judged, Page, Progress, Step, WatchError};

/// The entries after a position that changed something or were refused, in order and without a
/// gap. Those that the ring has no room for are read from history.
pub struct Watch {
    shared: Arc<Shared>,
    cursor: Cursor,
    index: latest::Receiver<Index>,
    written: latest::Receiver<Index>,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, from: Index) -> Self {
        let (index, written) = (shared.index.subscribe(), shared.written.subscribe());
        Self {
            shared,
            cursor: Cursor::new(from),
            index,
            written,
        }
    }

    /// The next entry that changed something or was refused. Cancel-safe.
    pub async fn next(&mut self) -> Result<Arc<Judged>, WatchError> {
        loop {
            // Marked as seen before looking, so that no change falls between.
            self.index.borrow_and_update();
            self.written.borrow_and_update();
            match self.cursor.next(&self.shared.ring) {
                Step::Entry(entry) => return Ok(entry),
                Step::Read { after } => {
                    let archive = &self.shared.archive;
                    let page = read_aside(archive, move |it| Page::read(it, after)).await?;
                    if self.cursor.read(page)? == Progress::Further {
                        continue;
                    }
                }
                Step::Wait => {}
            }
            if self.shared.stopped.load(Ordering::Acquire) {
                return Err(WatchError::Stopped);
            }
            let woken = tokio::select! {
                woken = self.index.changed() => woken,
                woken = self.written.changed() => woken,
            };
            woken.map_err(|_| WatchError::Stopped)?;
        }
    }

    /// The position to resume from.
    pub fn position(&self) -> Index {
        self.cursor.position()
    }
}
