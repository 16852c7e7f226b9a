//! The watchers' part: what they are shown, and when they go elsewhere.

use rand::Rng;
use rand::seq::IndexedRandom;
use weft_model::{Index, NodeId};
use weft_registry::WatchError;
use weft_registry::watch::{Progress, Step};

use super::{Phase, World};
use crate::coverage::Seen;

/// Units of time between two whims of a watcher, at most.
const WHIMS_APART: u64 = 350;

impl World {
    /// Lets the watchers of a node look, between what its disk has done and what it makes of that.
    pub(super) fn show(&mut self, node: NodeId) -> Result<(), String> {
        let Some(done) = self.members.get(&node).map(|member| member.done) else {
            return Ok(());
        };
        for at in 0..self.watchers.len() {
            let watcher = &self.watchers[at];
            let stalls = watcher.stalls_until > self.now;
            if watcher.at != Some(node) || stalls || watcher.sleeps(done) {
                continue;
            }
            for _ in 0..self.watching.random_range(0..=3) {
                self.advance(at, node)?;
            }
        }
        Ok(())
    }

    /// One step of a watch.
    fn advance(&mut self, at: usize, node: NodeId) -> Result<(), String> {
        let Some(member) = self.members.get(&node) else {
            return Ok(());
        };
        let (Some(ring), watcher) = (&member.ring, &mut self.watchers[at]) else {
            return Ok(());
        };
        if watcher.at != Some(node) || watcher.sleeps(member.done) {
            return Ok(());
        }
        watcher.waits = false;
        // The disk takes its time: meanwhile the node goes on.
        if let Some(page) = watcher.page.take() {
            return match watcher.cursor.read(page) {
                Ok(Progress::Further) => {
                    self.seen.note(Seen::WatchedFromHistory);
                    Ok(())
                }
                Ok(Progress::NotYet) => {
                    watcher.waits = true;
                    Ok(())
                }
                Err(error) => self.give_up(at, node, &error),
            };
        }
        watcher.marked = member.done;
        match watcher.cursor.next(ring) {
            Step::Entry(entry) => {
                let (now, number, index) = (self.now, watcher.number, entry.index);
                self.trace
                    .note(&[9, now, number as u64, node.0, index.0], || {
                        format!("{now} watcher {number} is shown {index} by {node}")
                    });
                self.seen.note(Seen::Watched);
                watcher.last = index;
                watcher.told.clear();
                let log = &self.invariants.agreement;
                self.invariants.watched.check(number, &entry, log)
            }
            Step::Read { after } => match member.disk.page(after) {
                Ok(page) => {
                    watcher.page = Some(page);
                    Ok(())
                }
                Err(error) => self.give_up(at, node, &error),
            },
            Step::Wait => {
                watcher.waits = true;
                Ok(())
            }
        }
    }

    /// A watch ends with a reason. The one reason that there is here: history begins later.
    fn give_up(&mut self, at: usize, node: NodeId, error: &WatchError) -> Result<(), String> {
        let watcher = &mut self.watchers[at];
        let (number, position) = (watcher.number, watcher.cursor.position());
        let begins = self
            .members
            .get(&node)
            .and_then(|member| member.disk.history().0);
        match error {
            WatchError::Compacted { first } if position < *first && Some(first.0) <= begins => {
                self.seen.note(Seen::WatchCompacted);
                watcher.told.insert(node);
                watcher.at = None;
                Ok(())
            }
            error => Err(format!(
                "watcher {number} at {position} is told by node {node}, whose history begins at {begins:?}: {error}"
            )),
        }
    }

    /// Watchers stall, and leave nodes that are gone, stand still or do not reach back so far.
    pub(super) fn run_watchers(&mut self, phase: Phase) -> Result<(), String> {
        for at in 0..self.watchers.len() {
            let whim = phase == Phase::Storm && self.has_whim(at);
            let leaves = match self.watchers[at].at {
                None => true,
                Some(node) if !self.serves(node) => true,
                Some(node) => whim || self.stands_still(node) && self.watching.random_bool(0.02),
            };
            if leaves {
                self.move_watcher(at)?;
            }
        }
        Ok(())
    }

    /// Now and then it stops to read for a while, or wants to go elsewhere.
    fn has_whim(&mut self, at: usize) -> bool {
        let watcher = &mut self.watchers[at];
        if watcher.next_whim > self.now {
            return false;
        }
        watcher.next_whim = self.now + self.watching.random_range(1..WHIMS_APART);
        let leaves = self.watching.random_bool(0.3);
        if !leaves {
            watcher.stalls_until = self.now + self.watching.random_range(20..400);
        }
        leaves
    }

    fn move_watcher(&mut self, at: usize) -> Result<(), String> {
        let serving: Vec<NodeId> = self
            .members
            .keys()
            .copied()
            .filter(|node| self.serves(*node))
            .collect();
        let watcher = &mut self.watchers[at];
        let before = watcher.at;
        let reaches = |node: &&NodeId| !watcher.told.contains(node) && before != Some(**node);
        let others: Vec<NodeId> = serving.iter().filter(reaches).copied().collect();
        if let Some(to) = others.choose(&mut self.watching).copied() {
            // A client knows what it was shown, or what it was told to go on from.
            let from = match self.watching.random_bool(0.5) {
                true => watcher.cursor.position(),
                false => watcher.last,
            };
            watcher.attach(to, from, &self.plan);
            self.seen.note(Seen::WatchMoved);
            return Ok(());
        }
        if let Some(node) = before {
            // There is no other: it stays while this one can still be asked.
            watcher.at = serving.contains(&node).then_some(node);
            return Ok(());
        }
        let told_by_all = serving.iter().all(|node| watcher.told.contains(node));
        let asked = serving.choose(&mut self.watching).copied();
        match asked.filter(|node| told_by_all && !self.stands_still(*node)) {
            Some(node) => self.read_state(at, node),
            None => Ok(()),
        }
    }

    /// All that run have said that their history begins later: the watcher reads a state instead.
    fn read_state(&mut self, at: usize, node: NodeId) -> Result<(), String> {
        let index = self.applied(node);
        let watcher = &mut self.watchers[at];
        watcher.attach(node, index, &self.plan);
        watcher.last = index;
        watcher.told.clear();
        self.seen.note(Seen::WatchJumped);
        self.invariants.watched.jump(watcher.number, index)
    }

    /// Whether it runs, is of a cluster that has not been removed, and knows something if it follows.
    fn serves(&self, node: NodeId) -> bool {
        let gone = |number: &u8| self.joined.get(number) == Some(&node);
        let runs = self.driver(node).is_some() && !self.is_anew(node);
        runs && !self.removed.iter().any(gone)
    }

    fn stands_still(&self, node: NodeId) -> bool {
        let member = self.members.get(&node);
        member.is_some_and(|member| member.resumes_at.is_some())
    }

    /// What a watcher has not been shown, with nothing in its way.
    pub(super) fn unwatched(&self, applied: Index) -> Option<String> {
        let log = &self.invariants.agreement;
        self.watchers
            .iter()
            .find_map(|watcher| self.invariants.watched.lack(watcher.number, applied, log))
    }
}
