//! The seeded simulation of liveness: the catalogs and clamps of several gateways, the sessions
//! of sidecars with them, and the streams between them, on one seed and one thread.
//!
//! What it runs is the real `Catalog`, `Journal`, `Clamps` and `weight` of `weft-plan`, and the
//! real `Federation` at a different position of one log on each gateway (that replicas hold a
//! prefix of one log is what the registry's simulation shows). What it makes up is time, what
//! travels, processes that come, go and die, and disks. After every step every `invariant` is
//! checked; in the end all faults stop and all gateways must see the same: what lives.
//!
//! ```text
//! Sidecars ─ sessions ─> Gateways ─ streams ─> Gateways
//!                          ^ log, at each one's own position
//! ```

pub(crate) mod gateway;
pub(crate) mod invariant;
pub(crate) mod plane;
pub(crate) mod release;
pub(crate) mod sidecar;
mod stream;
mod world;

pub use plane::Met;
pub use world::run;
