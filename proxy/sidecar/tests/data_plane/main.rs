//! The data plane on loopback: real sidecars' workers, static tables, test
//! authorities. Waits are on levels with a deadline, never on time alone.

mod app;
mod client;
mod drain;
mod forward;
mod framing;
mod identity;
mod relay;
mod resilience;
mod tcp;
mod world;
