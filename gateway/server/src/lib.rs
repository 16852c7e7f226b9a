//! The gateway process: tunnels, DNS listeners, catalog, identity and admin APIs.

mod sys;
#[cfg(test)]
mod testing;
pub mod tunnel;
pub mod workers;
