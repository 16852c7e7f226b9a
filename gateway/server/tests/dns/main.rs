//! The DNS listeners over real sockets on loopback, asked by this program, by a
//! reference decoder, and by clients that nobody here wrote.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clients;
mod forwarders;
mod forwarding;
mod listeners;
mod mutants;
mod reference;
mod rfc8906;
mod world;
