//! The gateway process: tunnels, relay, DNS listeners, catalog, identity and admin APIs.
//!
//! What it is: shells around `weft-plan`, `weft-decide` and `weft-registry`: they read the
//! world, ask the cores, and do what they are told. What it is not: no decision about names,
//! routes, liveness or membership is taken here.
//!
//! ```text
//!           tunnels ─> Raft, catalog and RPC streams ─> registry, catalog
//! sidecars ─> API (gRPC), relay ─> tunnels
//! clients ──> DNS, stand-ins ────> tunnels
//! operators > API ─> admin
//! ```

mod address;
pub mod admin;
pub mod api;
pub mod catalog;
pub mod clamps;
pub mod config;
mod control;
pub mod dns;
mod gateway;
mod hub;
mod isolation;
pub mod membership;
mod observe;
mod outlook;
mod peer;
pub mod relay;
pub mod scene;
pub mod standin;
mod sys;
#[cfg(test)]
mod testing;
pub mod tunnel;
pub mod workers;

pub use clamps::{ClampFileError, ClampSource};
pub use gateway::{Gateway, GatewayError};
pub use peer::PeerIdentity;
