//! Connection ids that lead their datagrams back to the worker that chose them.

use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator};
use rand::Rng;

/// Chooses random ids whose first byte is, modulo `workers`, this worker.
pub(super) struct WorkerIds {
    worker: u8,
    workers: u8,
}

impl WorkerIds {
    /// Ids of `worker` of `workers`; both fit in a byte since the steering looks at one.
    pub(super) fn new(worker: usize, workers: usize) -> Self {
        let byte = |n: usize| u8::try_from(n).expect("a gateway has at most WORKERS_MAX workers");
        Self {
            worker: byte(worker),
            workers: byte(workers),
        }
    }

    /// The first byte: uniform among those that name this worker.
    fn first_byte(&self, random: u8) -> u8 {
        // How many bytes name this worker: 256 does not divide by every count.
        let (worker, workers) = (u16::from(self.worker), u16::from(self.workers));
        let choices = (256 - worker).div_ceil(workers);
        let byte = worker + workers * (u16::from(random) % choices);
        u8::try_from(byte).expect("the largest choice is below 256")
    }
}

impl ConnectionIdGenerator for WorkerIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; LENGTH];
        rand::rng().fill(&mut id);
        id[0] = self.first_byte(id[0]);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Bytes of an id: as quinn's own.
const LENGTH: usize = 8;

/// The most workers that one byte can steer to.
pub(super) const WORKERS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_names_the_worker() {
        for workers in [1, 2, 3, 5, 7, 127, 128] {
            for worker in 0..workers {
                let ids = WorkerIds::new(worker, workers);
                for random in 0..=255 {
                    assert_eq!(usize::from(ids.first_byte(random)) % workers, worker);
                }
            }
        }
    }

    #[test]
    fn one_worker_uses_every_byte() {
        let ids = WorkerIds::new(0, 1);
        assert!((0..=255).all(|random| ids.first_byte(random) == random));
    }
}
