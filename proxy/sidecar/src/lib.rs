//! The sidecar: listeners, inner TLS, HTTP and TCP forwarding.
//!
//! What it is: the shell around `weft-decide`. One worker per core, each with its
//! own runtime, listeners, connection pools, balancer state and metric slots;
//! what they share is immutable snapshots behind pointers.
//! What it is not: it knows nothing of Raft and decides nothing itself.
//!
//! ```text
//! app ─> outbound ─> decide ─> pool ═ inner mTLS ═> inbound ─> app
//!                                └─> Connector ─> gateway ═> …
//! ```

pub mod catalog;
pub mod config;
pub mod health;
mod relay;
pub mod renewal;
mod snapshot;

pub use config::{Config, SidecarConfig};
pub use relay::{RelaySession, RelaySessions, SessionId};
pub use snapshot::TableSource;
