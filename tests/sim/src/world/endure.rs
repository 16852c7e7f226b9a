//! One partition, and nothing else that goes wrong.

use super::{Phase, Plan, Violation, World};
use crate::partial::{Endured, Shape};

/// Units of time in which a group may look for its leader.
const SETTLES: u64 = 1_000;
/// Units of time in which it is to keep it.
const SETTLED: u64 = 6_000;
/// Units of time in which all clusters join, and all is answered, in fair weather.
const FAIR: u64 = 10_000;

/// Runs a federation into one partition, and out of it again.
pub(crate) fn endure(plan: Plan, shape: &Shape) -> Result<Endured, Violation> {
    let mut world = World::new(plan);
    world.clusters = shape.nodes;
    world.follows = false;
    let endured = world.endure(shape);
    endured.map_err(|what| world.violation(what))
}

impl World {
    fn endure(&mut self, shape: &Shape) -> Result<Endured, String> {
        self.found()?;
        while self.joined.len() < self.clusters {
            self.step_by(FAIR, Phase::Founding)?;
        }
        // What is answered from here on was begun in the partition.
        while self.lack().is_some() {
            self.step_by(FAIR, Phase::Healing)?;
        }
        let leader = self.leader().ok_or("nobody leads")?;
        self.network.cuts = shape.cuts(leader, self.running());
        let (begun, answered) = (self.now, self.invariants.durable.count());
        let mut first_write = None;
        let mut elected = |world: &mut Self, lasts: u64, phase: Phase| {
            let (terms, ends) = (world.invariants.leaders.terms(), world.now + lasts);
            while world.now < ends {
                world.step(phase)?;
                if first_write.is_none() && world.invariants.durable.count() > answered {
                    first_write = Some(world.now - begun);
                }
            }
            Ok::<_, String>(world.invariants.leaders.terms() - terms)
        };
        let settling = elected(self, SETTLES, Phase::Founding)?;
        // Nobody writes any more, so that whoever hears too little is not held back by an older log.
        let settled = elected(self, SETTLED, Phase::Healing)?;
        self.heal()?;
        let ends = self.now + self.plan.fair;
        while self.lack().is_some() {
            self.step_by(ends, Phase::Healing)?;
        }
        self.check_final()?;
        Ok(Endured {
            first_write: first_write.ok_or("no write was answered")?,
            settling,
            settled,
        })
    }

    fn step_by(&mut self, ends: u64, phase: Phase) -> Result<(), String> {
        match self.now < ends {
            true => self.step(phase),
            false => Err(format!("at {ends} it lacks {:?}", self.lack())),
        }
    }
}
