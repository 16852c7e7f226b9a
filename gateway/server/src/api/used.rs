//! Enrolment tokens that were spent, kept across restarts.
//!
//! A file of 24-byte records: token id (16), expiry in milliseconds (8, big endian).
//! An id is on disk before the identity it buys is handed out.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use weft_model::{TokenId, WallTime};

const RECORD: usize = 24;

/// The spent tokens of this gateway.
#[derive(Debug)]
pub struct UsedTokens(Mutex<Ledger>);

#[derive(Debug)]
struct Ledger {
    file: File,
    spent: BTreeMap<TokenId, WallTime>,
}

impl UsedTokens {
    /// Opens or makes the file at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.len() - bytes.len() % RECORD;
        if whole != bytes.len() {
            // The tail of a write that a crash cut short: its identity was never handed out.
            file.set_len(whole as u64)?;
        }
        let spent = bytes[..whole]
            .chunks_exact(RECORD)
            .filter_map(record)
            .collect();
        Ok(Self(Mutex::new(Ledger { file, spent })))
    }

    /// Spends a token: true for the first caller, false for every later one.
    pub fn spend(&self, id: TokenId, expires: WallTime) -> io::Result<bool> {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ledger.spent.contains_key(&id) {
            return Ok(false);
        }
        let mut bytes = [0; RECORD];
        bytes[..16].copy_from_slice(&id.0);
        bytes[16..].copy_from_slice(&expires.0.to_be_bytes());
        ledger.append(&bytes)?;
        ledger.spent.insert(id, expires);
        Ok(true)
    }
}

impl Ledger {
    /// Adds a record or, if the disk has no room for all of it, nothing: what follows a part of
    /// one would not read.
    fn append(&mut self, record: &[u8; RECORD]) -> io::Result<()> {
        let whole = self.file.metadata()?.len();
        let added = self.file.write_all(record);
        if added.is_err() {
            self.file.set_len(whole)?;
        }
        added?;
        self.file.sync_data()
    }
}

fn record(bytes: &[u8]) -> Option<(TokenId, WallTime)> {
    let (id, expires) = bytes.split_at_checked(16)?;
    let expires = u64::from_be_bytes(expires.try_into().ok()?);
    Some((TokenId::from_slice(id)?, WallTime(expires)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_spent_once_also_across_restarts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("used");
        let (one, two) = (TokenId([1; 16]), TokenId([2; 16]));
        let used = UsedTokens::open(&path).expect("opens");
        assert!(used.spend(one, WallTime(5)).expect("writes"));
        assert!(!used.spend(one, WallTime(5)).expect("writes"));
        drop(used);
        let used = UsedTokens::open(&path).expect("opens again");
        assert!(!used.spend(one, WallTime(5)).expect("writes"));
        assert!(used.spend(two, WallTime(5)).expect("writes"));
    }

    #[test]
    fn a_torn_tail_is_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("used");
        let one = TokenId([1; 16]);
        UsedTokens::open(&path)
            .expect("opens")
            .spend(one, WallTime(5))
            .expect("writes");
        let mut bytes = std::fs::read(&path).expect("reads");
        bytes.extend_from_slice(&[9; 10]);
        std::fs::write(&path, bytes).expect("writes");
        let used = UsedTokens::open(&path).expect("opens");
        assert!(!used.spend(one, WallTime(5)).expect("writes"));
        assert!(used.spend(TokenId([3; 16]), WallTime(5)).expect("writes"));
        assert_eq!(std::fs::metadata(&path).expect("is there").len(), 48);
    }
}
