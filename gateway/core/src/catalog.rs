//! One gateway's view of liveness: which endpoints there are, and who says so.
//!
//! What it is: a state machine without clock, socket or runtime. Sessions of
//! this cluster's sidecars, attestations by gateways of this and other
//! clusters, and the passing of time go in; immutable [`CatalogView`]s and the
//! [`Journal`] of what this gateway attests come out.
//! What it is not: nothing here is replicated by consensus, and no wire type
//! is named; shells convert.
//!
//! ```text
//! own sidecars ──> Sessions ──┐ (what this gateway attests ──> Journal ──> peers)
//!                             v
//! peers' attestations ──> ClusterSet, one per cluster ──> CatalogView
//!                             ^
//! last view on disk ──────────┘
//! ```
//!
//! The same rule holds for every cluster, this one included. An endpoint's
//! owner counts its words; the highest count wins, wherever it was heard. An
//! endpoint lives while any [`Epoch`] (one run of one gateway) of its cluster
//! attests it. Only its owner can end it at once; everything else that takes
//! attestations away (a lost session, a restarted gateway, a shorter snapshot)
//! casts doubt, and doubt is acted on with delay, or held when it falls on too
//! many at once ([`ShrinkGuard`]).

mod admission;
mod alarm;
mod changes;
mod cluster_set;
mod entries;
mod guard;
mod interest;
mod journal;
mod names;
mod sessions;
mod set_hash;
mod state;
mod timing;
mod view;
mod witness;

pub use admission::{AdmissionError, admit, is_attestable};
pub use alarm::Alarm;
pub use changes::ViewChanges;
pub use cluster_set::{ClusterSet, HashMismatch};
pub use entries::{EntryFront, Probed, entry_endpoints};
pub use guard::ShrinkGuard;
pub use interest::Interest;
pub use journal::{Batch, Cursor, Journal, Step};
pub use names::NameScene;
pub use sessions::{PutError, Said, SessionId, Sessions};
pub use set_hash::SetHash;
pub use state::{Attestation, AttestationJournal, Catalog};
pub use timing::Timing;
pub use view::{
    CatalogView, ClusterLiveness, Freshness, Knowledge, LastKnown, LocalService, ServiceEndpoints,
};
pub use witness::Epoch;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
