//! What a sidecar needs to have a gateway relay its connections.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::hmac;

/// A catalog session's id, chosen by the gateway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One gateway's consent to relay for this sidecar, as its `Welcome` gave it.
///
/// Hazard: the counter belongs to the session for as long as it lives. Keep the
/// same `Arc` over snapshots; a second object for one session would repeat
/// counters, and the gateway accepts each only once.
pub struct RelaySession {
    relay: SocketAddr,
    session: SessionId,
    key: hmac::Key,
    counter: AtomicU64,
}

impl RelaySession {
    /// A new session with the gateway whose relay listens at `relay`;
    /// `key` authenticates preambles (HMAC-SHA-256, RFC 2104).
    pub fn new(relay: SocketAddr, session: SessionId, key: &[u8; 32]) -> Self {
        Self {
            relay,
            session,
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            counter: AtomicU64::new(0),
        }
    }

    /// Where to connect.
    pub fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    pub(super) fn key(&self) -> &hmac::Key {
        &self.key
    }

    /// A number not used before in this session, counted from 1.
    pub(super) fn next_counter(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Debug for RelaySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelaySession")
            .field("relay", &self.relay)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// The sessions with this cluster's gateways that are up now. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RelaySessions(Arc<ArcSwap<Vec<Arc<RelaySession>>>>);

impl RelaySessions {
    /// The sessions now.
    pub fn load(&self) -> Guard<Arc<Vec<Arc<RelaySession>>>> {
        self.0.load()
    }

    /// Replaces them all. Sessions that stay keep their `Arc`.
    pub fn store(&self, sessions: Vec<Arc<RelaySession>>) {
        self.0.store(Arc::new(sessions));
    }
}
