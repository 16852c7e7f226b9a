//! The way to another cluster: TCP to a gateway of this one, behind a preamble.

mod session;

pub use session::{RelaySession, RelaySessions, SessionId};
