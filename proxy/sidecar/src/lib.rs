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

mod admin;
pub mod capture;
pub mod catalog;
mod clock;
pub mod config;
mod data_plane;
pub mod enrolment;
pub mod health;
mod http;
mod inbound;
mod inner;
mod listen;
mod local;
mod metrics;
mod outbound;
mod pipe;
mod pool;
mod probe;
mod process;
mod relay;
pub mod renewal;
pub mod rpc;
mod sidecar;
mod snapshot;
mod stream;
mod tap;
mod traffic;
mod worker;

pub use config::{Config, SidecarConfig};
pub use data_plane::{Addresses, DataPlane, Sources, StartError};
pub use http::Timeouts;
pub use inbound::{Inbound, LocalEndpoints};
pub use inner::{Connector, Line, NoRemote, RemoteTarget, Way};
pub use local::{LocalEndpoint, NoRandom};
pub use metrics::Metrics;
pub use outbound::{Hint, Outbound, OutboundParts};
pub use probe::{Probed, probe};
pub use process::{Process, ProcessError};
pub use relay::{RelaySession, RelaySessions, SessionId, preamble};
pub use sidecar::Sidecar;
pub use snapshot::TableSource;
pub use stream::{BoxStream, Stream};
pub use tap::{Seen, TapEvent, TapHeader, TapId, TapServed, Taps, Value};
pub use traffic::{Taken, Traffic};
