//! Bytes: strict questions in, compressed answers out (RFC 1035 §4, RFC 6891).
//!
//! What it is: the form in which nearly all queries come, read without
//! allocating, and answers compiled once and written many times.
//! What it is not: a full decoder. What is legal but unusual is [`Unread::Odd`].

mod compiled;
mod query;
mod writer;

pub use compiled::{Compiled, Recursion, ResponseCode, Written};
pub use query::{Edns, Query, Unread};

/// The largest response over UDP, in bytes: what passes everywhere without
/// fragments (DNS flag day 2020).
pub const UDP_MAX: usize = 1232;
/// The largest response over UDP to a client that says nothing (RFC 1035 §4.2.1).
pub const UDP_CLASSIC: usize = 512;
/// The largest message over TCP (RFC 1035 §4.2.2).
pub const TCP_MAX: usize = 65_535;

const HEADER: usize = 12;
