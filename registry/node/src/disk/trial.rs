//! A file opened for a trial: reads see it, writes do not reach it.
//!
//! To open a store is to write to it: it is marked as open, repaired after a
//! crash, trimmed when it is closed. A folder that is damaged, or another's,
//! must stay as it was found. So it is opened like this first, and in earnest
//! only once all of it was read and found right.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// What is copied on the first write to any byte of it.
const BLOCK: u64 = 4096;

/// The file, and what was written over it.
#[derive(Debug)]
pub(super) struct Trial {
    file: FileBackend,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    length: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Trial {
    pub(super) fn new(file: FileBackend) -> io::Result<Self> {
        let over = Over {
            length: file.len()?,
            blocks: BTreeMap::new(),
        };
        Ok(Self {
            file,
            over: Mutex::new(over),
        })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as the file has it; zeros where it has none.
    fn original(&self, block: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(BLOCK).unwrap_or(usize::MAX)];
        let start = block * BLOCK;
        let there = self.file.len()?.saturating_sub(start).min(BLOCK);
        let there = usize::try_from(there).unwrap_or(usize::MAX);
        self.file.read(start, &mut bytes[..there])?;
        Ok(bytes)
    }
}

/// The pieces of a range, each within one block: its block, where it begins there, its length.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (block, within) = (at / BLOCK, at % BLOCK);
        let piece = (BLOCK - within).min(end - at);
        at += piece;
        // Both are below the size of a block.
        Some((block, within as usize, piece as usize))
    })
}

impl StorageBackend for Trial {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        if offset + out.len() as u64 > over.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (block, within, length) in pieces(offset, rest.len()) {
            let (piece, after) = rest.split_at_mut(length);
            match over.blocks.get(&block) {
                Some(bytes) => piece.copy_from_slice(&bytes[within..within + length]),
                None => piece.copy_from_slice(&self.original(block)?[within..within + length]),
            }
            rest = after;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut over = self.over();
        for block in length / BLOCK..over.length.div_ceil(BLOCK) {
            // What is cut off must not come back when it grows again.
            let mut bytes = match over.blocks.remove(&block) {
                Some(bytes) => bytes,
                None => self.original(block)?,
            };
            let keep = length.saturating_sub(block * BLOCK).min(BLOCK) as usize;
            bytes[keep..].fill(0);
            over.blocks.insert(block, bytes);
        }
        over.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        let mut rest = data;
        for (block, within, length) in pieces(offset, data.len()) {
            let mut bytes = match over.blocks.remove(&block) {
                Some(bytes) => bytes,
                None => self.original(block)?,
            };
            let (piece, after) = rest.split_at(length);
            bytes[within..within + length].copy_from_slice(piece);
            over.blocks.insert(block, bytes);
            rest = after;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reads_see_what_was_written_over_and_the_file_does_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let original: Vec<u8> = (0..10_000_u32).map(|at| at as u8).collect();
        fs::write(file.path(), &original).unwrap();
        let backend = FileBackend::new(file.reopen().unwrap()).unwrap();
        let trial = Trial::new(backend).unwrap();
        let mut expect = original.clone();
        let write = |expect: &mut Vec<u8>, offset: usize, length: usize| {
            trial.write(offset as u64, &vec![0xEE; length]).unwrap();
            expect[offset..offset + length].fill(0xEE);
        };
        write(&mut expect, 4_000, 200);
        write(&mut expect, 8_192, 1);
        trial.set_len(5_000).unwrap();
        trial.set_len(12_000).unwrap();
        expect.truncate(5_000);
        expect.resize(12_000, 0);
        write(&mut expect, 11_990, 10);
        let mut read = vec![0; 12_000];
        trial.read(0, &mut read).unwrap();
        assert_eq!(read, expect);
        assert!(trial.read(11_999, &mut [0; 2]).is_err());
        assert_eq!(fs::read(file.path()).unwrap(), original);
    }
}
