//! HTTP/2 by h2 alone: what a proxy needs of it, on both sides.
//!
//! ```text
//! bytes ─> h2 server ─> stream ─> Handler … SendRequest ─> h2 client ─> bytes
//!              └─ Alive           Pump, Tunnel                └─ Alive
//! ```
//!
//! Not here: what frames cost (`frames`), what heads may say (`headers`), where time runs
//! out (`activity`, `pace`).

mod alive;
mod client;
mod link;
mod pump;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use client::{Cause, Opened, SendError, SendRequest};
pub(super) use link::Used;
pub(super) use pump::poll_room;
pub(super) use server::serve;

use http::header::{CONNECTION, HeaderMap, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};

use super::strip_hop_by_hop;

/// Takes off fields that HTTP/2 forbids (RFC 9113 §8.2.2). Hardly ever is there one: what
/// was forwarded is clean, and only a rule may have set another.
fn without_connection(headers: &mut HeaderMap) {
    let forbidden = [
        CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    let te = headers.get(TE).is_some_and(|te| te != "trailers");
    if te || forbidden.iter().any(|name| headers.contains_key(name)) {
        strip_hop_by_hop(headers);
    }
}
