//! Monotonic time for the decisions of a worker.

use tokio::time::Instant;
use weft_decide::Tick;

/// Reads the runtime's clock, which tests may pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Tick {
        Tick::at(self.start.elapsed())
    }
}
