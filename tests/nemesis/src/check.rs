//! The judge: whether there is an order of the operations, each at one moment between its
//! start and its end, that a single copy of the record could have gone through.
//!
//! Just-in-time linearization (Lowe, *Testing for linearizability*, 2017): walk through the
//! starts and ends in the order of time, and keep every *world* that could be: the record's
//! state, and which of the operations under way have taken effect in it. What ends must have
//! taken effect in every world that is kept; if none is left, there is no order. A world
//! remembers only what is under way, so that the length of a history costs nothing.
//!
//! An operation with an unknown end stays under way for ever, and may never take effect. One
//! that wrote what nobody has read is left out: a history that is linearizable with its effect
//! is so without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::{Cell, End, History, Key, Operation};

/// How many worlds are looked at for one record before the judge gives up, which is a verdict
/// of its own. Some tens of seconds.
const WORLDS_MAX: usize = 20_000_000;

/// How many operations before the one that fits nowhere are shown.
const SHOWN: usize = 24;

/// A history that was found linearizable, and what that took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records.
    pub records: usize,
    /// Operations, those of unknown end included.
    pub operations: usize,
    /// Worlds looked at.
    pub worlds: usize,
}

/// Why a history is not known to be linearizable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// In no order does this operation fit.
    NoOrder {
        /// The record.
        key: Key,
        /// The first operation at whose end no world is left.
        at: Operation,
        /// What went before or at the same time, the latest last.
        before: Vec<Operation>,
    },
    /// Too many orders had to be tried: nothing is proved.
    GaveUp {
        /// The record.
        key: Key,
        /// How many worlds were looked at.
        worlds: usize,
    },
}

/// Judges every record of a history.
///
/// # Errors
/// The first record that is not known to be linearizable.
pub fn check(history: &History) -> Result<Checked, Violation> {
    let mut checked = Checked::default();
    for (key, operations) in history.records() {
        let worlds = Judge::new(operations).run(WORLDS_MAX);
        let worlds = worlds.map_err(|found| found.of(key, operations))?;
        checked.records += 1;
        checked.operations += operations.len();
        checked.worlds += worlds;
    }
    Ok(checked)
}

/// An operation's place in its record's list.
type Id = usize;

/// What could be now.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    cell: Cell,
    /// Operations that are under way and have taken effect.
    effective: BTreeSet<Id>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    NoOrder(Id),
    GaveUp(usize),
}

struct Judge<'a> {
    operations: &'a [Operation],
    worlds: BTreeSet<World>,
    under_way: BTreeSet<Id>,
    looked_at: usize,
}

impl<'a> Judge<'a> {
    fn new(operations: &'a [Operation]) -> Self {
        Self {
            operations,
            worlds: BTreeSet::from([World::default()]),
            under_way: BTreeSet::new(),
            looked_at: 0,
        }
    }

    /// How many worlds it took.
    fn run(mut self, worlds_max: usize) -> Result<usize, Found> {
        for (_, moment) in moments(self.operations) {
            match moment {
                Moment::Begins(id) => {
                    self.under_way.insert(id);
                }
                Moment::Ends(id) => self.end(id, worlds_max)?,
            }
        }
        Ok(self.looked_at)
    }

    /// Keeps the worlds in which `id` has taken effect, or can do so now.
    fn end(&mut self, id: Id, worlds_max: usize) -> Result<(), Found> {
        let mut kept = BTreeSet::new();
        let mut seen = std::mem::take(&mut self.worlds);
        let mut open: Vec<World> = seen.iter().cloned().collect();
        while let Some(mut world) = open.pop() {
            self.looked_at += 1;
            if self.looked_at > worlds_max {
                return Err(Found::GaveUp(self.looked_at));
            }
            if world.effective.remove(&id) {
                kept.insert(world);
                continue;
            }
            for next in self.next(&world) {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        if kept.is_empty() {
            return Err(Found::NoOrder(id));
        }
        self.worlds = kept;
        self.under_way.remove(&id);
        self.forget();
        Ok(())
    }

    /// The worlds in which one more operation has taken effect.
    fn next(&self, world: &World) -> Vec<World> {
        let waiting = self.under_way.difference(&world.effective);
        let stepped = waiting.filter_map(|id| {
            let cell = self.operations[*id].act.step(world.cell)?;
            let mut effective = world.effective.clone();
            effective.insert(*id);
            Some(World { cell, effective })
        });
        stepped.collect()
    }

    /// What never ends and has taken effect in every world need not be remembered.
    fn forget(&mut self) {
        let unknown = |id: &Id| self.operations[*id].end == End::Unknown;
        let candidates: Vec<Id> = self.under_way.iter().copied().filter(unknown).collect();
        for id in candidates {
            if self.worlds.iter().all(|w| w.effective.contains(&id)) {
                self.under_way.remove(&id);
                let worlds = std::mem::take(&mut self.worlds).into_iter();
                let without = worlds.map(|mut world| {
                    world.effective.remove(&id);
                    world
                });
                self.worlds = without.collect();
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    // Of one time, starts come first: then the two overlap, and either order may have been.
    Begins(Id),
    Ends(Id),
}

/// Starts and ends in the order of time, without operations that cannot matter.
fn moments(operations: &[Operation]) -> Vec<(u64, Moment)> {
    let reads = operations.iter().filter_map(|operation| match operation {
        Operation {
            act: crate::Act::Read(value),
            end: End::Done(_),
            ..
        } => Some(*value),
        _ => None,
    });
    let read: BTreeSet<u64> = reads.collect();
    let mut moments = Vec::new();
    for (id, operation) in operations.iter().enumerate() {
        match (operation.end, operation.act.written()) {
            (End::Done(at), _) => {
                moments.push((operation.begun, Moment::Begins(id)));
                moments.push((at, Moment::Ends(id)));
            }
            (End::Unknown, Some(value)) if read.contains(&value) => {
                moments.push((operation.begun, Moment::Begins(id)));
            }
            (End::Unknown, _) => {}
        }
    }
    moments.sort_unstable();
    moments
}

impl Found {
    fn of(self, key: &str, operations: &[Operation]) -> Violation {
        let key = key.to_owned();
        match self {
            Self::GaveUp(worlds) => Violation::GaveUp { key, worlds },
            Self::NoOrder(id) => {
                let at = operations[id];
                let end = |operation: &Operation| match operation.end {
                    End::Done(at) => at,
                    End::Unknown => operation.begun,
                };
                let mut before: BTreeMap<(u64, Id), Operation> = BTreeMap::new();
                for (other, operation) in operations.iter().enumerate() {
                    if other != id && operation.begun <= end(&at) {
                        before.insert((end(operation), other), *operation);
                    }
                }
                let hidden = before.len().saturating_sub(SHOWN);
                let before = before.into_values().skip(hidden).collect();
                Violation::NoOrder { key, at, before }
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOrder { key, at, before } => {
                writeln!(f, "{key} is not linearizable: there is no place for")?;
                writeln!(f, "    {at}")?;
                writeln!(f, "  among")?;
                before.iter().try_for_each(|op| writeln!(f, "    {op}"))
            }
            Self::GaveUp { key, worlds } => write!(
                f,
                "{key} is not judged: {worlds} worlds were looked at, and there are more"
            ),
        }
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests;
