//! The sidecar's side of the catalog: it registers its endpoints with every
//! gateway of its cluster and mirrors what they say.
//!
//! ```text
//! gateway A ──session──> Mirror ──┐
//! gateway B ──session──> Mirror ──┼─> Merge ──> TableSource, Bundles ──> workers
//! last state on disk ──> Mirror ──┘
//! own endpoints, their health ──> every session
//! own traffic ──────────────────> one of them
//! ```
//!
//! **Invariant:** a gateway that goes away takes nothing with it: what it said
//! stands until another one speaks for the cluster.

mod backoff;
mod client;
mod disk;
mod merge;
mod mirror;
mod own;
mod record;
mod releases;
mod report;
mod rest;
mod session;
mod taps;
pub mod wire;

pub use client::{CatalogClient, ClientConfig, Connect, ConnectError, Interest, SessionStatus};
pub use disk::store as replace_file;
pub use merge::Bundles;
pub use report::{flow, to_flow, to_report};
pub use rest::Rest;
pub use taps::{event, filter, tap_id, to_event, to_filter};

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
