//! A state folder whose gateway does not run: looking into it, and founding the group anew from
//! it when its majority is lost for good.

use std::collections::BTreeSet;
use std::path::Path;

use weft_model::{Federation, Index, NodeId};

use crate::disk::{DiskError, Folder, Store, Stored};
use crate::driver::{Driver, OpenError, Settings};
use crate::image::Image;

/// What a folder holds.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Whose it is.
    pub folder: Folder,
    /// The term of the last entry in its log.
    pub last_term: u64,
    /// The last position in its log.
    pub last: Index,
    /// The last position that it knows to be committed.
    pub commit: Index,
    /// The voters, as of its last position.
    pub voters: BTreeSet<NodeId>,
    /// Replicas without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Where the group was last founded anew; 0 if it never was.
    pub recovered: Index,
    /// Set if its state is not the others': a majority had another one at this position.
    pub fenced: Option<Index>,
    /// The federation after all of its log.
    pub state: Federation,
}

impl Inspection {
    /// Orders folders of one group by how much their logs hold (Raft paper §5.4.1).
    pub fn reach(&self) -> Reach {
        Reach {
            recovered: self.recovered,
            term: self.last_term,
            last: self.last,
        }
    }
}

/// How far a replica's log reaches: of two, the greater holds all that a majority ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    /// The founding that it goes by.
    pub recovered: Index,
    /// The term of its last entry.
    pub term: u64,
    /// Its last position.
    pub last: Index,
}

/// Why a group cannot be founded anew from a folder.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The folder's log and configuration do not go together.
    #[error("the state folder cannot be resumed from")]
    Open(#[from] OpenError),
    /// The folder has no state yet.
    #[error("node {0} has received nothing of the federation yet")]
    Nothing(NodeId),
    /// The federation no longer knows the node.
    #[error("node {0} is no gateway of the federation any more")]
    Removed(NodeId),
}

/// Reads a folder; nothing in it is changed.
pub fn inspect(dir: &Path) -> Result<Inspection, RecoverError> {
    let (folder, stored) = crate::disk::read_only(dir)?;
    Ok(inspection(folder, stored)?)
}

fn inspection(folder: Folder, stored: Stored) -> Result<Inspection, OpenError> {
    let commit = Index(stored.commit());
    let driver = replayed(folder.node, stored)?;
    let status = driver.status();
    let image = driver.image();
    Ok(Inspection {
        folder,
        last_term: image.term,
        last: image.index,
        commit,
        voters: status.voters.into_iter().collect(),
        learners: status.learners.into_iter().collect(),
        recovered: image.recovered,
        fenced: driver.fenced(),
        state: image.state.clone(),
    })
}

/// Founds the group anew from a folder, with its node as the only voter, and lowers its fence: from
/// then on its state is what all have to be. One transaction: it is done or not.
pub fn recover(dir: &Path) -> Result<Index, RecoverError> {
    let store = Store::open(dir, None)?;
    let node = store.folder().node;
    let driver = replayed(node, store.load()?)?;
    check(driver.image(), node)?;
    let (batch, image) = driver.found_anew();
    store.write(&[batch])?;
    Ok(image.index)
}

pub(crate) fn check(image: &Image, node: NodeId) -> Result<(), RecoverError> {
    if image.state.domain().is_none() {
        return Err(RecoverError::Nothing(node));
    }
    if image.state.node(node).is_none() {
        return Err(RecoverError::Removed(node));
    }
    Ok(())
}

/// All of the log applied: without a majority nobody can say which of its last entries were
/// committed, and each of them may have been acknowledged.
pub(crate) fn replayed(node: NodeId, stored: Stored) -> Result<Driver, OpenError> {
    Driver::open(Settings::new(node, 0), stored.all_committed())
}
