//! The log, the hard state and the snapshot at rest.
//!
//! [`Store`] on redb: one durable transaction for all batches that wait. Every
//! value carries a CRC-32, because redb does not check pages it merely reads.
//! For the simulation the same store lies on bytes that lose power; a model of
//! what it has to hold then stands beside it.

mod archive;
mod batch;
mod error;
mod file;
#[cfg(any(test, feature = "simulation"))]
mod model;
#[cfg(any(test, feature = "simulation"))]
mod power;
mod record;
mod room;
#[cfg(any(test, feature = "simulation"))]
mod rot;
#[cfg(any(test, feature = "simulation"))]
mod simulated;
mod store;
mod trial;

pub(crate) use archive::{Archive, ArchiveError, Segment};
pub use archive::{Bounds, HISTORY_BYTES, HISTORY_ENTRIES};
pub use batch::{Batch, Stored};
pub(crate) use batch::{Compaction, Mark};
pub use error::DiskError;
#[cfg(any(test, feature = "simulation"))]
pub use power::{Loss, PowerFile};
pub use record::Damage;
pub(crate) use record::row;
pub(crate) use room::Gauge;
pub use room::{ENOUGH_BYTES, LOW_BYTES, Room, Space, is_full};
#[cfg(any(test, feature = "simulation"))]
pub use rot::flip;
#[cfg(any(test, feature = "simulation"))]
pub use simulated::{Crash, SimulatedDisk, Unsound};
pub(crate) use store::read_only;
pub use store::{Folder, Store, StoreId, exists};

#[cfg(test)]
mod sweep;
#[cfg(test)]
mod tests;
