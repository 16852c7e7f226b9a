//! History for readers: entries, revisions, states of the past, the audit trail.
//!
//! Everything is read from this node's own disk, on threads that may block; nothing waits for a
//! quorum. What is applied but not on the disk yet is waited for, briefly.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use weft_model::{Event, Federation, Index, Key, WallTime};

use super::Registry;
use crate::disk::{Archive, ArchiveError, Segment};
use crate::history::{Replay, Trail, trail_of};
use crate::watch::Judged;
use crate::wire::{self, Row};

/// What history this node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistorySpan {
    /// Every entry after this position is there.
    pub after: Index,
    /// Up to this one.
    pub last: Index,
}

/// A page of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// Where history begins.
    pub begins: Index,
    /// Up to where the page was read: the next one goes on from here.
    pub read: Index,
    /// Those that changed something or were refused, oldest first.
    pub entries: Vec<Judged>,
}

/// A change of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// The entry.
    pub entry: Judged,
    /// The record.
    pub key: Key,
    /// The state right after it.
    pub state: Arc<Federation>,
}

/// Why history does not answer.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It begins later.
    #[error("history begins after index {first}")]
    Gone {
        /// The position after which it begins.
        first: Index,
    },
    /// Nothing of the kind has happened yet.
    #[error("index {asked} is not applied here yet; the last one is {applied}")]
    Ahead {
        /// What was asked for.
        asked: Index,
        /// What is applied.
        applied: Index,
    },
    /// What is applied is not on the disk yet.
    #[error("entries after index {written} wait for the disk")]
    Behind {
        /// The last one on the disk.
        written: Index,
    },
    /// The disk's history cannot be read.
    #[error("history cannot be read: {0}")]
    Unreadable(String),
    /// The registry has stopped.
    #[error("the registry has stopped")]
    Stopped,
}

impl From<ArchiveError> for HistoryError {
    fn from(error: ArchiveError) -> Self {
        error.fault().map_or(Self::Stopped, Self::Unreadable)
    }
}

/// How long a write of rows that is under way is waited for.
const SETTLE: Duration = Duration::from_secs(2);
/// Rows read at once where all are looked at.
const CHUNK: usize = 1_000;

impl Registry {
    /// What history there is.
    pub async fn history_span(&self) -> Result<HistorySpan, HistoryError> {
        self.settle(self.applied().index).await?;
        self.read(|archive| {
            let (after, last) = span(archive)?;
            Ok(HistorySpan {
                after: Index(after),
                last: Index(last),
            })
        })
        .await
    }

    /// The entries after `after` among the next `limit`.
    pub async fn entries(&self, after: Index, limit: usize) -> Result<HistoryPage, HistoryError> {
        self.settle(self.applied().index).await?;
        self.read(move |archive| {
            let (begins, rows) = archive.rows(after.0, limit)?;
            if after.0 < begins {
                let first = Index(begins);
                return Err(HistoryError::Gone { first });
            }
            let read = rows.last().map_or(after, |row| Index(row.entry.index));
            Ok(HistoryPage {
                begins: Index(begins),
                read,
                entries: rows.into_iter().filter_map(Judged::of_row).collect(),
            })
        })
        .await
    }

    /// The last position whose entry the leader took no later than `time`, by its own clock then.
    pub async fn index_at(&self, time: WallTime) -> Result<Index, HistoryError> {
        self.settle(self.applied().index).await?;
        self.read(move |archive| {
            let mut before = u64::MAX;
            loop {
                let rows = archive.rows_before(before, CHUNK)?;
                let Some(oldest) = rows.last() else {
                    let first = Index(span(archive)?.0);
                    return Err(HistoryError::Gone { first });
                };
                before = oldest.entry.index;
                let stamp = |row: &Row| wire::origin(row).map(|origin| origin.time);
                let found = rows
                    .iter()
                    .find(|row| stamp(row).is_some_and(|at| at <= time));
                if let Some(row) = found {
                    return Ok(Index(row.entry.index));
                }
            }
        })
        .await
    }

    /// The federation as it was right after `index`.
    pub async fn state_at(&self, index: Index) -> Result<Arc<Federation>, HistoryError> {
        let state = self.state();
        let applied = self.applied().index;
        if state.applied() == index {
            return Ok(state);
        }
        if index > applied {
            let asked = index;
            return Err(HistoryError::Ahead { asked, applied });
        }
        self.settle(index).await?;
        self.read(move |archive| {
            let Some(Segment { image, rows }) = archive.segment(index.0, index.0)? else {
                let first = Index(span(archive)?.0);
                return Err(HistoryError::Gone { first });
            };
            let mut replay = Replay::from(image);
            for row in &rows {
                step(&mut replay, row)?;
            }
            if replay.image().index != index {
                let written = replay.image().index;
                return Err(HistoryError::Behind { written });
            }
            Ok(Arc::new(replay.image().state.clone()))
        })
        .await
    }

    /// Every change of the records that `about` picks, oldest first, and where history begins.
    pub async fn revisions(
        &self,
        about: impl Fn(&Key) -> bool + Send + 'static,
    ) -> Result<(Index, Vec<Revision>), HistoryError> {
        self.settle(self.applied().index).await?;
        self.read(move |archive| {
            let (begins, last) = span(archive)?;
            let mut found = Vec::new();
            let mut starts = archive.images()?;
            starts.retain(|start| *start <= last);
            for (at, start) in starts.iter().enumerate() {
                let through = starts.get(at + 1).copied().unwrap_or(last);
                let Some(segment) = archive.segment(*start, through)? else {
                    continue;
                };
                revise(segment, &about, &mut found)?;
            }
            Ok((Index(begins), found))
        })
        .await
    }

    /// Where after `index` a record was changed.
    pub async fn changes_after(&self, index: Index, of: Key) -> Result<Vec<Index>, HistoryError> {
        self.settle(self.applied().index).await?;
        self.read(move |archive| {
            let mut found = Vec::new();
            let mut after = index.0;
            loop {
                let (_, rows) = archive.rows(after, CHUNK)?;
                let Some(last) = rows.last() else {
                    return Ok(found);
                };
                after = last.entry.index;
                let changed = |row: &&Row| row.events.iter().filter_map(key).any(|it| it == of);
                let changes = rows.iter().filter(changed);
                found.extend(changes.map(|row| Index(row.entry.index)));
            }
        })
        .await
    }

    /// Judges everything again that history holds: each signature, each outcome, each kept state.
    pub async fn audit(&self) -> Result<Trail, HistoryError> {
        self.settle(self.applied().index).await?;
        self.read(|archive| trail_of(archive).map_err(HistoryError::from))
            .await
    }

    /// Waits until the disk has what is applied.
    async fn settle(&self, index: Index) -> Result<(), HistoryError> {
        let mut written = self.shared.written.subscribe();
        let reached = timeout(SETTLE, written.wait_for(|written| *written >= index)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(HistoryError::Stopped),
            Err(_) => {
                let written = *self.shared.written.borrow();
                Err(HistoryError::Behind { written })
            }
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Archive) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        read_aside(&self.shared.archive, read).await
    }
}

/// Reads history on a thread that may block.
pub(super) async fn read_aside<T, E>(
    archive: &Archive,
    read: impl FnOnce(&Archive) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<ArchiveError> + Send + 'static,
{
    let archive = archive.clone();
    let read = tokio::task::spawn_blocking(move || read(&archive)).await;
    read.unwrap_or_else(|error| {
        let error = match error.is_panic() {
            true => ArchiveError::Panicked,
            false => ArchiveError::Closed,
        };
        Err(error.into())
    })
}

fn span(archive: &Archive) -> Result<(u64, u64), HistoryError> {
    // None only before a joiner has been sent its first state.
    let written = Index(0);
    archive.span()?.ok_or(HistoryError::Behind { written })
}

fn step(replay: &mut Replay, row: &Row) -> Result<(), HistoryError> {
    let stepped = replay.step(row);
    stepped
        .map(|_| ())
        .map_err(|error| HistoryError::Unreadable(format!("entry {}: {error}", row.entry.index)))
}

/// The changes within one segment; its states are made only as far as they are needed.
fn revise(
    segment: Segment,
    about: &impl Fn(&Key) -> bool,
    found: &mut Vec<Revision>,
) -> Result<(), HistoryError> {
    let Segment { image, rows } = segment;
    let touched = |row: &Row| {
        let mut keys: Vec<Key> = row.events.iter().filter_map(key).collect();
        keys.retain(about);
        keys
    };
    let needed = rows.iter().rposition(|row| !touched(row).is_empty());
    let mut replay = Replay::from(image);
    for row in rows.into_iter().take(needed.map_or(0, |at| at + 1)) {
        step(&mut replay, &row)?;
        let keys = touched(&row);
        if let Some(entry) = Judged::of_row(row).filter(|_| !keys.is_empty()) {
            let state = Arc::new(replay.image().state.clone());
            found.extend(keys.into_iter().map(|key| Revision {
                entry: entry.clone(),
                key,
                state: state.clone(),
            }));
        }
    }
    Ok(())
}

/// The record that changed; a lease is its cluster's.
fn key(event: &Event) -> Option<Key> {
    match event {
        Event::Put(key) | Event::Deleted(key) => Some(key.clone()),
        Event::Lease(cluster, _) => Some(Key::Cluster(cluster.clone())),
        Event::Format(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Folder, Store, StoreId};
    use crate::watch::WatchError;

    #[tokio::test]
    async fn a_store_that_panics_has_not_stopped() {
        let folder = Folder {
            domain: weft_model::fixture::name("fed.example.org"),
            node: weft_model::NodeId(1),
        };
        let store = Store::in_memory(folder, StoreId([1; 16])).unwrap();
        let archive = store.archive();
        let read = |_: &Archive| -> Result<(), WatchError> { panic!("what it holds is odd") };
        let told = read_aside(&archive, read).await.unwrap_err();
        let fault = "the store panicked on it".to_owned();
        assert_eq!(told, WatchError::Unreadable(fault));
        drop(store);
        let read = |archive: &Archive| -> Result<_, WatchError> { Ok(archive.span()?) };
        let told = read_aside(&archive, read).await.unwrap_err();
        assert_eq!(told, WatchError::Stopped);
    }
}
