//! What a sidecar needs to have a gateway relay its connections.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::hmac;
use tokio_util::sync::CancellationToken;

use crate::inner::Way;

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
    /// Cancelled when all its connections should be left.
    over: CancellationToken,
    /// Those that are open, by their counters.
    lines: Mutex<BTreeMap<u64, CancellationToken>>,
    doubted: AtomicBool,
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
            over: CancellationToken::new(),
            lines: Mutex::default(),
            doubted: AtomicBool::new(false),
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

    /// The gateway says that the way of the connection with this counter is about to end.
    pub fn leave(&self, counter: u64) {
        if let Some(line) = self.lines().get(&counter) {
            line.cancel();
        }
    }

    /// The same of all its connections.
    pub fn leave_all(&self) {
        self.over.cancel();
    }

    /// The gateway was heard from: what it did not answer was not its fault.
    pub fn trust(&self) {
        self.doubted.store(false, Ordering::Relaxed);
    }

    /// Something that it should have answered it did not.
    pub(super) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// A connection of this session, under a number not used before in it, counted from 1.
    pub(super) fn open_line(self: &Arc<Self>) -> RelayLine {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        let leaving = self.over.child_token();
        self.lines().insert(counter, leaving.clone());
        RelayLine {
            session: Arc::clone(self),
            counter,
            leaving,
        }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way of one connection through the session's gateway.
pub(super) struct RelayLine {
    session: Arc<RelaySession>,
    pub(super) counter: u64,
    leaving: CancellationToken,
}

impl Way for RelayLine {
    fn leaving(&self) -> Option<CancellationToken> {
        Some(self.leaving.clone())
    }

    fn doubt(&self) {
        self.session.doubt();
    }
}

impl Drop for RelayLine {
    fn drop(&mut self) {
        self.session.lines().remove(&self.counter);
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
pub struct RelaySessions(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    current: ArcSwap<Vec<Arc<RelaySession>>>,
    /// They have ended, and no other was there to take over their connections.
    ended: Mutex<Vec<Arc<RelaySession>>>,
}

impl RelaySessions {
    /// The sessions now.
    pub fn load(&self) -> Guard<Arc<Vec<Arc<RelaySession>>>> {
        self.0.current.load()
    }

    /// Replaces them all. Sessions that stay keep their `Arc`.
    ///
    /// A gateway whose session ends is about to go, or has: its connections are left,
    /// as soon as there is another gateway to go through. With none, what is open is
    /// all there is.
    pub fn store(&self, sessions: Vec<Arc<RelaySession>>) {
        let mut ended = self.0.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = Arc::new(sessions);
        let before = self.0.current.swap(Arc::clone(&sessions));
        let stays = |old: &Arc<RelaySession>| sessions.iter().any(|new| Arc::ptr_eq(old, new));
        ended.extend(before.iter().filter(|old| !stays(old)).cloned());
        if !sessions.is_empty() {
            ended.drain(..).for_each(|session| session.leave_all());
        }
    }
}
