//! Tests of the crate as a whole; those of one module are beside it.
#![allow(clippy::unwrap_used, reason = "helpers of tests may, as tests do")]

mod authority;
mod handshake;
mod hostile;
mod keystore;
mod mutants;
mod rotation;
