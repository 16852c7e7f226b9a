//! The gateway's side of the catalog.
//!
//! ```text
//! sidecars ──gRPC sessions──┐                   ┌──> Feed ──> sidecars (one cursor each)
//! gateways ──links──────────┼─> weft_plan::     ├──> journal ──> gateways (one cursor each)
//! own stand-ins ─────────────┤   catalog::Catalog├──> CatalogView ──> stand-ins, APIs
//! disk ─────────────────────┘                   └──> disk ──> Shown ──> DNS
//! ```
//!
//! One lock around the state machine, held for the length of a call and never
//! over an await. Nothing is queued for a reader: each holds a position in a
//! shared journal, so a slow one costs nobody anything.

mod changes;
mod disk;
mod feed;
mod handle;
mod keeper;
mod kept;
mod lease;
mod link;
mod own;
mod session;
mod tap;
#[cfg(test)]
mod tests;

pub use handle::{CatalogConfig, CatalogHandle, RelayGrant, RelayGrants, Shown, Surroundings};
pub use lease::{Lead, LeaseKeeper, Propose, Renew};
pub use link::LinkError;
pub use own::OwnSession;
