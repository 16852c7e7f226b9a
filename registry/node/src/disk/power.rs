//! A file in memory whose power fails: of what was not synced, each sector may
//! have reached the disk or not, in any order, and a sector under way may hold anything.
//!
//! What it grants, as disks do: a sector of the first page is written whole or
//! not at all, and what was synced stays as it was.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::Rng;
use redb::StorageBackend;

/// What a disk writes whole.
const SECTOR: usize = 512;
/// Where no sector is left with garbage: the store's own header is here, which it
/// trusts to be old or new.
const HEADER: usize = 4096;

/// The bytes, shared by those who hold the file.
#[derive(Debug, Clone, Default)]
pub struct PowerFile {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    /// Since the last sync, oldest first.
    unsynced: Vec<Operation>,
    /// Operations until the power fails; none if it does not.
    left: Option<u64>,
}

#[derive(Debug)]
enum Operation {
    Write {
        at: usize,
        old: Vec<u8>,
        new: Vec<u8>,
    },
    Length {
        old: usize,
        new: usize,
        /// What a shorter file lost.
        cut: Vec<u8>,
    },
}

/// What a power failure did to the writes under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Writes that reached the disk all the same.
    pub kept: usize,
    /// Writes of which nothing did.
    pub lost: usize,
    /// Writes of which some sectors did.
    pub torn: usize,
    /// Sectors left with what nobody wrote.
    pub garbled: usize,
}

impl PowerFile {
    /// A file that holds these bytes, all of them synced.
    pub fn holding(bytes: Vec<u8>) -> Self {
        let file = Self::default();
        file.lock().bytes = bytes;
        file
    }

    /// All bytes as a reader sees them.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// After so many more operations nothing works any more.
    pub fn fail_after(&self, operations: u64) {
        self.lock().left = Some(operations);
    }

    /// The power fails, and comes back.
    pub fn lose_power(&self, rng: &mut impl Rng) -> Loss {
        let mut inner = self.lock();
        inner.left = None;
        let operations = std::mem::take(&mut inner.unsynced);
        for operation in operations.iter().rev() {
            operation.undo(&mut inner.bytes);
        }
        let mut loss = Loss::default();
        for operation in operations {
            operation.maybe_redo(&mut inner.bytes, rng, &mut loss);
        }
        loss
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power has failed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Operation {
    fn undo(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, old, .. } => bytes[*at..at + old.len()].copy_from_slice(old),
            Self::Length { old, new, cut } => {
                bytes.truncate(*new);
                bytes.resize(*old - cut.len(), 0);
                bytes.extend_from_slice(cut);
            }
        }
    }

    fn maybe_redo(self, bytes: &mut Vec<u8>, rng: &mut impl Rng, loss: &mut Loss) {
        match self {
            // A file system keeps its own books in order: a length is there once a write behind it is.
            Self::Length { old, new, .. } if new < old => {
                if rng.random_bool(0.5) {
                    bytes.truncate(new);
                }
            }
            Self::Length { new, .. } => bytes.resize(new.max(bytes.len()), 0),
            Self::Write { at, new, .. } => {
                if bytes.len() < at + new.len() {
                    bytes.resize(at + new.len(), 0);
                }
                match rng.random_range(0..4) {
                    0 => loss.lost += 1,
                    1 => {
                        loss.torn += 1;
                        loss.garbled += tear(bytes, at, &new, rng);
                    }
                    _ => {
                        loss.kept += 1;
                        bytes[at..at + new.len()].copy_from_slice(&new);
                    }
                }
            }
        }
    }
}

/// Writes some of the sectors, and garbage into some that were under way; says into how many.
fn tear(bytes: &mut [u8], at: usize, new: &[u8], rng: &mut impl Rng) -> usize {
    let mut garbled = 0;
    let mut from = 0;
    while from < new.len() {
        let to = new.len().min((at + from) / SECTOR * SECTOR + SECTOR - at);
        let sector = &mut bytes[at + from..at + to];
        match rng.random_range(0..5) {
            0..2 => sector.copy_from_slice(&new[from..to]),
            2 if at + from >= HEADER => {
                rng.fill(sector);
                garbled += 1;
            }
            _ => {}
        }
        from = to;
    }
    garbled
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl StorageBackend for PowerFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.lock();
        let at = position(offset)?;
        let found = inner.bytes.get(at..at + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = self.lock();
        inner.operate()?;
        let (old, new) = (inner.bytes.len(), position(length)?);
        let cut = inner.bytes.split_off(new.min(old));
        inner.bytes.resize(new, 0);
        inner.unsynced.push(Operation::Length { old, new, cut });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.operate()?;
        inner.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.operate()?;
        let at = position(offset)?;
        if inner.bytes.len() < at + data.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let place = &mut inner.bytes[at..at + data.len()];
        let old = place.to_vec();
        place.copy_from_slice(data);
        let new = data.to_vec();
        inner.unsynced.push(Operation::Write { at, old, new });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn what_was_synced_stays_and_the_rest_is_old_new_or_garbage_by_the_sector() {
        let mut seen = Loss::default();
        for seed in 0..200 {
            let file = PowerFile::holding(vec![1; 4 * HEADER]);
            file.write(0, &[2; 4096]).unwrap();
            file.sync_data().unwrap();
            file.write(0, &[3; 4096]).unwrap();
            file.write(8192, &[3; 4096]).unwrap();
            let loss = file.lose_power(&mut SmallRng::seed_from_u64(seed));
            let bytes = file.bytes();
            let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
            assert!(bytes[..4096].chunks(SECTOR).all(whole));
            assert!(bytes[..4096].iter().all(|byte| matches!(byte, 2 | 3)));
            assert!(bytes[4096..8192].iter().all(|byte| *byte == 1));
            seen.kept += loss.kept;
            seen.lost += loss.lost;
            seen.torn += loss.torn;
            seen.garbled += loss.garbled;
        }
        assert!(seen.kept > 50 && seen.lost > 20 && seen.torn > 20 && seen.garbled > 20);
    }

    #[test]
    fn nothing_works_once_the_power_has_failed() {
        let file = PowerFile::holding(vec![0; 8]);
        file.fail_after(1);
        file.write(0, &[1]).unwrap();
        assert!(file.write(1, &[1]).is_err());
        assert!(file.sync_data().is_err());
    }
}
