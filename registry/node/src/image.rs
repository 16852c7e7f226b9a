//! The applied state at an index: what a snapshot carries.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::ConfState;
use weft_model::{Federation, Index, RequestId};

/// The federation's state and what the registry itself remembers, at one index.
///
/// Two nodes with the same index and equal logs have equal images.
/// Cloning is cheap in the federation's part.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The last applied position; 0 before anything was applied.
    pub index: Index,
    /// The term of that entry.
    pub term: u64,
    /// The Raft group's configuration as of that position.
    pub conf: ConfState,
    /// The federation.
    pub state: Federation,
    /// Which requests were applied lately.
    pub requests: Requests,
    /// The records that could not be read.
    pub quarantine: Quarantine,
}

/// How an earlier appearance of a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// Where it was applied.
    pub index: Index,
    /// Whether it changed anything, or was refused.
    pub verdict: Verdict,
}

/// Whether an entry took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was accepted.
    Accepted,
    /// It was refused.
    Refused,
}

/// The requests applied lately, so that a retried proposal applies once.
///
/// Bounded: a retry that comes after [`REQUESTS_MAX`] other entries counts as
/// new. A proposer gives up long before that many entries have passed, and an
/// owner's generation stops what comes later still.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    order: VecDeque<RequestId>,
    earlier: BTreeMap<RequestId, Earlier>,
}

/// How many requests are remembered; 100 KiB in a snapshot.
pub const REQUESTS_MAX: usize = 4096;

impl Requests {
    /// How this request ended before, if it is still known.
    pub fn earlier(&self, request: &RequestId) -> Option<Earlier> {
        self.earlier.get(request).copied()
    }

    /// Remembers an outcome, and forgets the oldest beyond the bound.
    pub fn remember(&mut self, request: RequestId, earlier: Earlier) {
        if self.earlier.insert(request, earlier).is_none() {
            self.order.push_back(request);
        }
        while self.order.len() > REQUESTS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.earlier.remove(&oldest);
            }
        }
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&RequestId, &Earlier)> {
        self.order
            .iter()
            .filter_map(|request| Some((request, self.earlier.get(request)?)))
    }
}

/// A committed record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it stands.
    pub index: Index,
    /// Why.
    pub reason: String,
}

/// The records that could not be read: all counted, the latest kept with their reasons.
///
/// An unreadable record changes nothing on any node that cannot read it. That
/// nodes agree on what they can read is the format level's work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// How many there were.
    pub count: u64,
    /// The latest, oldest first, at most [`QUARANTINED_MAX`].
    pub latest: VecDeque<Quarantined>,
}

/// How many unreadable records are kept with their reasons.
pub const QUARANTINED_MAX: usize = 64;

impl Quarantine {
    /// Counts and keeps one.
    pub fn add(&mut self, record: Quarantined) {
        self.count += 1;
        self.latest.push_back(record);
        while self.latest.len() > QUARANTINED_MAX {
            self.latest.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_request_is_forgotten_beyond_the_bound() {
        let mut requests = Requests::default();
        let id = |n: usize| RequestId((n as u128).to_be_bytes());
        for n in 0..=REQUESTS_MAX {
            let earlier = Earlier {
                index: Index(n as u64),
                verdict: Verdict::Accepted,
            };
            requests.remember(id(n), earlier);
        }
        assert_eq!(requests.earlier(&id(0)), None);
        assert_eq!(
            requests.earlier(&id(1)).map(|e| e.index),
            Some(Index(1))
        );
        assert_eq!(requests.iter().count(), REQUESTS_MAX);
    }
}
