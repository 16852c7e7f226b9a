//! Raft messages to peers: a bounded queue and one long-lived stream each.
//!
//! The sender never waits: when a peer is slow or away the oldest messages
//! are dropped and counted, since Raft repeats what matters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;
use quinn::{RecvStream, SendStream};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use weft_model::{NodeId, SpiffeId};
use weft_proto::peer::stream_header::Kind;
use weft_proto::peer::{RaftBatch, RaftStream, StreamHeader};

use super::frame::{self, FrameError};
use super::incoming::IncomingStream;
use super::link::{Hold, Link, OpenError};
use super::pieces;
use super::shared::Shared;

/// The queues, by peer.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Mutex<BTreeMap<NodeId, Lane>>,
}

struct Lane {
    queue: Arc<Queue>,
    _writer: AbortOnDropHandle<()>,
}

impl Lanes {
    /// Queues `batch` for `node`.
    pub(super) fn send(&self, shared: &Arc<Shared>, node: NodeId, batch: RaftBatch) {
        if shared.peers.load().get(node).is_none() {
            shared
                .metrics
                .raft_dropped
                .inc_by(batch.messages.len() as u64);
            return;
        }
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(node).or_insert_with(|| {
            let queue = Arc::new(Queue::default());
            let writer = write(Arc::clone(shared), node, Arc::clone(&queue));
            Lane {
                queue,
                _writer: AbortOnDropHandle::new(shared.workers.spawn(0, writer)),
            }
        });
        let dropped = lane.queue.push(batch);
        shared.metrics.raft_dropped.inc_by(dropped);
    }

    /// Forgets the peers that `keep` does not name.
    pub(super) fn retain(&self, keep: impl Fn(NodeId) -> bool) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|node, _| keep(*node));
    }
}

/// Batches that have not been written.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<RaftBatch>,
    messages: usize,
    bytes: usize,
}

impl Queue {
    /// Adds a batch; says how many messages were dropped for it.
    fn push(&self, batch: RaftBatch) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.messages += batch.messages.len();
        waiting.bytes += batch.encoded_len();
        waiting.batches.push_back(batch);
        let before = waiting.messages;
        // The newest batch stays whatever its size: it may be a snapshot.
        while waiting.batches.len() > 1
            && (waiting.messages > MESSAGES_MAX || waiting.bytes > BYTES_MAX)
        {
            waiting.pop();
        }
        self.ready.notify_one();
        (before - waiting.messages) as u64
    }

    async fn next(&self) -> RaftBatch {
        loop {
            let popped = self
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            match popped {
                Some(batch) => return batch,
                None => self.ready.notified().await,
            }
        }
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<RaftBatch> {
        let batch = self.batches.pop_front()?;
        self.messages -= batch.messages.len();
        self.bytes -= batch.encoded_len();
        Some(batch)
    }
}

/// Writes what `queue` holds to the control connection in use.
async fn write(shared: Arc<Shared>, node: NodeId, queue: Arc<Queue>) {
    let mut links = shared.links.subscribe();
    loop {
        links.mark_unchanged();
        let link = shared.links.load().control(shared.node, node).cloned();
        let Some(link) = link else {
            if links.changed().await.is_err() {
                return;
            }
            continue;
        };
        match open(&link).await {
            Ok((send, _hold)) => write_on(&shared, &link, send, &queue).await.unwrap_or_else(
                // The next control connection goes on with what is queued.
                |error| tracing::debug!(node = node.0, %error, "a Raft stream broke"),
            ),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn open(link: &Arc<Link>) -> Result<(SendStream, Hold), OpenError> {
    let header = StreamHeader {
        kind: Some(Kind::Raft(RaftStream {})),
    };
    let (send, hold) = link.open_one_way(&header).await?;
    // Before catalog and RPC streams; it fails only on a stream that has ended.
    let _ = send.set_priority(PRIORITY);
    Ok((send, hold))
}

/// Writes on one stream until another control connection takes over or this one breaks.
async fn write_on(
    shared: &Shared,
    link: &Arc<Link>,
    mut send: SendStream,
    queue: &Queue,
) -> Result<(), quinn::WriteError> {
    let mut links = shared.links.subscribe();
    loop {
        links.mark_unchanged();
        let in_use = shared
            .links
            .load()
            .control(shared.node, link.origin.node)
            .is_some_and(|used| used.sequence == link.sequence);
        if !in_use {
            let _ = send.finish();
            return Ok(());
        }
        tokio::select! {
            batch = queue.next() => {
                frame::write_frame(&mut send, Bytes::from(batch.encode_to_vec())).await?;
            }
            _ = links.changed() => {}
        }
    }
}

/// The Raft messages of one peer.
pub struct RaftReceiver {
    /// The peer's proven identity.
    pub peer: SpiffeId,
    /// The peer's node.
    pub node: NodeId,
    recv: RecvStream,
    _hold: Hold,
}

impl RaftReceiver {
    /// Takes a Raft stream; none if `stream` is of another kind.
    pub fn new(stream: IncomingStream) -> Option<Self> {
        matches!(stream.header.kind, Some(Kind::Raft(_))).then(|| Self {
            peer: stream.peer,
            node: stream.node,
            recv: stream.recv,
            _hold: stream.hold,
        })
    }

    /// The next batch; none when the peer has ended the stream in favour of another.
    ///
    /// # Errors
    /// The stream broke, or a batch is too long, has too many messages and entries, or does not
    /// decode.
    pub async fn next(&mut self) -> Result<Option<RaftBatch>, FrameError> {
        let Some(frame) = frame::read_frame(&mut self.recv, BATCH_MAX).await? else {
            return Ok(None);
        };
        let pieces = pieces::count(&frame);
        if pieces > PIECES_MAX {
            return Err(FrameError::TooMany {
                pieces,
                limit: PIECES_MAX,
            });
        }
        RaftBatch::decode(frame)
            .map(Some)
            .map_err(FrameError::Decode)
    }
}

/// Messages that wait for one peer.
const MESSAGES_MAX: usize = 1024;
/// Bytes that wait for one peer.
const BYTES_MAX: usize = 32 << 20;
/// The longest batch that is read, in bytes.
const BATCH_MAX: usize = 64 << 20;
/// Messages and entries in a batch, all told: more than entries of the shortest command that
/// fill what may wait for a peer.
const PIECES_MAX: usize = 1 << 18;
/// Above the other streams of a control connection, whose priority is 0.
const PRIORITY: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use weft_proto::peer::RaftMessage;

    #[tokio::test]
    async fn a_full_queue_drops_the_oldest() {
        let queue = Queue::default();
        let batch = |index| RaftBatch {
            messages: vec![RaftMessage {
                index,
                ..RaftMessage::default()
            }],
        };
        let dropped: u64 = (0..MESSAGES_MAX as u64 + 3)
            .map(|index| queue.push(batch(index)))
            .sum();
        assert_eq!(dropped, 3);
        assert_eq!(queue.next().await.messages[0].index, 3);
    }

    #[tokio::test]
    async fn a_batch_beyond_the_byte_bound_is_kept_alone() {
        let queue = Queue::default();
        let snapshot = RaftBatch {
            messages: vec![RaftMessage {
                context: vec![0; BYTES_MAX + 1].into(),
                ..RaftMessage::default()
            }],
        };
        assert_eq!(queue.push(RaftBatch::default()), 0);
        assert_eq!(queue.push(snapshot.clone()), 0);
        assert_eq!(queue.next().await, snapshot);
    }
}
