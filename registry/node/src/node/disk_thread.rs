//! The disk's own thread: all batches that wait go into one durable transaction.
//!
//! While the disk is full the thread waits inside a write, and batches queue up
//! behind it in their order. It also looks how much room there is.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::disk::{Batch, DiskError, Gauge, Room, Store};

/// What the disk says.
#[derive(Debug)]
pub(super) enum DiskEvent {
    /// Everything up to this batch is safe.
    Persisted {
        batch: u64,
        entries: usize,
        /// The last row of history in it.
        row: Option<u64>,
        took: Duration,
    },
    /// A write was not confirmed; the thread has ended.
    Failed(DiskError),
}

/// The way to the thread. Dropping it ends the thread after the writes under way.
pub(super) struct DiskThread {
    batches: Option<Sender<Batch>>,
    thread: Option<JoinHandle<()>>,
    gauge: Arc<Gauge>,
}

impl DiskThread {
    pub(super) fn spawn(store: Store, events: UnboundedSender<DiskEvent>) -> std::io::Result<Self> {
        let (batches, queue) = channel();
        let gauge = store.gauge().clone();
        gauge.be_patient();
        let thread = Builder::new()
            .name("weft-log".to_owned())
            .spawn(move || run(&store, &queue, &events))?;
        Ok(Self {
            batches: Some(batches),
            thread: Some(thread),
            gauge,
        })
    }

    /// How much room the disk has, while the thread runs.
    pub(super) fn room(&self) -> watch::Receiver<Room> {
        self.gauge.watch()
    }

    /// Hands over a batch; what comes of it is an event.
    pub(super) fn write(&self, batch: Batch) {
        if let Some(batches) = &self.batches {
            // The thread ends only after it has said why.
            let _ = batches.send(batch);
        }
    }

    /// Ends the thread once it has written what it has and the disk takes, and frees the folder.
    pub(super) fn close(mut self) {
        self.batches = None;
        self.gauge.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, queue: &Receiver<Batch>, events: &UnboundedSender<DiskEvent>) {
    loop {
        store.gauge().look();
        let first = match queue.recv_timeout(LOOK_INTERVAL) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut batches = vec![first];
        batches.extend(queue.try_iter().take(BATCHES_MAX - 1));
        let begun = Instant::now();
        let event = match store.write(&batches) {
            Ok(()) => DiskEvent::Persisted {
                batch: batches.last().map_or(0, |batch| batch.number),
                entries: batches.iter().map(Batch::entries).sum(),
                row: batches.iter().rev().find_map(Batch::last_row),
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

/// How often the room on the disk is looked at while nothing is written.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Batches in one transaction: bounds how long the first of them waits for the last.
const BATCHES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;
    use tokio::sync::mpsc::unbounded_channel;
    use weft_model::NodeId;
    use weft_model::fixture::name;

    use super::*;
    use crate::disk::{Folder, Space};
    use crate::driver::{Driver, Input, Output, Settings};

    /// Memory whose fsync fails, or which has no room, once it is told so.
    #[derive(Debug, Default)]
    struct Failing {
        memory: InMemoryBackend,
        fails: Arc<AtomicBool>,
        full: Arc<AtomicBool>,
    }

    fn folder() -> Folder {
        Folder {
            domain: name("fed.example.org"),
            node: NodeId(1),
        }
    }

    impl StorageBackend for Failing {
        fn len(&self) -> Result<u64, io::Error> {
            self.memory.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.memory.read(offset, out)
        }
        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            self.memory.set_len(len)
        }
        fn sync_data(&self) -> Result<(), io::Error> {
            match self.fails.load(Ordering::SeqCst) {
                true => Err(io::Error::other("EIO")),
                false => self.memory.sync_data(),
            }
        }
        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            match self.full.load(Ordering::SeqCst) {
                // As a file would: a part of it fits.
                true => {
                    self.memory.write(offset, &data[..data.len() / 2])?;
                    Err(io::ErrorKind::StorageFull.into())
                }
                false => self.memory.write(offset, data),
            }
        }
    }

    /// Batches as a driver hands them out.
    fn batches() -> Vec<Batch> {
        let founding = crate::node::open::tests::founding();
        let (_, first) = crate::found(&founding, weft_model::WallTime(1)).unwrap();
        let mut driver = Driver::open(Settings::new(NodeId(1), 1), first).unwrap();
        let mut batches = Vec::new();
        while batches.len() < 2 {
            driver.handle(Input::Tick);
            for output in driver.take_outputs() {
                if let Output::Persist(batch) = output {
                    driver.handle(Input::Persisted {
                        batch: batch.number,
                    });
                    batches.push(batch);
                }
            }
        }
        batches
    }

    #[tokio::test]
    async fn a_failed_fsync_confirms_nothing_and_ends_the_thread() {
        let fails = Arc::new(AtomicBool::new(false));
        let backend = Failing {
            fails: fails.clone(),
            ..Failing::default()
        };
        let (events, mut from_disk) = unbounded_channel();
        let disk = DiskThread::spawn(Store::on(backend, folder()).unwrap(), events).unwrap();
        let mut batches = batches().into_iter();
        disk.write(batches.next().unwrap());
        let event = from_disk.recv().await.unwrap();
        assert!(
            matches!(event, DiskEvent::Persisted { batch: 1, .. }),
            "{event:?}"
        );
        fails.store(true, Ordering::SeqCst);
        disk.write(batches.next().unwrap());
        let event = from_disk.recv().await.unwrap();
        assert!(
            matches!(event, DiskEvent::Failed(DiskError::Write(_))),
            "{event:?}"
        );
        assert!(from_disk.recv().await.is_none());
    }
    #[tokio::test]
    async fn a_full_disk_delays_what_waits_and_loses_nothing() {
        let full = Arc::new(AtomicBool::new(false));
        let backend = Failing {
            full: full.clone(),
            ..Failing::default()
        };
        let (events, mut from_disk) = unbounded_channel();
        let disk = DiskThread::spawn(Store::on(backend, folder()).unwrap(), events).unwrap();
        let mut room = disk.room();
        full.store(true, Ordering::SeqCst);
        for batch in batches() {
            disk.write(batch);
        }
        let is_full = |room: &Room| room.space == Space::Full;
        room.wait_for(is_full).await.unwrap();
        assert!(from_disk.try_recv().is_err(), "nothing is confirmed");
        full.store(false, Ordering::SeqCst);
        let mut confirmed = 0;
        while confirmed < 2 {
            match from_disk.recv().await.unwrap() {
                DiskEvent::Persisted { batch, .. } => confirmed = batch,
                DiskEvent::Failed(error) => panic!("{error}"),
            }
        }
        room.wait_for(|room| !is_full(room)).await.unwrap();
    }

    #[tokio::test]
    async fn a_thread_that_waits_for_room_can_be_ended() {
        let full = Arc::new(AtomicBool::new(false));
        let backend = Failing {
            full: full.clone(),
            ..Failing::default()
        };
        let (events, mut from_disk) = unbounded_channel();
        let disk = DiskThread::spawn(Store::on(backend, folder()).unwrap(), events).unwrap();
        full.store(true, Ordering::SeqCst);
        disk.write(batches().remove(0));
        let mut room = disk.room();
        room.wait_for(|room| room.space == Space::Full)
            .await
            .unwrap();
        disk.close();
        let event = from_disk.recv().await.unwrap();
        assert!(
            matches!(event, DiskEvent::Failed(DiskError::Full { .. })),
            "{event:?}"
        );
    }
}
