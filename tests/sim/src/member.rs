//! A node: its driver while it runs, and its disk, which outlives it.

use weft_model::NodeId;
use weft_registry::disk::{MemoryDisk, Space, Stored};
use weft_registry::driver::{Driver, Input, Output, Settings};

use crate::world::Plan;

pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) driver: Option<Driver>,
    pub(crate) disk: MemoryDisk,
    /// When the oldest write under way is safe.
    pub(crate) synced_at: Option<u64>,
    /// When it comes back, while it is down.
    pub(crate) restart_at: Option<u64>,
    /// The room on its disk; a crash frees none.
    pub(crate) space: Space,
    /// When there is enough again.
    pub(crate) freed_at: Option<u64>,
    runs: u64,
}

impl Member {
    pub(crate) fn new(node: NodeId, first: Option<&Stored>) -> Self {
        let disk = match first {
            Some(stored) => MemoryDisk::founded(stored),
            None => MemoryDisk::new(),
        };
        Self {
            node,
            driver: None,
            disk,
            synced_at: None,
            restart_at: None,
            space: Space::Enough,
            freed_at: None,
            runs: 0,
        }
    }

    /// Starts from what the disk holds.
    pub(crate) fn start(&mut self, plan: &Plan) -> Result<(), String> {
        self.runs += 1;
        self.restart_at = None;
        let settings = Settings {
            snapshot_entries: 40,
            tail_entries: 10,
            #[cfg(feature = "bugs")]
            bug: plan.bug,
            ..Settings::new(self.node, plan.seed ^ (self.runs << 32))
        };
        let stored = self.disk.load().map_err(|damage| damage.to_string())?;
        let driver = Driver::open(settings, stored).map_err(|error| error.to_string())?;
        self.driver = Some(driver);
        self.handle(Input::Space(self.space));
        Ok(())
    }

    /// The room on its disk changes. While there is none, no write ends.
    pub(crate) fn set_space(&mut self, space: Space, freed_at: Option<u64>) {
        self.space = space;
        self.freed_at = freed_at;
        self.handle(Input::Space(space));
    }

    /// Loses power; the oldest `survivors` of the writes under way were done all the same.
    pub(crate) fn crash(&mut self, survivors: usize, restart_at: u64) {
        self.driver = None;
        self.disk.crash(survivors);
        self.synced_at = None;
        self.restart_at = Some(restart_at);
    }

    pub(crate) fn handle(&mut self, input: Input) {
        if let Some(driver) = &mut self.driver {
            driver.handle(input);
        }
    }

    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        match &mut self.driver {
            Some(driver) => driver.take_outputs(),
            None => Vec::new(),
        }
    }
}
