//! Faults, carried out.

use rand::Rng;
use weft_model::NodeId;
use weft_registry::disk::Space;
use weft_registry::driver::{Driver, Role};

use super::World;
use crate::coverage::Seen;
use crate::faults::{self, Fault};
use crate::member::Clock;

impl World {
    /// Lets something go wrong, or right.
    pub(super) fn strike(&mut self) -> Result<(), String> {
        let nodes = self.running();
        let leader = self.leader();
        let Some(fault) = faults::draw(&mut self.rng, self.mix, &nodes, leader) else {
            return Ok(());
        };
        self.trace
            .note(&[7, self.now], || format!("{} {fault:?}", self.now));
        match fault {
            Fault::Cut(shape, cuts) => {
                self.seen.note(shape);
                self.network.cuts.extend(cuts);
            }
            Fault::Mend => self.network.cuts.clear(),
            Fault::Weather(weather) => self.network.weather = weather,
            Fault::Crash {
                node,
                down,
                writing: false,
            } => self.crash(node, down)?,
            Fault::Crash { node, down, .. } => {
                if let Some(member) = self.members.get_mut(&node) {
                    member.doomed = Some(down);
                }
            }
            Fault::Blackout { down } => {
                self.seen.note(Seen::Blackout);
                for node in nodes {
                    self.crash(node, down)?;
                }
            }
            Fault::Shortage {
                nodes,
                space,
                lasts,
            } => {
                for node in nodes {
                    self.run_short(node, space, lasts)?;
                }
            }
            Fault::Pause { node, lasts } => self.pause(node, lasts),
            Fault::Step { node, millis } => {
                self.seen.note(Seen::ClockStepped);
                if let Some(member) = self.members.get_mut(&node) {
                    member.clock.off = millis;
                }
            }
            Fault::Drift { node, tick } => {
                self.seen.note(match Clock::races(tick) {
                    true => Seen::ClockRaces,
                    false => Seen::ClockDrifts,
                });
                if let Some(member) = self.members.get_mut(&node) {
                    member.clock.tick = tick;
                }
            }
        }
        Ok(())
    }

    fn run_short(&mut self, node: NodeId, space: Space, lasts: u64) -> Result<(), String> {
        let freed_at = self.now + lasts;
        if let Some(member) = self.members.get_mut(&node)
            && !member.follows()
        {
            member.set_space(space, Some(freed_at));
        }
        self.drain(node)
    }

    /// Power is lost, as often as not in the middle of a write.
    pub(super) fn crash(&mut self, node: NodeId, down: u64) -> Result<(), String> {
        let restart_at = self.now + down;
        let Some(member) = self.members.get_mut(&node) else {
            return Ok(());
        };
        self.seen.note(Seen::Crash);
        if member.follows() {
            member.stop(restart_at);
            return Ok(());
        }
        // A disk without room has taken nothing of what waits.
        let under_way = match member.space {
            Space::Full => 0,
            Space::Low | Space::Enough => member.disk.unsynced(),
        };
        let survivors = self.rng.random_range(0..=under_way);
        let operations = match member.space {
            Space::Full => 0,
            Space::Low | Space::Enough => self.rng.random_range(0..OPERATIONS_MAX),
        };
        let crash = member.disk.crash(survivors, operations, &mut self.rng);
        let crash = crash.map_err(|error| format!("node {node}: {error}"))?;
        member.stop(restart_at);
        let writing = usize::from(crash.writing);
        self.seen.add(Seen::CrashWriting, writing);
        self.seen.add(Seen::WriteLost, crash.loss.lost);
        self.seen.add(Seen::WriteTorn, crash.loss.torn);
        self.seen.add(Seen::SectorGarbled, crash.loss.garbled);
        Ok(())
    }

    fn pause(&mut self, node: NodeId, lasts: u64) {
        let until = self.now + lasts;
        if let Some(member) = self.members.get_mut(&node) {
            self.seen.note(Seen::Paused);
            member.resumes_at = Some(until);
        }
    }

    /// A node that stood still goes on, with its old view and all that came in.
    pub(super) fn resume(&mut self, node: NodeId) {
        let (leader, now) = (self.leader(), self.wall());
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        if member.resumes_at.is_none() {
            return;
        }
        let led = |driver: &Driver| driver.leadership().role == Role::Leader;
        if member.driver.as_ref().is_some_and(led) && leader != Some(node) {
            self.seen.note(Seen::PausedLeaderDeposed);
        }
        self.trace.note(&[8, self.now, node.0], || {
            format!("{} node {node} goes on after a pause", self.now)
        });
        member.resume(now);
    }
}

/// About as many operations on the file as one write takes.
const OPERATIONS_MAX: u64 = 14;
