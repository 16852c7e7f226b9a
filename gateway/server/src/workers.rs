//! The data plane's threads: one per core, each a single-threaded runtime.
//!
//! Workers share nothing but what the futures they are given share. A QUIC
//! connection's driver, its timers and its socket live on the worker that
//! opened it; its streams may be used from any runtime.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet};

type Local = Pin<Box<dyn Future<Output = ()>>>;
type MakeLocal = Box<dyn FnOnce() -> Local + Send>;

/// The running workers. Clones share them; the threads end when the last is gone.
#[derive(Clone)]
pub struct Workers {
    workers: Arc<[Worker]>,
}

struct Worker {
    handle: Handle,
    make: mpsc::UnboundedSender<MakeLocal>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// The runtime's descriptors or the thread could not be made.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let workers = (0..count.get())
            .map(Worker::start)
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            workers: workers.into(),
        })
    }

    /// How many there are; at least one.
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Runs `future` on `worker`, counted from 0.
    ///
    /// # Panics
    /// There is no such worker.
    pub fn spawn<F>(&self, worker: usize, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.workers[worker].handle.spawn(future)
    }

    /// Runs on `worker` a future that never leaves its thread, made there by `make`.
    ///
    /// # Panics
    /// There is no such worker.
    pub fn spawn_local<M, F>(&self, worker: usize, make: M)
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let make: MakeLocal = Box::new(move || Box::pin(make()));
        // The thread lives as long as this sender, so the send cannot fail.
        let _ = self.workers[worker].make.send(make);
    }

    /// The runtime of `worker`.
    ///
    /// # Panics
    /// There is no such worker.
    pub fn handle(&self, worker: usize) -> &Handle {
        &self.workers[worker].handle
    }
}

impl Worker {
    fn start(index: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (make, mut made) = mpsc::unbounded_channel::<MakeLocal>();
        thread::Builder::new()
            .name(format!("weft-worker-{index}"))
            .spawn(move || {
                LocalSet::new().block_on(&runtime, async move {
                    while let Some(make) = made.recv().await {
                        tokio::task::spawn_local(make());
                    }
                });
                // Tasks that hold sockets are dropped here, on their own thread.
                drop(runtime);
            })?;
        Ok(Self { handle, make })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn each_worker_is_one_thread_of_its_own() {
        let workers = Workers::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let (tell, told) = mpsc::channel();
        for worker in [0, 1, 0, 1] {
            let tell = tell.clone();
            workers.spawn(worker, async move {
                tell.send((worker, thread::current().id())).unwrap();
            });
        }
        let mut seen: Vec<_> = (0..4)
            .map(|_| told.recv_timeout(Duration::from_secs(5)).unwrap())
            .collect();
        seen.sort_by_key(|(worker, _)| *worker);
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[2], seen[3]);
        assert_ne!(seen[0].1, seen[2].1);
    }

    #[test]
    fn local_futures_need_not_be_send() {
        let workers = Workers::start(NonZeroUsize::MIN).unwrap();
        let (tell, told) = mpsc::channel();
        workers.spawn_local(0, move || {
            let count = Rc::new(Cell::new(1));
            async move {
                tokio::task::yield_now().await;
                count.set(count.get() + 1);
                tell.send(count.get()).unwrap();
            }
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), 2);
    }
}
