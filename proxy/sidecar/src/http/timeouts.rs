//! How long one side of an HTTP exchange waits for the other.

use std::time::Duration;

/// Longest times of an HTTP connection and what it carries.
///
/// None of them ends a gRPC call, an upgraded connection or a tunnel: those may
/// be quiet for hours, and say themselves how long they may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// For the next request on a connection that carries none.
    pub idle: Duration,
    /// For the next piece of a request's body, while the app would take it.
    pub body: Duration,
    /// From the last byte of a request to the first of its answer.
    pub answer: Duration,
    /// For a client to take the next piece of an answer.
    pub send: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(10 * 60),
            body: Duration::from_secs(60),
            answer: Duration::from_secs(5 * 60),
            send: Duration::from_secs(60),
        }
    }
}
