//! The gateway process: tunnels, DNS listeners, catalog, identity and admin APIs.

pub mod dns;
