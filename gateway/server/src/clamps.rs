//! The clamps that this gateway knows, behind one pointer: the keeper, which has them on disk and
//! hears of them, stores; what weighs releases loads.

mod file;
mod keeper;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;
use weft_model::Clamp;

pub use file::ClampFileError;
pub(crate) use file::{read, write};
pub use keeper::{ClampError, ClampKeeper};

/// Where the clamps are. Clones share it.
#[derive(Debug, Clone)]
pub struct ClampSource {
    current: watch::Sender<Arc<[Clamp]>>,
}

impl Default for ClampSource {
    fn default() -> Self {
        Self {
            current: watch::Sender::new(Arc::default()),
        }
    }
}

impl ClampSource {
    /// The clamps now.
    pub fn load(&self) -> Arc<[Clamp]> {
        Arc::clone(&self.current.borrow())
    }

    /// Replaces them. From the next table on they count.
    pub fn store(&self, clamps: Arc<[Clamp]>) {
        self.current.send_if_modified(|current| {
            let news = *current != clamps;
            *current = clamps;
            news
        });
    }

    /// Wakes who must act on a change.
    pub fn changed(&self) -> watch::Receiver<Arc<[Clamp]>> {
        self.current.subscribe()
    }
}
