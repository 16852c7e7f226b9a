//! The shell of the comparison: asks the other replicas some seconds apart, beside everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use weft_model::{Federation, Index, NodeId};

use super::call;
use super::transport::{METHOD_DIGESTS, Transport};
use crate::agreement::{Agreement, Digests, judge};
use crate::wire;

/// A state, and where it stood.
pub(super) type State = (Index, Arc<Federation>);

/// When the next comparison is due, what was computed before, and what the last one came to.
pub(super) struct Comparison {
    /// None before the first.
    pub(super) last: Option<Agreement>,
    /// Other replicas that said then that they are fenced.
    pub(super) fenced_peers: Vec<NodeId>,
    every: Duration,
    due: Instant,
    under_way: bool,
    known: Digests,
    /// How often the state jumped.
    jumps: u64,
}

/// Digests that are remembered, so that a replica that is behind can still compare.
const KNOWN_MAX: usize = 16;
/// How long the others have to answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Comparison {
    pub(super) fn new(now: Instant, every: Duration) -> Self {
        Self {
            last: None,
            fenced_peers: Vec::new(),
            every,
            due: now + every,
            under_way: false,
            known: Digests::new(),
            jumps: 0,
        }
    }

    /// Whether one is to begin now.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let due = self.due <= now && !self.under_way;
        if due {
            self.due = now + self.every;
            self.under_way = true;
        }
        due
    }

    /// One has ended that began after so many jumps. Whether it says anything of the state that is
    /// here now.
    pub(super) fn end(&mut self, jumps: u64, own: Digests) -> bool {
        self.under_way = false;
        if jumps != self.jumps {
            return false;
        }
        self.known.extend(own);
        while self.known.len() > KNOWN_MAX {
            self.known.pop_first();
        }
        true
    }

    pub(super) fn jumps(&self) -> u64 {
        self.jumps
    }

    /// The state jumped.
    pub(super) fn forget(&mut self) {
        self.jumps += 1;
        self.last = None;
        self.known.clear();
    }

    pub(super) fn known(&self) -> &Digests {
        &self.known
    }
}

/// The digests of states, those that are known and those that are computed now.
pub(super) async fn digests(states: Vec<State>, known: Digests) -> Digests {
    let compute = move || {
        let mut found = known;
        for (index, state) in states {
            found
                .entry(index)
                .or_insert_with(|| wire::state_digest(&state));
        }
        found
    };
    tokio::task::spawn_blocking(compute)
        .await
        .unwrap_or_default()
}

/// Asks `peers` about the positions of `own`, and judges by those that are `trusted`; also says who is
/// fenced.
pub(super) async fn compare(
    transport: Arc<impl Transport>,
    me: NodeId,
    peers: Vec<NodeId>,
    trusted: BTreeSet<NodeId>,
    own: &Digests,
) -> (Agreement, Vec<NodeId>) {
    let at: Vec<Index> = own.keys().copied().collect();
    let mut calls = JoinSet::new();
    for peer in peers {
        let (transport, body) = (transport.clone(), call::digests_request(&at));
        calls.spawn(async move {
            let call = transport.call(peer, METHOD_DIGESTS, body);
            let answer = tokio::time::timeout(PATIENCE, call).await.ok()?.ok()?;
            let (digests, is_fenced) = call::read_digests_answer(answer).ok()?;
            Some((peer, digests, is_fenced))
        });
    }
    let (mut said, mut fenced) = (BTreeMap::new(), Vec::new());
    while let Some(answered) = calls.join_next().await {
        if let Ok(Some((peer, digests, is_fenced))) = answered {
            said.insert(peer, digests);
            fenced.extend(is_fenced.then_some(peer));
        }
    }
    fenced.sort_unstable();
    (judge(me, own, &said, &trusted), fenced)
}
