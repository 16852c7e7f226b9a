//! A watcher: a client that follows the log from one node to the next.

use std::collections::BTreeSet;

use weft_model::{Index, NodeId};
use weft_registry::watch::{Cursor, Page};

use crate::world::Plan;

pub(crate) struct Watcher {
    pub(crate) number: usize,
    /// Whom it watches now; nobody at first, and while there is nobody.
    pub(crate) at: Option<NodeId>,
    pub(crate) cursor: Cursor,
    /// What was read from history for it, and has not reached it yet.
    pub(crate) page: Option<Page>,
    /// The last entry that it was shown, or where it went on from a state.
    pub(crate) last: Index,
    /// It does not read until then.
    pub(crate) stalls_until: u64,
    /// When it stalls or goes elsewhere next, for no reason.
    pub(crate) next_whim: u64,
    /// What its node had done when it last looked there.
    pub(crate) marked: u64,
    /// It has nothing to do until its node does more.
    pub(crate) waits: bool,
    /// The nodes that told it that they do not reach back so far.
    pub(crate) told: BTreeSet<NodeId>,
}

impl Watcher {
    /// One that wants to know everything since a federation was founded, from some time on.
    pub(crate) fn new(number: usize, plan: &Plan, begins_at: u64) -> Self {
        let from = Index(1);
        Self {
            number,
            at: None,
            cursor: cursor(from, plan),
            page: None,
            last: from,
            stalls_until: begins_at,
            next_whim: begins_at,
            marked: 0,
            waits: false,
            told: BTreeSet::new(),
        }
    }

    /// Whether it does nothing until its node, which has done so much, does more.
    pub(crate) fn sleeps(&self, done: u64) -> bool {
        self.waits && self.marked == done
    }

    /// Begins to watch a node from a position: nothing else is left of the watch before.
    pub(crate) fn attach(&mut self, node: NodeId, from: Index, plan: &Plan) {
        self.at = Some(node);
        self.cursor = cursor(from, plan);
        self.page = None;
        self.waits = false;
    }
}

#[cfg(not(feature = "bugs"))]
fn cursor(from: Index, _: &Plan) -> Cursor {
    Cursor::new(from)
}

#[cfg(feature = "bugs")]
fn cursor(from: Index, plan: &Plan) -> Cursor {
    Cursor::new(from).with(plan.bug)
}
