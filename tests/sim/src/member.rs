//! A node: its driver while it runs, its clocks, and its disk, which outlives it. A follower's does not.

use std::collections::{BTreeSet, VecDeque};

use weft_model::{FederationDomain, Index, NodeId, WallTime};
use weft_registry::Record;
use weft_registry::disk::{Bounds, Folder, HISTORY_BYTES, SimulatedDisk, Space, Stored};
use weft_registry::driver::{Driver, Following, Input, Output, Settings};
use weft_registry::watch::{Judged, Ring};

use crate::world::{Plan, TICK};

pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) driver: Option<Driver>,
    /// What it shows to watchers while it runs.
    pub(crate) ring: Option<Ring>,
    /// How often something happened that wakes them.
    pub(crate) done: u64,
    /// Where its history began last, by a founding or a state that it was sent.
    jumped: Index,
    pub(crate) disk: SimulatedDisk,
    /// When the oldest write under way is safe.
    pub(crate) synced_at: Option<u64>,
    /// When it comes back, while it is down.
    pub(crate) restart_at: Option<u64>,
    /// When it goes on, while it stands still.
    pub(crate) resumes_at: Option<u64>,
    /// It loses power for so long in the middle of its next write.
    pub(crate) doomed: Option<u64>,
    /// The room on its disk; a crash frees none.
    pub(crate) space: Space,
    /// When there is enough again.
    pub(crate) freed_at: Option<u64>,
    pub(crate) clock: Clock,
    /// What a follower keeps, in place of a disk: whom it may believe when it starts.
    pub(crate) heeds: Option<BTreeSet<NodeId>>,
    /// What came in while it stood still.
    inbox: VecDeque<Input>,
    /// How often it started.
    pub(crate) runs: u64,
}

/// A node's clocks: neither the wall's nor the ticks' are true.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Milliseconds that the wall clock is off.
    pub(crate) off: i64,
    /// Units of time that it takes for a tick.
    pub(crate) tick: u64,
    next: u64,
}

/// What the system keeps for a process that does not read.
const INBOX_MAX: usize = 400;
/// What history may take: little, so that it is trimmed in some runs.
const HISTORY: Bounds = Bounds {
    entries: 60,
    bytes: HISTORY_BYTES,
};
/// Entries kept for watchers: few, so that they often come too late.
const RING: usize = 8;

impl Clock {
    /// Whether such ticks are more than a drift: nothing can be expected of a node by its time.
    pub(crate) fn races(tick: u64) -> bool {
        !(TICK / 2..=TICK * 2).contains(&tick)
    }

    /// A clock that races goes right again; one that drifts goes on.
    pub(crate) fn settle(&mut self) {
        if Self::races(self.tick) {
            self.tick = TICK;
            self.next = 0;
        }
    }

    /// Whether a tick is due.
    pub(crate) fn ticks(&mut self, now: u64) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now + self.tick;
        }
        due
    }

    /// What the wall clock shows, told what is true.
    pub(crate) fn wall(&self, now: WallTime) -> WallTime {
        WallTime(now.0.saturating_add_signed(self.off))
    }
}

impl Member {
    pub(crate) fn new(node: NodeId, first: Option<&Stored>) -> Result<Self, String> {
        Ok(Self {
            node,
            driver: None,
            ring: None,
            done: 0,
            jumped: Index(1),
            disk: disk(node, first)?,
            synced_at: None,
            restart_at: None,
            resumes_at: None,
            doomed: None,
            space: Space::Enough,
            freed_at: None,
            clock: Clock {
                off: 0,
                tick: TICK,
                next: node.0 * 3 % TICK,
            },
            heeds: None,
            inbox: VecDeque::new(),
            runs: 0,
        })
    }

    /// One without a vote or a disk.
    pub(crate) fn follower(node: NodeId, heeds: BTreeSet<NodeId>) -> Result<Self, String> {
        Ok(Self {
            heeds: Some(heeds),
            ..Self::new(node, None)?
        })
    }

    pub(crate) fn follows(&self) -> bool {
        self.heeds.is_some()
    }

    /// Whether it runs, and has begun anew and been sent nothing yet.
    pub(crate) fn knows_nothing(&self) -> bool {
        let driver = self.driver.as_ref();
        driver.is_some_and(|driver| driver.image().index == Index(0))
    }

    /// Starts from what the disk holds; says up to where the state was known without the log.
    pub(crate) fn start(&mut self, plan: &Plan) -> Result<Index, String> {
        self.runs += 1;
        self.restart_at = None;
        if self.follows() {
            // Its store is in memory, and goes with the process.
            self.disk = disk(self.node, None)?;
        }
        let following = self.heeds.clone().map(|heeds| Following { heeds });
        let settings = Settings {
            snapshot_entries: 40,
            tail_entries: 10,
            history: HISTORY,
            following,
            #[cfg(feature = "bugs")]
            bug: plan.bug,
            ..Settings::new(self.node, plan.seed ^ (self.runs << 32))
        };
        #[cfg(feature = "bugs")]
        self.disk.plant(plan.bug);
        let stored = self.disk.load().map_err(|error| error.to_string())?;
        let from = stored.applied();
        if self.disk.history().0 == Some(from.0) {
            // It may have died once the state that it was sent was on the disk.
            self.jumped = from;
        }
        let driver = Driver::open(settings, stored).map_err(|error| error.to_string())?;
        self.ring = Some(Ring::new(driver.image().index, RING));
        self.driver = Some(driver);
        self.handle(Input::Space(self.space));
        Ok(from)
    }

    /// The room on its disk changes. While there is none, no write ends.
    pub(crate) fn set_space(&mut self, space: Space, freed_at: Option<u64>) {
        self.space = space;
        self.freed_at = freed_at;
        self.handle(Input::Space(space));
    }

    /// It is not running any more; what it was sent and had not read is gone.
    pub(crate) fn stop(&mut self, restart_at: u64) {
        self.driver = None;
        self.ring = None;
        self.inbox.clear();
        self.synced_at = None;
        self.resumes_at = None;
        self.doomed = None;
        self.restart_at = Some(restart_at);
    }

    /// Goes on after a pause, with all that has come in since.
    pub(crate) fn resume(&mut self, now: WallTime) {
        self.resumes_at = None;
        let time = self.clock.wall(now);
        for mut input in std::mem::take(&mut self.inbox) {
            // A proposal is stamped when it is read.
            if let Input::Propose { now, .. } = &mut input {
                *now = time;
            }
            self.handle(input);
        }
    }

    pub(crate) fn handle(&mut self, input: Input) {
        match &mut self.driver {
            Some(_) if self.resumes_at.is_some() => {
                let must = matches!(input, Input::Space(_));
                if must || self.inbox.len() < INBOX_MAX {
                    self.inbox.push_back(input);
                }
            }
            Some(driver) => driver.handle(input),
            None => {}
        }
    }

    /// A write is safe.
    pub(crate) fn persisted(&mut self, batch: u64) {
        self.done += 1;
        self.handle(Input::Persisted { batch });
    }

    /// Shows what was applied to watchers, as a registry does.
    pub(crate) fn show(&mut self, record: &Record) {
        self.done += 1;
        let answer = record.answer.as_ref();
        let judged = answer.and_then(|answer| {
            let (origin, events) = (record.origin.clone(), record.events.clone());
            Judged::of(record.index, origin, answer, events)
        });
        if let (Some(ring), Some(judged)) = (&self.ring, judged) {
            ring.push(judged);
        }
    }

    /// The state jumped.
    pub(crate) fn jump(&mut self, to: Index) {
        self.done += 1;
        self.jumped = to;
        if let Some(ring) = &self.ring {
            ring.restart(to);
        }
    }

    /// Whether its history begins later than it once did, to keep within its bounds.
    pub(crate) fn has_trimmed(&self) -> bool {
        let begins = self.disk.history().0;
        begins.is_some_and(|begins| begins > self.jumped.0)
    }

    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        match &mut self.driver {
            Some(driver) => driver.take_outputs(),
            None => Vec::new(),
        }
    }
}

/// A disk that holds nothing yet, or what a founder's holds first.
fn disk(node: NodeId, first: Option<&Stored>) -> Result<SimulatedDisk, String> {
    let domain: FederationDomain = weft_model::fixture::name("fed.example.org");
    SimulatedDisk::new(Folder { domain, node }, first).map_err(|error| error.to_string())
}
