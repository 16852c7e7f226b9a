//! A disk for the simulation: the real store, on bytes that lose power in the middle of a write.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::Rng;
use weft_model::Index;

use super::batch::{Batch, Stored, founding_batch};
use super::error::DiskError;
use super::model::Model;
use super::power::{Loss, PowerFile};
use super::store::{Folder, Store};
use crate::watch::{Page, WatchError};

/// A node's disk. What was synced survives a crash; of the writes that wait an arbitrary
/// number from the oldest on, the next one whole or not at all.
#[derive(Debug)]
pub struct SimulatedDisk {
    folder: Folder,
    file: PowerFile,
    /// While the node runs.
    store: Option<Store>,
    waiting: VecDeque<Batch>,
    /// What the store must hold.
    holds: Model,
    /// What it may hold instead: the write was under way when the power failed.
    may_hold: Option<Model>,
    #[cfg(feature = "bugs")]
    bug: Option<crate::driver::Bug>,
}

/// What a crash met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crash {
    /// Whether it came in the middle of a write.
    pub writing: bool,
    /// What it did to single writes to the file.
    pub loss: Loss,
}

/// Why a disk gives back no state.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    /// The store refuses what is there, though nothing that was synced was lost.
    #[error("the store does not open after a crash: {0}")]
    Refused(#[from] DiskError),
    /// It holds what was never written as a whole.
    #[error("the store holds neither what was before the write under way nor what is after it")]
    Neither,
}

impl SimulatedDisk {
    /// A disk that holds nothing yet, or what a founder's holds first.
    pub fn new(folder: Folder, first: Option<&Stored>) -> Result<Self, DiskError> {
        let file = PowerFile::default();
        let store = Store::on(file.clone(), folder.clone())?;
        store.begin(first)?;
        let mut holds = Model::default();
        if let Some(stored) = first {
            holds.write(&founding_batch(stored));
        }
        Ok(Self {
            folder,
            file,
            store: Some(store),
            waiting: VecDeque::new(),
            holds,
            may_hold: None,
            #[cfg(feature = "bugs")]
            bug: None,
        })
    }

    /// The store has this fault from now on, if it is one of the store's.
    #[cfg(feature = "bugs")]
    pub fn plant(&mut self, bug: Option<crate::driver::Bug>) {
        self.bug = bug;
        if let Some(store) = &mut self.store {
            store.bug = bug;
        }
    }

    /// Takes a batch, which is not durable yet.
    pub fn write(&mut self, batch: Batch) {
        self.waiting.push_back(batch);
    }

    /// How many batches are not durable yet.
    pub fn unsynced(&self) -> usize {
        self.waiting.len()
    }

    /// Makes the oldest `most` batches durable in one transaction, and says which was the last of them.
    pub fn sync(&mut self, most: usize) -> Result<Option<u64>, DiskError> {
        let batches: Vec<Batch> = self.waiting.drain(..most.min(self.waiting.len())).collect();
        if let (Some(store), false) = (&self.store, batches.is_empty()) {
            store.write(&batches)?;
        }
        batches.iter().for_each(|batch| self.holds.write(batch));
        Ok(batches.last().map(|batch| batch.number))
    }

    /// Loses power after the oldest `survivors` of the batches that wait were written, and
    /// after so many operations on the file of the one after them.
    pub fn crash(
        &mut self,
        survivors: usize,
        operations: u64,
        rng: &mut impl Rng,
    ) -> Result<Crash, DiskError> {
        self.sync(survivors)?;
        let next = self.waiting.pop_front();
        if let (Some(store), Some(batch)) = (&self.store, &next) {
            self.file.fail_after(operations);
            // Whether it was done or not is what the power decides.
            let _ = store.write(std::slice::from_ref(batch));
            let mut after = self.holds.clone();
            after.write(batch);
            self.may_hold = Some(after);
        }
        self.waiting.clear();
        self.file.fail_after(0);
        self.store = None;
        Ok(Crash {
            writing: next.is_some(),
            loss: self.file.lose_power(rng),
        })
    }

    /// Reads durable history, as a watcher does.
    pub fn page(&self, after: Index) -> Result<Page, WatchError> {
        match &self.store {
            Some(store) => Page::read(&store.archive(), after),
            None => Err(WatchError::Stopped),
        }
    }

    /// Where durable history begins, and its rows.
    pub fn history(&self) -> (Option<u64>, impl Iterator<Item = (u64, &Bytes)>) {
        self.holds.history()
    }

    /// What is durable, as a node that starts finds it.
    pub fn load(&mut self) -> Result<Stored, Unsound> {
        let store = match self.store.take() {
            Some(store) => store,
            None => Store::on(self.file.clone(), self.folder.clone())?,
        };
        #[cfg(feature = "bugs")]
        let store = store.with(self.bug);
        let found = self.store.insert(store).load()?;
        if let Some(after) = self.may_hold.take()
            && after.load().is_ok_and(|after| after == found)
        {
            self.holds = after;
        }
        match self.holds.load() {
            Ok(expected) if expected == found => Ok(found),
            _ => Err(Unsound::Neither),
        }
    }
}
