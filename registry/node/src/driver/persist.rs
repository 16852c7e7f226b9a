//! What must be on the disk before what may be said: batches on their way, and
//! the messages that wait for them.

use raft::Ready;
use raft::eraftpb::{Entry, Message, MessageType};
use weft_model::Index;

use super::Driver;
#[cfg(feature = "bugs")]
use super::input::Bug;
use super::output::Output;
use crate::disk::{Batch, Compaction, Mark};
use crate::image::Image;
use crate::wire;

/// A batch that is not on the disk yet.
pub(super) struct Unpersisted {
    batch: u64,
    /// The term that the disk knows then.
    term: u64,
    /// The library's number for it; 0 if the library knows nothing of it.
    ready: u64,
    /// What may be said once it is on the disk.
    held: Vec<Message>,
    /// The size of its entries.
    pub(super) bytes: usize,
    /// The state that becomes this node's once it is on the disk.
    install: Option<Box<Image>>,
}

/// What promises nothing about the disk, and what has to wait for it.
///
/// The library holds back all that a follower says. An answer to a heartbeat only says
/// that this node follows now, and a read only asks: both must go out while the disk is
/// slow or full, or a leader would lose its quorum for want of room on a follower.
pub(super) fn split(messages: Vec<Message>) -> (Vec<Message>, Vec<Message>) {
    messages.into_iter().partition(|message| {
        matches!(
            message.get_msg_type(),
            MessageType::MsgHeartbeatResponse | MessageType::MsgReadIndex
        )
    })
}

impl Driver {
    pub(super) fn handle_persisted(&mut self, batch: u64) {
        while self
            .unpersisted
            .front()
            .is_some_and(|waiting| waiting.batch <= batch)
        {
            if let Some(waiting) = self.unpersisted.pop_front() {
                self.settle_batch(waiting);
            }
        }
    }

    /// Whether a leader's snapshot is on its way to the disk: the library knows of it, and
    /// neither its state nor the log before it is here.
    pub(super) fn is_installing(&self) -> bool {
        self.unpersisted.iter().any(|batch| batch.install.is_some())
    }

    /// Whether what a leader says without waiting for its disk may be said.
    ///
    /// A lone voter leads without having asked anybody, and so before its disk knows the term. If it
    /// spoke then and lost its power, it would lead that term a second time, with other entries at
    /// the same positions. What it would say counts as lost on its way: the next heartbeat makes up
    /// for that.
    pub(super) fn may_lead(&self) -> bool {
        self.raw.raft.term <= self.saved_term
    }

    fn settle_batch(&mut self, waiting: Unpersisted) {
        self.saved_term = self.saved_term.max(waiting.term);
        if waiting.ready > 0 {
            self.raw.on_persist_ready(waiting.ready);
        }
        if let Some(image) = waiting.install {
            let index = image.index;
            self.raw.mut_store().install(*image);
            self.raw.advance_apply_to(index.0);
            let was_fenced = self.lower_fence();
            self.note_founding();
            self.outputs.push(Output::Installed { index, was_fenced });
            self.note_membership();
        }
        self.send(waiting.held);
    }

    /// Takes a ready's writes into the replica. None if the disk need not know at once.
    pub(super) fn stage(&mut self, ready: &mut Ready) -> Option<(Vec<Entry>, Option<Box<Image>>)> {
        let must_write = ready.must_sync();
        let entries = ready.take_entries();
        let store = self.raw.mut_store();
        if let Some(hard) = ready.hs() {
            store.set_hard(hard.clone());
            self.commit_unsaved = true;
        }
        let mut install = None;
        if !ready.snapshot().is_empty() {
            let metadata = ready.snapshot().get_metadata();
            store.restart_after(metadata.index, metadata.term);
            let arrived = self
                .incoming
                .take()
                .filter(|image| image.index.0 == metadata.index);
            install = Some(match arrived {
                Some(image) => image,
                None => Box::new(
                    wire::decode_image(ready.snapshot())
                        .expect("a snapshot is decoded before the library sees it"),
                ),
            });
        }
        store.append(&entries);
        must_write.then_some((entries, install))
    }

    /// Hands a batch to the disk; `held` is said once it is there.
    pub(super) fn write(
        &mut self,
        ready: u64,
        entries: Vec<Entry>,
        install: Option<Box<Image>>,
        held: Vec<Message>,
    ) {
        self.commit_unsaved = false;
        if let Some(image) = &install {
            self.compacted = image.index.0;
            self.history.begin_after(image.index.0);
        }
        let (begin, rows) = self.history.take();
        let lowers = install.is_some() && self.fence.is_up();
        let batch = Batch {
            install: install.clone(),
            entries,
            begin,
            rows,
            fence: lowers.then_some(Mark::Lowered),
            ..self.next_batch()
        };
        self.queue(ready, batch, install, held);
    }

    fn queue(&mut self, ready: u64, batch: Batch, install: Option<Box<Image>>, held: Vec<Message>) {
        #[cfg(feature = "bugs")]
        let (ready, batch, held) = self.misbehave(ready, batch, held);
        self.unpersisted.push_back(Unpersisted {
            batch: batch.number,
            term: batch.hard.term,
            ready,
            bytes: batch.entries.iter().map(|entry| entry.data.len()).sum(),
            held,
            install,
        });
        self.outputs.push(Output::Persist(batch));
    }

    /// Nothing to write; what is held still waits for the writes before it.
    pub(super) fn pass(&mut self, ready: u64, held: Vec<Message>) {
        match self.unpersisted.back_mut() {
            Some(last) => {
                last.ready = ready;
                last.held.extend(held);
            }
            None => {
                self.raw.on_persist_ready(ready);
                self.send(held);
            }
        }
    }

    /// Writes a snapshot once enough was applied since the last, and forgets the log before its tail.
    pub(super) fn compact(&mut self) {
        let applied = self.image().index.0;
        let due = applied.saturating_sub(self.compacted) >= self.settings.snapshot_entries;
        if !due || self.is_installing() {
            return;
        }
        let previous = std::mem::replace(&mut self.compacted, applied);
        let keep_after = applied.saturating_sub(self.settings.tail_entries);
        let store = self.raw.mut_store();
        store.compact(keep_after);
        let compaction = Compaction {
            image: store.image().clone(),
            through: store.before(),
            archived: (previous, self.history.close_segment()),
            bounds: self.settings.history,
        };
        let (begin, rows) = self.history.take();
        self.commit_unsaved = false;
        let batch = Batch {
            compaction: Some(Box::new(compaction)),
            begin,
            rows,
            ..self.next_batch()
        };
        self.queue(0, batch, None, Vec::new());
    }

    /// Writes that this replica is fenced, which a restart must not forget.
    pub(super) fn write_fence(&mut self, at: Index) {
        let fence = Some(Mark::Raised(at));
        let batch = Batch {
            fence,
            ..self.next_batch()
        };
        self.queue(0, batch, None, Vec::new());
    }

    /// The next batch, with nothing in it yet.
    fn next_batch(&mut self) -> Batch {
        self.batches += 1;
        Batch {
            number: self.batches,
            hard: self.raw.store().hard().clone(),
            install: None,
            entries: Vec::new(),
            compaction: None,
            begin: None,
            rows: Vec::new(),
            fence: None,
        }
    }

    /// Faults that the simulation must catch; see [`Bug`].
    #[cfg(feature = "bugs")]
    fn misbehave(
        &mut self,
        ready: u64,
        mut batch: Batch,
        held: Vec<Message>,
    ) -> (u64, Batch, Vec<Message>) {
        match self.settings.bug {
            Some(Bug::PersistedTooSoon) if ready > 0 && batch.install.is_none() => {
                self.raw.on_persist_ready(ready);
                self.send(held);
                (0, batch, Vec::new())
            }
            Some(Bug::SpeakTooSoon) => {
                self.send(held);
                (ready, batch, Vec::new())
            }
            Some(Bug::ForgetVote) => {
                batch.hard.vote = 0;
                (ready, batch, held)
            }
            _ => (ready, batch, held),
        }
    }
}
