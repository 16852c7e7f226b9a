//! Linearizable reads that wait for the leader's word.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use weft_model::Index;

use super::error::ReadError;
use crate::driver::ReadId;

pub(super) type Reply = oneshot::Sender<Result<Index, ReadError>>;

/// The reads not answered yet. What asks together is confirmed together.
pub(super) struct Reads {
    next: ReadId,
    /// Asked for, not sent yet.
    fresh: Vec<Asked>,
    sent: BTreeMap<ReadId, Round>,
    timeout: Duration,
}

struct Asked {
    reply: Reply,
    begun: Instant,
}

struct Round {
    asked: Vec<Asked>,
    sent: Instant,
}

impl Reads {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            next: ReadId(1),
            fresh: Vec::new(),
            sent: BTreeMap::new(),
            timeout,
        }
    }

    pub(super) fn add(&mut self, now: Instant, reply: Reply) {
        self.fresh.push(Asked { reply, begun: now });
    }

    /// The round to be sent now, for all that were asked since the last.
    pub(super) fn take_due(&mut self, now: Instant, patience: Duration) -> Option<ReadId> {
        let lost = self
            .sent
            .extract_if(.., |_, round| now.duration_since(round.sent) >= patience);
        for (_, round) in lost {
            self.fresh.extend(round.asked);
        }
        if self.fresh.is_empty() {
            return None;
        }
        let read = self.next;
        self.next = ReadId(read.0 + 1);
        let asked = std::mem::take(&mut self.fresh);
        self.sent.insert(read, Round { asked, sent: now });
        Some(read)
    }

    pub(super) fn ready(&mut self, read: ReadId, index: Index) {
        let round = self.sent.remove(&read);
        for asked in round.into_iter().flat_map(|round| round.asked) {
            let _ = asked.reply.send(Ok(index));
        }
    }

    /// Gives up on those that waited too long.
    pub(super) fn expire(&mut self, now: Instant, leader: Leader) {
        let waited = self.timeout;
        let late = |asked: &mut Asked| now.duration_since(asked.begun) >= waited;
        let mut expired: Vec<Asked> = self.fresh.extract_if(.., late).collect();
        for round in self.sent.values_mut() {
            expired.extend(round.asked.extract_if(.., late));
        }
        for asked in expired {
            let error = match leader {
                Leader::Known => ReadError::Timeout { waited },
                Leader::Unknown => ReadError::NoLeader { waited },
            };
            let _ = asked.reply.send(Err(error));
        }
    }

    pub(super) fn fail(&mut self, error: &ReadError) {
        let sent = std::mem::take(&mut self.sent).into_values();
        let asked = sent.flat_map(|round| round.asked);
        for asked in asked.chain(std::mem::take(&mut self.fresh)) {
            let _ = asked.reply.send(Err(error.clone()));
        }
    }
}

/// Whether this node knows who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leader {
    Known,
    Unknown,
}
