//! Seeded simulations: of the registry, here; of [`liveness`]; and of both in the same gateways
//! ([`whole`]).
//!
//! The registry's: several drivers, their disks, the
//! network between them and the clients, on one seed and one thread.
//!
//! What it runs is the real driver, wire form, store and watches of `weft-registry`; what
//! it makes up is time, clocks, the network, processes that stand still, and the
//! bytes under the store, which lose what was not synced or keep it torn, and are
//! full for a while. After every step every [`invariant`] is checked; in the end
//! all faults stop and the group must converge. In half of the runs a gateway follows: it has
//! no vote, and begins with nothing each time. [`Coverage`] says what a run met.
//! What it does not cover: threads and sockets, which the registry's own tests do.
//!
//! ```text
//! seed ─> Faults ─> World { Network, Member { Driver, Ring, SimulatedDisk }, Clients, Watchers } ─> Invariants
//! ```
//!
//! A failing seed is replayed with
//! `WEFT_SIM_SEED=<seed> cargo test -p weft-sim -- replay --nocapture`.

mod campaign;
mod client;
mod coverage;
mod faults;
pub mod invariant;
pub mod liveness;
mod member;
mod network;
pub mod partial;
mod trace;
mod watcher;
mod world;

pub use campaign::{campaign, chosen_seeds, threads};
pub use coverage::{Coverage, Seen};
pub use world::{Outcome, Plan, Violation, run, whole};
