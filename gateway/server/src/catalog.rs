//! The gateway's side of the catalog.
//!
//! ```text
//! sidecars ──gRPC sessions──┐                   ┌──> Feed ──> sidecars (one cursor each)
//! gateways ──links──────────┼─> weft_plan::     ├──> journal ──> gateways (one cursor each)
//! own stand-ins ─────────────┤   catalog::Catalog├──> CatalogView ──> DNS, stand-ins, APIs
//! disk ─────────────────────┘                   └──> disk
//! ```
//!
//! One lock around the state machine, held for the length of a call and never
//! over an await. Nothing is queued for a reader: each holds a position in a
//! shared journal, so a slow one costs nobody anything.

mod disk;
mod feed;
mod handle;
mod lease;
mod link;
mod own;
mod session;
mod tap;
#[cfg(test)]
mod tests;

pub use handle::{CatalogConfig, CatalogHandle, RelayGrant, RelayGrants, Surroundings};
pub use lease::{Lead, LeaseKeeper, Propose, Renew};
pub use link::LinkError;
pub use own::OwnSession;
