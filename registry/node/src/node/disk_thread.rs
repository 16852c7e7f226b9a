//! The disk's own thread: all batches that wait go into one durable transaction.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::disk::{Batch, DiskError, Store};

/// What the disk says.
#[derive(Debug)]
pub(super) enum DiskEvent {
    /// Everything up to this batch is safe.
    Persisted {
        batch: u64,
        entries: usize,
        took: Duration,
    },
    /// A write was not confirmed; the thread has ended.
    Failed(DiskError),
}

/// The way to the thread. Dropping it ends the thread after the writes under way.
pub(super) struct DiskThread {
    batches: Option<Sender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl DiskThread {
    pub(super) fn spawn(store: Store, events: UnboundedSender<DiskEvent>) -> std::io::Result<Self> {
        let (batches, queue) = channel();
        let thread = Builder::new()
            .name("weft-log".to_owned())
            .spawn(move || run(&store, &queue, &events))?;
        Ok(Self {
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    /// Hands over a batch; what comes of it is an event.
    pub(super) fn write(&self, batch: Batch) {
        if let Some(batches) = &self.batches {
            // The thread ends only after it has said why.
            let _ = batches.send(batch);
        }
    }

    /// Ends the thread once it has written what it has, and frees the folder.
    pub(super) fn close(mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, queue: &Receiver<Batch>, events: &UnboundedSender<DiskEvent>) {
    while let Ok(first) = queue.recv() {
        let mut batches = vec![first];
        batches.extend(queue.try_iter().take(BATCHES_MAX - 1));
        let begun = Instant::now();
        let event = match store.write(&batches) {
            Ok(()) => DiskEvent::Persisted {
                batch: batches.last().map_or(0, |batch| batch.number),
                entries: batches.iter().map(Batch::entries).sum(),
                took: begun.elapsed(),
            },
            Err(error) => DiskEvent::Failed(error),
        };
        let failed = matches!(event, DiskEvent::Failed(_));
        if events.send(event).is_err() || failed {
            return;
        }
    }
}

/// Batches in one transaction: bounds how long the first of them waits for the last.
const BATCHES_MAX: usize = 256;
