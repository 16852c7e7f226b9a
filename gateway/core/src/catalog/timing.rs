//! How long the catalog waits for what.

use std::time::Duration;

use super::ShrinkGuard;

/// The catalog's spans of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A session silent for this long counts as lost. Three heartbeats.
    pub session_grace: Duration,
    /// A gateway whose stream ended is counted no longer after this, if another speaks for its cluster.
    pub witness_patience: Duration,
    /// How long after its start a gateway attests to nobody's absence: its
    /// sidecars' longest pause between attempts to connect, and some.
    pub recovery: Duration,
    /// How long an owner's withdrawal is remembered against older words.
    pub withdrawal_memory: Duration,
    /// What is not believed at once.
    pub guard: ShrinkGuard,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            session_grace: Duration::from_secs(6),
            witness_patience: Duration::from_secs(10),
            recovery: Duration::from_secs(15),
            withdrawal_memory: Duration::from_secs(120),
            guard: ShrinkGuard::default(),
        }
    }
}
