//! The registry at one position, in a file to keep elsewhere.
//!
//! ```text
//! "weft backup 1\n" ‖ SHA-256 of the rest (32 bytes) ‖ log.Backup (prost)
//! ```
//!
//! It holds what the log says and no private key. Nobody's signature is on it: keep it as safe
//! as what it restores.

use std::path::Path;

use prost::Message;
use weft_model::{FederationDomain, Index, NodeId, WallTime};
use weft_proto::{log, peer};

use crate::disk::{Folder, Store, StoreId, Stored};
use crate::driver::TERMS_AHEAD;
use crate::image::Image;
use crate::recovery::RecoverError;
use crate::wire::{self, WireError};

const MAGIC: &[u8] = b"weft backup ";
const FORMAT: u32 = 1;
const DIGEST_BYTES: usize = 32;

/// A federation's registry at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// The federation.
    pub domain: FederationDomain,
    /// When it was made, by the clock of the gateway that made it.
    pub time: WallTime,
    /// The state.
    pub image: Image,
}

/// Why a file is no backup that this build reads.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is another kind of file.
    #[error("it is no backup of weft's")]
    Other,
    /// It is cut off, or was changed.
    #[error("it is cut off or changed: its digest is not what was written")]
    Damaged,
    /// A newer build wrote it.
    #[error("its format is {0}, this build reads up to {FORMAT}")]
    Format(String),
    /// What it holds does not read.
    #[error("it does not read: {0}")]
    Unreadable(#[from] WireError),
}

impl Backup {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let snapshot = peer::RaftSnapshot {
            index: self.image.index.0,
            term: self.image.term,
            conf_state: Some(wire::raft::write_conf(&self.image.conf)),
            data: wire::encode_image(&self.image),
        };
        let message = log::Backup {
            domain: self.domain.to_string(),
            time_ms: self.time.0,
            snapshot: snapshot.encode_to_vec().into(),
        };
        let message = message.encode_to_vec();
        let digest = weft_identity::sha256(&message);
        let first = [MAGIC, FORMAT.to_string().as_bytes(), b"\n"].concat();
        [&first[..], &digest, &message].concat()
    }

    /// Reads a file.
    pub fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BackupError::Other)?;
        let line = rest.iter().take(16).position(|byte| *byte == b'\n');
        let (format, rest) = rest.split_at(line.ok_or(BackupError::Other)?);
        if format != FORMAT.to_string().as_bytes() {
            let format = String::from_utf8_lossy(format).into_owned();
            return Err(BackupError::Format(format));
        }
        let (digest, message) = rest[1..]
            .split_first_chunk::<DIGEST_BYTES>()
            .ok_or(BackupError::Damaged)?;
        if weft_identity::sha256(message) != *digest {
            return Err(BackupError::Damaged);
        }
        let message = log::Backup::decode(message).map_err(wire::malformed)?;
        let snapshot = peer::RaftSnapshot::decode(message.snapshot).map_err(wire::malformed)?;
        let snapshot = wire::raft::read_snapshot(snapshot);
        Ok(Self {
            domain: wire::name("domain", &message.domain)?,
            time: WallTime(message.time_ms),
            image: wire::decode_image(&snapshot)?,
        })
    }

    /// Founds the group anew from what was kept, in a folder that holds no registry yet, with
    /// `node` as its only voter. It is done or not.
    pub fn restore(&self, dir: &Path, node: NodeId) -> Result<Index, RecoverError> {
        let stored = self.founding(node)?;
        let at = stored.applied();
        let folder = Folder {
            domain: self.domain.clone(),
            node,
        };
        Store::create(dir, folder, StoreId(rand::random()), Some(&stored))?;
        Ok(at)
    }

    /// What a group begins with that is founded anew from it.
    pub(crate) fn founding(&self, node: NodeId) -> Result<Stored, RecoverError> {
        crate::recovery::check(&self.image, node)?;
        let at = Index(self.image.index.0 + 1);
        let term = self.image.term + TERMS_AHEAD;
        let image = Image {
            index: at,
            term,
            conf: raft::eraftpb::ConfState::from((vec![node.0], vec![])),
            recovered: at,
            ..self.image.clone()
        };
        Ok(Stored {
            before: (at.0, term),
            entries: Vec::new(),
            hard: raft::eraftpb::HardState {
                term,
                commit: at.0,
                ..Default::default()
            },
            image,
            history: Some(at.0),
            last_row: 0,
            fenced: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        let proposal = crate::node::founding_for_tests();
        let (folder, stored) = crate::node::found(&proposal, WallTime(7)).unwrap();
        let state = crate::recovery::replayed(folder.node, stored).unwrap();
        Backup {
            domain: folder.domain,
            time: WallTime(9),
            image: state.image().clone(),
        }
    }

    #[test]
    fn a_backup_reads_back_as_it_was() {
        let backup = backup();
        assert_eq!(Backup::decode(&backup.encode()).unwrap(), backup);
    }

    #[test]
    fn a_backup_that_was_changed_anywhere_is_refused() {
        let bytes = backup().encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Backup::decode(&changed).is_err(), "byte {at}");
            assert!(Backup::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_backup_of_a_position_that_no_group_reaches_is_refused() {
        for (index, term) in [(u64::MAX, 1), (2, u64::MAX)] {
            let mut backup = backup();
            (backup.image.index, backup.image.term) = (Index(index), term);
            let refused = Backup::decode(&backup.encode()).unwrap_err().to_string();
            assert!(refused.contains("position"), "{refused}");
        }
    }

    #[test]
    fn a_restored_folder_has_the_state_and_one_voter() {
        let (backup, dir) = (backup(), tempfile::tempdir().unwrap());
        let at = backup.restore(dir.path(), NodeId(1)).unwrap();
        let found = crate::recovery::inspect(dir.path()).unwrap();
        assert_eq!((found.last, found.recovered), (at, at));
        assert_eq!(found.state, backup.image.state);
        assert_eq!(Vec::from_iter(found.voters), [NodeId(1)]);
    }

    #[test]
    fn it_is_restored_for_a_gateway_of_the_federation_and_into_an_empty_folder_alone() {
        let (backup, dir) = (backup(), tempfile::tempdir().unwrap());
        let stranger = backup.restore(dir.path(), NodeId(7)).unwrap_err();
        assert!(matches!(stranger, RecoverError::Removed(NodeId(7))));
        backup.restore(dir.path(), NodeId(1)).unwrap();
        let again = backup.restore(dir.path(), NodeId(1)).unwrap_err();
        assert!(matches!(again, RecoverError::Disk(_)), "{again}");
    }
}
