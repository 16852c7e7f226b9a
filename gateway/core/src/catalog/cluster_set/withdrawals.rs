//! What owners ended, remembered against older words that are still on their way.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weft_model::EndpointId;

use crate::Moment;

/// The withdrawals of the last while.
#[derive(Debug, Clone)]
pub(super) struct Withdrawals {
    memory: Duration,
    by_id: BTreeMap<EndpointId, Withdrawal>,
    /// When each was heard, the oldest first; rows heard again since linger.
    heard: VecDeque<(Moment, EndpointId)>,
}

/// An owner's last word on an endpoint that it ended.
#[derive(Debug, Clone, Copy)]
struct Withdrawal {
    sequence: u64,
    heard: Moment,
}

impl Withdrawals {
    /// Each is remembered for `memory`, and beyond while anybody attests the endpoint.
    pub(super) fn new(memory: Duration) -> Self {
        Self {
            memory,
            by_id: BTreeMap::new(),
            heard: VecDeque::new(),
        }
    }

    /// The owner's count when it ended the endpoint; none if it did not.
    pub(super) fn sequence(&self, id: EndpointId) -> Option<u64> {
        self.by_id.get(&id).map(|withdrawal| withdrawal.sequence)
    }

    /// An owner ended its endpoint; the highest count stays.
    pub(super) fn note(&mut self, id: EndpointId, sequence: u64, now: Moment) {
        let sequence = sequence.max(self.sequence(id).unwrap_or(0));
        let heard = now;
        self.by_id.insert(id, Withdrawal { sequence, heard });
        self.heard.push_back((now, id));
    }

    /// Lets go of those that no older word can follow any longer.
    pub(super) fn forget(&mut self, now: Moment, attested: impl Fn(EndpointId) -> bool) {
        while let Some((at, id)) = self.heard.front().copied() {
            if at.after(self.memory) > now {
                return;
            }
            self.heard.pop_front();
            let Some(withdrawal) = self.by_id.get_mut(&id).filter(|w| w.heard == at) else {
                continue;
            };
            if attested(id) {
                withdrawal.heard = now;
                self.heard.push_back((now, id));
            } else {
                self.by_id.remove(&id);
            }
        }
    }
}
