//! The clamps that this gateway knows, behind one pointer: whoever keeps and hears of them stores,
//! what weighs releases loads.

use std::sync::Arc;

use tokio::sync::watch;
use weft_model::Clamp;

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
