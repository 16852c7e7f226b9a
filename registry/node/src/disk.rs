//! The log, the hard state and the snapshot at rest.
//!
//! Two stores behind one form: [`Store`] on redb, one durable transaction for
//! all batches that wait; [`MemoryDisk`] for the simulation, which can lose
//! what was not synced. Both hold the same keys and bytes; every value carries
//! a CRC-32, because redb does not check pages it merely reads.

mod archive;
mod batch;
mod file;
mod memory;
mod record;
mod room;
mod store;
mod trial;

pub(crate) use archive::{Archive, ArchiveError, Segment};
pub use archive::{Bounds, HISTORY_BYTES, HISTORY_ENTRIES};
pub(crate) use batch::Compaction;
pub use batch::{Batch, Stored};
pub use memory::MemoryDisk;
pub use record::Damage;
pub(crate) use record::row;
pub(crate) use room::Gauge;
pub use room::{ENOUGH_BYTES, LOW_BYTES, Room, Space, is_full};
pub use store::{DiskError, Folder, Store, StoreId, exists};

#[cfg(test)]
mod tests;
