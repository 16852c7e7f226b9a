//! The data plane on loopback: real sidecars' workers, static tables, test
//! authorities. Waits are on levels with a deadline, never on time alone.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on may panic anywhere in this crate"
)]

mod abuse;
mod admin;
mod app;
mod client;
mod conformance;
mod drain;
mod forward;
mod frames;
mod framing;
mod grpc;
mod identity;
mod interim;
mod observed;
mod relay;
mod releases;
mod resilience;
mod routes;
mod silence;
mod slow;
mod tcp;
mod upgrade;
mod world;
