//! What can go wrong, for whoever asked.

use std::sync::Arc;
use std::time::Duration;

use weft_model::{Index, NodeId, Refusal, RequestId};

use crate::disk::DiskError;
use crate::driver::OpenError;
use crate::wire::WireError;

/// Why a registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The folder's log and configuration do not go together.
    #[error("the state folder cannot be resumed from")]
    Open(#[from] OpenError),
    /// The first entry cannot be read, or is none.
    #[error("the founding entry is unreadable, or founds nothing")]
    NotAFounding(#[source] Option<WireError>),
    /// The first entry is refused.
    #[error("the founding entry is refused")]
    Founding(#[source] Refusal),
    /// The disk thread could not be started.
    #[error("no thread for the disk")]
    Thread(#[source] std::io::Error),
}

/// Why a running registry stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The log could not be written; nothing after that was acknowledged.
    #[error(transparent)]
    Disk(DiskError),
    /// The disk thread is gone.
    #[error("the thread for the disk ended")]
    DiskThread,
}

/// Why there is no registry to ask any more.
#[derive(Debug, Clone)]
pub(super) enum Gone {
    Stopped,
    Failed(Arc<Failure>),
}

/// Why a proposal has no index.
///
/// That it has no effect is said of this attempt. An earlier one under the same request id that
/// still waits, or ended in [`Self::Timeout`], may have its effect all the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// This replica's state is not the others'.
    #[error("this gateway's replica is fenced: its state is not the others'; nothing was written")]
    Fenced,
    /// The group was founded anew without this replica.
    #[error(
        "the registry was founded anew at index {recovered}, without this gateway's part in it; nothing was written"
    )]
    Outranked {
        /// Where the new group begins.
        recovered: Index,
    },
    /// Nobody leads, so nobody took it. It has no effect; retrying is safe.
    #[error("no leader for {waited:?}: a majority of the voters is not reachable")]
    NoLeader {
        /// For how long there was none.
        waited: Duration,
    },
    /// A leader may have taken it, and it was not seen applied in time. It may
    /// still take effect; a retry under the same request id finds out.
    #[error("request {request} was not seen applied within {waited:?}; it may still be")]
    Timeout {
        /// Which.
        request: RequestId,
        /// For how long it was waited.
        waited: Duration,
    },
    /// It changed nothing: it is in the log, or is of those that no leader takes into it.
    #[error(transparent)]
    Refused(Refusal),
    /// It is in the log, and this build cannot read it.
    #[error("the entry at {index} cannot be read here: {reason}")]
    Unreadable {
        /// Where it stands.
        index: Index,
        /// Why.
        reason: String,
    },
    /// It is larger than an entry may be.
    #[error("the entry has {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too many proposals wait here already.
    #[error("{waiting} proposals wait already")]
    Overloaded {
        /// How many.
        waiting: usize,
    },
    /// A node that would have to write it has no room for it. It has no effect; retrying is safe.
    #[error("the disk of node {node} is full; nothing was written")]
    NoRoom {
        /// This node, or the leader.
        node: NodeId,
    },
    /// The registry is shutting down.
    #[error("the registry is shutting down")]
    Shutdown,
    /// The log cannot be written.
    #[error("the registry's disk failed")]
    Disk(#[source] Arc<Failure>),
}

impl From<Gone> for ProposeError {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Stopped => Self::Shutdown,
            Gone::Failed(failure) => Self::Disk(failure),
        }
    }
}

/// Why a read has no index.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Nobody leads.
    #[error("no leader for {waited:?}: a majority of the voters is not reachable")]
    NoLeader {
        /// For how long there was none.
        waited: Duration,
    },
    /// The leader did not confirm in time.
    #[error("the leader did not confirm within {waited:?}")]
    Timeout {
        /// For how long it was waited.
        waited: Duration,
    },
    /// The registry is shutting down.
    #[error("the registry is shutting down")]
    Shutdown,
    /// The log cannot be written.
    #[error("the registry's disk failed")]
    Disk(#[source] Arc<Failure>),
}

impl From<Gone> for ReadError {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Stopped => Self::Shutdown,
            Gone::Failed(failure) => Self::Disk(failure),
        }
    }
}

/// Why leadership did not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only voters lead.
    #[error("node {0} is no voter")]
    NotAVoter(NodeId),
    /// Leadership is the business of clusters that vote.
    #[error("this gateway's cluster has no vote: ask a gateway of one that has")]
    NoVote,
    /// Nobody leads who could hand over.
    #[error("there is no leader to hand over")]
    NoLeader,
    /// It did not catch up in time, or the request was lost. Writes go on.
    #[error("node {0} did not take over in time; the leader stays")]
    Timeout(NodeId),
    /// The registry is shutting down.
    #[error("the registry is shutting down")]
    Stopped,
}

/// Why a peer's call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such method.
    #[error("no method {0}")]
    Method(String),
    /// The request cannot be read.
    #[error("the request is unreadable: {0}")]
    Request(#[from] WireError),
    /// The registry is shutting down.
    #[error("the registry is shutting down")]
    Stopped,
    /// The peer is not reachable, or its answer cannot be read.
    #[error("the peer did not answer: {0}")]
    Peer(String),
}
