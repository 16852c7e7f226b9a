//! From nothing, or from a folder, to what a driver goes on from.

use std::path::Path;

use raft::eraftpb::{ConfState, Entry, HardState};
use weft_model::{Author, Command, Index, NodeId, WallTime};

use super::config::Start;
use super::error::StartError;
use crate::disk::{Folder, Store, StoreId, Stored};
use crate::image::Image;
use crate::proposal::Proposal;
use crate::replica::{Answer, Repeats, Replica};

/// The founder's node id, as the state gives it out.
const FOUNDER: NodeId = NodeId(1);
/// The term in which a federation is founded.
const FIRST_TERM: u64 = 1;

pub(super) fn open(dir: &Path, start: Start, now: WallTime) -> Result<(Store, Stored), StartError> {
    let id = StoreId(rand::random());
    let store = match start {
        Start::Found(proposal) => {
            let (folder, first) = found(&proposal, now)?;
            Store::create(dir, folder, id, Some(&first))?
        }
        Start::Join { node, domain } => Store::create(dir, Folder { domain, node }, id, None)?,
        Start::Follow { node, domain, .. } => Store::in_memory(Folder { domain, node }, id)?,
        Start::Resume(expected) => Store::open(dir, expected.as_ref())?,
    };
    let stored = store.load()?;
    Ok((store, stored))
}

/// What a founder's disk holds first: a group of one voter, and the first entry,
/// committed by that voter. One transaction, so a federation is founded or not.
pub fn found(proposal: &Proposal, now: WallTime) -> Result<(Folder, Stored), StartError> {
    let entry = proposal
        .entry()
        .map_err(|error| StartError::NotAFounding(Some(error)))?;
    let (Author::Founder, Command::Found(founding)) = (entry.author, entry.command) else {
        return Err(StartError::NotAFounding(None));
    };
    let image = Image {
        index: Index(1),
        term: FIRST_TERM,
        conf: ConfState::from((vec![FOUNDER.0], vec![])),
        ..Image::default()
    };
    let first = Entry {
        index: 2,
        term: FIRST_TERM,
        data: proposal.stamp(now),
        ..Entry::default()
    };
    let hard = HardState {
        term: FIRST_TERM,
        commit: first.index,
        ..HardState::default()
    };
    let stored = Stored {
        before: (1, FIRST_TERM),
        entries: vec![first.clone()],
        hard,
        image,
        history: Some(1),
        last_row: 0,
        fenced: None,
    };
    // Tried on a copy, so that a refused founding leaves no folder behind.
    let tried = Replica::new(stored.clone()).apply(&first, Repeats::Once);
    match tried.answer {
        Some(Answer::Judged(Ok(_))) => {}
        Some(Answer::Judged(Err(refusal))) => return Err(StartError::Founding(refusal)),
        _ => return Err(StartError::NotAFounding(None)),
    }
    let folder = Folder {
        domain: founding.domain,
        node: FOUNDER,
    };
    Ok((folder, stored))
}

#[cfg(test)]
pub(super) mod tests {
    use tempfile::tempdir;
    use weft_identity::SigningKey;
    use weft_model::fixture::{cluster_spec, gateway, name};
    use weft_model::{Founding, Generation, PublicKey, Refusal, RequestId};

    use super::*;
    use crate::disk::DiskError;
    use crate::proposal::Draft;

    fn draft(key: &SigningKey) -> Draft {
        let mut gateway = gateway(1);
        gateway.key = key.public();
        let founding = Founding {
            domain: name("fed.example.org"),
            cluster: name("us-east-1"),
            spec: cluster_spec("us-east"),
            bundle: vec![b"ca".to_vec()],
            operators: vec![b"operators".to_vec()],
            gateway,
            admin: (name("ana"), PublicKey([200; 32])),
        };
        Draft {
            request: RequestId([1; 16]),
            author: Author::Founder,
            by_order_of: None,
            generation: Generation(0),
            command: Command::Found(Box::new(founding)),
        }
    }

    pub(crate) fn founding() -> Proposal {
        let key = SigningKey::from_seed([1; 32]);
        Proposal::sign(&key, &draft(&key))
    }

    #[test]
    fn a_federation_is_founded_once() {
        let dir = tempdir().unwrap();
        let start = || Start::Found(founding());
        let (store, stored) = open(dir.path(), start(), WallTime(1)).unwrap();
        assert_eq!(store.folder().node, FOUNDER);
        assert_eq!(stored.entries.len(), 1);
        drop(store);
        let again = open(dir.path(), start(), WallTime(2)).unwrap_err();
        assert!(
            matches!(again, StartError::Disk(DiskError::Occupied { .. })),
            "{again}"
        );
        open(dir.path(), Start::Resume(None), WallTime(3)).unwrap();
    }

    #[test]
    fn a_founding_signed_by_another_key_leaves_no_folder() {
        let dir = tempdir().unwrap();
        let other = SigningKey::from_seed([2; 32]);
        let forged = Proposal::sign(&other, &draft(&SigningKey::from_seed([1; 32])));
        let error = open(dir.path(), Start::Found(forged), WallTime(1)).unwrap_err();
        assert!(
            matches!(error, StartError::Founding(Refusal::Signature)),
            "{error}"
        );
        assert!(!crate::disk::exists(dir.path()));
    }
}
