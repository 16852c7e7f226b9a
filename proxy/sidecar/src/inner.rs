//! The inner connection: mutual TLS from sidecar to sidecar, whatever is between.

mod dial;
mod target;
mod tls;
mod way;

pub use dial::{Connector, NoRemote, RemoteTarget};
pub(crate) use dial::{Dialer, connect_tcp};
pub(crate) use target::{Target, TargetFields, is_probe, probe};
pub(crate) use tls::{Identities, InnerStream, Protocol};
pub use way::{Line, Way};
