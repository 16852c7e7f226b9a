//! Outcomes of recent requests, so that a retried proposal applies once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::{Outcome, RequestId, quota};

const CHUNK: usize = 256;
const CHUNKS: usize = quota::REQUESTS_MIN / CHUNK;

type Chunk = BTreeMap<RequestId, Outcome>;

/// A first-in, first-out memory in chunks: a change copies the newest chunk
/// alone when a snapshot shares the rest, and the oldest is forgotten whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// The oldest first; all but the last are full.
    chunks: VecDeque<Arc<Chunk>>,
}

impl Requests {
    pub(super) fn outcome(&self, request: &RequestId) -> Option<&Outcome> {
        self.chunks
            .iter()
            .rev()
            .find_map(|chunk| chunk.get(request))
    }

    /// Remembers the first outcome of a request that is not remembered yet.
    pub(super) fn remember(&mut self, request: RequestId, outcome: Outcome) {
        if self.chunks.back().is_none_or(|last| last.len() >= CHUNK) {
            self.chunks.push_back(Arc::default());
        }
        while self.chunks.len() > CHUNKS + 1 {
            self.chunks.pop_front();
        }
        if let Some(last) = self.chunks.back_mut() {
            Arc::make_mut(last).insert(request, outcome);
        }
    }

    /// The chunks as they are to be written down, the oldest first.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Vec<(RequestId, Outcome)>> {
        self.chunks
            .iter()
            .map(|chunk| chunk.iter().map(|(id, o)| (*id, o.clone())).collect())
    }

    /// What [`Requests::chunks`] gave; more than is remembered is forgotten from the front.
    pub(super) fn from_chunks(chunks: Vec<Vec<(RequestId, Outcome)>>) -> Self {
        let mut chunks: VecDeque<Arc<Chunk>> = chunks
            .into_iter()
            .map(|chunk| Arc::new(chunk.into_iter().collect()))
            .collect();
        while chunks.len() > CHUNKS + 1 {
            chunks.pop_front();
        }
        Self { chunks }
    }
}
