//! The gateway process: tunnels, DNS listeners, catalog, identity and admin APIs.

pub mod catalog;
pub mod dns;
mod peer;
pub mod relay;
pub mod standin;
mod sys;
#[cfg(test)]
mod testing;
pub mod tunnel;
pub mod workers;

pub use peer::PeerIdentity;
