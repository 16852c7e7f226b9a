//! The registry node: one federation's log, replicated by Raft, and the state applied from it.
//!
//! What it is: the Raft [`driver`], the log and snapshots on [`disk`], the
//! [`wire`] form of entries, the policy for [`members`], and [`Registry`], the
//! shell that runs them. What it is not: it opens no connection (the transport
//! is handed in) and decides nothing about the federation (that is
//! `weft_model::Federation::apply`).
//!
//! ```text
//! propose ─┐                                      ┌─> state, watches, answers
//! deliver ─┼─> Registry (tokio) ─> Driver (pure) ─┼─> Transport
//! tick ────┘                                      └─> disk thread ─> Persisted
//! ```

mod agreement;
mod backup;
mod bounds;
pub mod disk;
pub mod driver;
mod history;
mod image;
pub mod members;
mod node;
mod proposal;
mod recovery;
mod replica;
mod spacing;
pub mod watch;
pub mod wire;

pub use agreement::{Agreement, Digests};
pub use backup::{Backup, BackupError};
pub use history::{Trail, TrailFault};
pub use image::{Image, QUARANTINED_MAX, Quarantined, Unreadable};
pub use node::{
    AppliedHere, CallError, Counters, DiskStatus, Failure, HistoryError, HistoryPage, HistorySpan,
    METHOD_DIGESTS, METHOD_PROPOSE, METHOD_TRANSFER, ProposeError, ReadError, Registry,
    RegistryConfig, Revision, Standing, Start, StartError, Status, TransferError, Transport, Watch,
    found,
};
pub use proposal::{Draft, Proposal};
pub use recovery::{Inspection, Reach, RecoverError, inspect, recover};
pub use replica::{Answer, Origin, Record};
pub use watch::{Judged, WatchError};
