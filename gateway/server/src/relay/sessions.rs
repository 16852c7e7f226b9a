//! The sidecars' sessions: whose key proves a preamble, and which counters it has used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::hmac;
use tokio::sync::mpsc::UnboundedSender;
use weft_decide::Reason;
use weft_model::SpiffeId;
use weft_proto::peer::RelayStream;
use weft_proxy::SessionId;
use weft_proxy::preamble::Unproven;

/// The open sessions of this gateway's sidecars. Shared by the catalog server,
/// which opens and ends them, and the relay, which asks.
#[derive(Default)]
pub struct Sessions {
    sessions: RwLock<HashMap<SessionId, Arc<Session>>>,
}

struct Session {
    key: hmac::Key,
    caller: SpiffeId,
    used: Mutex<Window>,
    leave: UnboundedSender<u64>,
}

/// What a lawful preamble shows.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) caller: SpiffeId,
    pub(super) header: RelayStream,
    pub(super) line: Line,
}

/// A relayed connection, as its sidecar calls it.
#[derive(Debug)]
pub(super) struct Line {
    counter: u64,
    session: UnboundedSender<u64>,
}

impl Line {
    /// Tells the sidecar to begin nothing new on it.
    pub(super) fn leave(&self) {
        // A session that has ended says as much by its end.
        let _ = self.session.send(self.counter);
    }
}

impl Sessions {
    /// Opens a session of `caller` under `key`; `leave` takes the counters of connections
    /// that should be left. One of the same id is replaced.
    pub fn insert(
        &self,
        session: SessionId,
        key: &[u8; 32],
        caller: SpiffeId,
        leave: UnboundedSender<u64>,
    ) {
        let opened = Arc::new(Session {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            caller,
            used: Mutex::default(),
            leave,
        });
        self.sessions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(session, opened);
    }

    /// Ends a session: its preambles are refused from now on. Connections that
    /// it opened go on.
    pub fn remove(&self, session: SessionId) {
        self.sessions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&session);
    }

    /// How many sessions are open.
    pub fn len(&self) -> usize {
        self.sessions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who calls and where to, if the preamble's proof holds and its counter is new.
    pub(super) fn admit(&self, preamble: &Unproven) -> Result<Proven, Reason> {
        let session = self
            .sessions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&preamble.session())
            .cloned()
            .ok_or(Reason::BadPreamble)?;
        let (counter, header) = preamble
            .prove(&session.key)
            .map_err(|_| Reason::BadPreamble)?;
        let mut used = session.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.take(counter) {
            Ok(Proven {
                caller: session.caller.clone(),
                header,
                line: Line {
                    counter,
                    session: session.leave.clone(),
                },
            })
        } else {
            Err(Reason::BadPreamble)
        }
    }
}

/// Which of the latest counters have been used. A sidecar's connections race
/// each other, so a counter may come after a higher one, but not long after.
#[derive(Default)]
struct Window {
    /// One above the highest used counter.
    next: u64,
    /// Bit `counter % WINDOW` for each counter below `next` and within the window.
    used: [u64; WORDS],
}

impl Window {
    /// Marks `counter` as used; false if it was already, or is too old to know.
    fn take(&mut self, counter: u64) -> bool {
        if counter == u64::MAX {
            return false;
        }
        if counter >= self.next {
            self.forget(counter);
            self.next = counter + 1;
        } else if self.next - counter > WINDOW {
            return false;
        }
        let (word, bit) = place(counter);
        let fresh = self.used[word] & bit == 0;
        self.used[word] |= bit;
        fresh
    }

    /// Clears the bits between the highest counter so far and `counter`: they
    /// stood for counters that leave the window now.
    fn forget(&mut self, counter: u64) {
        if counter - self.next >= WINDOW {
            self.used = [0; WORDS];
            return;
        }
        for passed in self.next..=counter {
            let (word, bit) = place(passed);
            self.used[word] &= !bit;
        }
    }
}

fn place(counter: u64) -> (usize, u64) {
    let slot = counter % WINDOW;
    ((slot / 64) as usize, 1 << (slot % 64))
}

/// How many counters back one may still be used.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;

#[cfg(test)]
mod tests {
    use weft_proxy::preamble;

    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_counter_is_accepted_once_and_not_from_the_distant_past() {
        let mut window = Window::default();
        assert!(window.take(5));
        assert!(!window.take(5));
        assert!(window.take(4));
        assert!(window.take(5 + WINDOW));
        assert!(!window.take(5), "replayed");
        assert!(!window.take(3), "too old");
        assert!(window.take(7));
        assert!(!window.take(u64::MAX));
        assert!(window.take(u64::MAX - 1));
        assert!(!window.take(8));
    }

    #[test]
    fn the_window_agrees_with_a_set_that_remembers_all() {
        let mut window = Window::default();
        let (mut seen, mut highest, mut state) = (BTreeSet::new(), 0_u64, 7_u64);
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let counter = (highest + (state >> 33) % 64).saturating_sub((state >> 40) % 1400);
            let known = seen.contains(&counter) || highest.saturating_sub(counter) >= WINDOW;
            assert_eq!(window.take(counter), !known, "{counter} after {highest}");
            if !known {
                seen.insert(counter);
                highest = highest.max(counter);
            }
        }
    }

    #[tokio::test]
    async fn an_ended_session_proves_nothing() {
        let (id, key) = (SessionId([1; 16]), [2; 32]);
        let caller: SpiffeId = "spiffe://a.fed.example.org/ns/shop/sa/web".parse().unwrap();
        let sessions = Sessions::default();
        let (leave, mut left) = tokio::sync::mpsc::unbounded_channel();
        sessions.insert(id, &key, caller.clone(), leave);
        let proven = |counter| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            preamble::encode(id, counter, &key, &RelayStream::default())
        };
        let first = Unproven::read(&mut &*proven(0)).await.unwrap();
        let admitted = sessions.admit(&first).unwrap();
        assert_eq!(admitted.caller, caller);
        admitted.line.leave();
        assert_eq!(left.recv().await, Some(0));
        assert_eq!(sessions.admit(&first).unwrap_err(), Reason::BadPreamble);
        sessions.remove(id);
        let second = Unproven::read(&mut &*proven(1)).await.unwrap();
        assert_eq!(sessions.admit(&second).unwrap_err(), Reason::BadPreamble);
    }
}
