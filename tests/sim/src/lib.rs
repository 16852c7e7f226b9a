//! The seeded simulation of the registry: several drivers, their disks, the
//! network between them and the clients, on one seed and one thread.
//!
//! What it runs is the real driver, wire form and disk records of
//! `weft-registry`; what it makes up is time, the network, the loss of what was
//! not synced, and disks that are full for a while. After every step every [`invariant`] is checked; in the end
//! all faults stop and the group must converge. What it does not cover: redb,
//! threads and sockets, which the registry's own tests do.
//!
//! ```text
//! seed ─> Faults ─> World { Network, Member { Driver, MemoryDisk }, Clients } ─> Invariants
//! ```
//!
//! A failing seed is replayed with
//! `WEFT_SIM_SEED=<seed> cargo test -p weft-sim -- replay --nocapture`.

mod client;
mod faults;
pub mod invariant;
mod member;
mod network;
mod trace;
mod world;

pub use world::{Outcome, Plan, Violation, run};
