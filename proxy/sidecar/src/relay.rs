//! The way to another cluster: TCP to a gateway of this one, behind a preamble.

mod connector;
pub mod preamble;
mod session;

pub(crate) use connector::RelayConnector;
pub use session::{RelaySession, RelaySessions, SessionId};
