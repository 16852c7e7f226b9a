//! The table of services behind one pointer: the catalog client stores, workers load.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;
use weft_decide::ServiceTable;

/// Where the current [`ServiceTable`] is. Clones share it.
///
/// A reader never waits and never locks; a task that must act on a change
/// (close connections, rebuild an answer) waits on [`TableSource::changed`].
#[derive(Clone)]
pub struct TableSource {
    shared: Arc<Shared>,
}

struct Shared {
    current: ArcSwap<ServiceTable>,
    generation: watch::Sender<u64>,
}

impl TableSource {
    /// A source that holds `table`.
    pub fn new(table: ServiceTable) -> Self {
        Self {
            shared: Arc::new(Shared {
                current: ArcSwap::from_pointee(table),
                generation: watch::Sender::new(0),
            }),
        }
    }

    /// The table now.
    pub fn load(&self) -> Guard<Arc<ServiceTable>> {
        self.shared.current.load()
    }

    /// The table now, to keep.
    pub fn load_full(&self) -> Arc<ServiceTable> {
        self.shared.current.load_full()
    }

    /// Replaces the table and tells those who wait.
    pub fn store(&self, table: Arc<ServiceTable>) {
        self.shared.current.store(table);
        self.shared.generation.send_modify(|count| *count += 1);
    }

    /// Whether a table was ever stored: before that there is only the one it began with.
    pub fn is_loaded(&self) -> bool {
        *self.shared.generation.borrow() > 0
    }

    /// Counts [`TableSource::store`] calls; changes after the pointer did.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }
}
