//! The world: time, nodes, network and clients, and the loop that moves them.

mod clients;
mod finish;

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weft_model::{Index, NodeId, WallTime};
use weft_registry::disk::Space;
use weft_registry::driver::{Input, Output, Suspicion};
use weft_registry::{Answer, Record, found};

use crate::client::{self, Admin, Writer};
use crate::faults::{self, Fault};
use crate::invariant::Invariants;
use crate::member::Member;
use crate::network::{Letter, Network};
use crate::trace::Trace;

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything is drawn from it.
    pub seed: u64,
    /// Units of time with faults; a node ticks every ten.
    pub stormy: u64,
    /// Units of time without, within which the group must converge.
    pub fair: u64,
    /// Whether to keep the last lines of the trace.
    pub echo: bool,
    /// The fault that the registry has on purpose.
    #[cfg(feature = "bugs")]
    pub bug: Option<weft_registry::driver::Bug>,
}

impl Plan {
    /// The plan that continuous integration runs for a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            stormy: 2_500,
            fair: 8_000,
            echo: false,
            #[cfg(feature = "bugs")]
            bug: None,
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Equal for equal runs.
    pub trace: u64,
    /// Requests that clients were answered.
    pub answered: usize,
    /// Linearizable reads answered.
    pub reads: usize,
    /// Positions in the log.
    pub log: u64,
    /// Terms that had a leader.
    pub leaders: usize,
    /// Times a node crashed.
    pub crashes: usize,
    /// Times a snapshot took the place of a node's state.
    pub installed: usize,
    /// Times a write was due on a disk that had no room for it.
    pub stalled: usize,
    /// Proposals that a leader refused for want of room.
    pub refused: usize,
    /// Units of time from the end of the faults to convergence.
    pub healed_after: u64,
}

/// An invariant that did not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    /// When, in units of time.
    pub at: u64,
    /// Which, and how.
    pub what: String,
    /// The last lines of the trace, if they were kept.
    pub trace: String,
}

const TICK: u64 = 10;
/// A client repeats a request that was not answered for this long.
const PATIENCE: u64 = 60;
/// Clusters that may exist besides the founder's.
const NEWCOMERS: [u8; 4] = [2, 3, 4, 5];

struct World {
    plan: Plan,
    now: u64,
    rng: SmallRng,
    members: BTreeMap<NodeId, Member>,
    network: Network,
    writers: Vec<Writer>,
    admin: Admin,
    /// Clusters that have joined, by number, with their nodes.
    joined: BTreeMap<u8, NodeId>,
    /// Clusters whose token is granted and not used.
    granted: Vec<u8>,
    removed: Vec<u8>,
    next_read: u64,
    invariants: Invariants,
    trace: Trace,
    crashes: usize,
    installed: usize,
    stalled: usize,
    refused: usize,
}

/// Runs a plan to its end, or to the first violation.
pub fn run(plan: Plan) -> Result<Outcome, Violation> {
    let mut world = World::new(plan);
    match world.play() {
        Ok(outcome) => Ok(outcome),
        Err(what) => Err(Violation {
            at: world.now,
            what,
            trace: world.trace.to_string(),
        }),
    }
}

impl World {
    fn new(plan: Plan) -> Self {
        Self {
            now: 0,
            rng: SmallRng::seed_from_u64(plan.seed),
            members: BTreeMap::new(),
            network: Network::new(),
            writers: Vec::new(),
            admin: Admin::default(),
            joined: BTreeMap::new(),
            granted: Vec::new(),
            removed: Vec::new(),
            next_read: 0,
            invariants: Invariants::default(),
            trace: Trace::new(plan.echo),
            crashes: 0,
            installed: 0,
            stalled: 0,
            refused: 0,
            plan,
        }
    }

    fn play(&mut self) -> Result<Outcome, String> {
        self.found()?;
        // Three clusters first, so that there is something to lose.
        while self.joined.len() < 3 {
            self.step(Phase::Founding)?;
            if self.now > 5_000 {
                return Err("three clusters did not come together in fair weather".into());
            }
        }
        let storm_ends = self.now + self.plan.stormy;
        while self.now < storm_ends {
            self.strike()?;
            self.step(Phase::Storm)?;
        }
        self.heal()?;
        let healed = self.now;
        while let Some(lack) = self.lack() {
            self.step(Phase::Healing)?;
            if self.now > healed + self.plan.fair {
                return Err(format!(
                    "without faults for {} it lacks: {lack}",
                    self.plan.fair
                ));
            }
        }
        self.check_final()?;
        Ok(Outcome {
            trace: self.trace.hash(),
            answered: self.invariants.durable.count(),
            reads: self.invariants.reads.answered(),
            log: self.invariants.agreement.last().0,
            leaders: self.invariants.leaders.terms(),
            crashes: self.crashes,
            installed: self.installed,
            stalled: self.stalled,
            refused: self.refused,
            healed_after: self.now - healed,
        })
    }

    fn found(&mut self) -> Result<(), String> {
        let (folder, first) =
            found(&client::founding(), self.wall()).map_err(|error| error.to_string())?;
        self.members
            .insert(folder.node, Member::new(folder.node, Some(&first)));
        self.start(folder.node)?;
        self.joined.insert(1, folder.node);
        self.writers.push(Writer::new(1, folder.node));
        Ok(())
    }

    fn start(&mut self, node: NodeId) -> Result<(), String> {
        self.trace.note(&[1, self.now, node.0], || {
            format!("{} node {node} starts", self.now)
        });
        let Some(member) = self.members.get_mut(&node) else {
            return Ok(());
        };
        let from = member
            .disk
            .load()
            .map_err(|damage| damage.to_string())?
            .applied();
        member.start(&self.plan)?;
        self.invariants.order.restart(node, from);
        self.drain(node)
    }

    fn step(&mut self, phase: Phase) -> Result<(), String> {
        self.now += 1;
        for (from, to, letter) in self.network.take_arrivals(self.now) {
            self.deliver(from, to, letter)?;
        }
        let nodes: Vec<NodeId> = self.members.keys().copied().collect();
        for node in nodes {
            self.wake(node)?;
        }
        self.run_clients(phase)?;
        self.observe()
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, letter: Letter) -> Result<(), String> {
        let now = self.wall();
        let Some(member) = self.members.get_mut(&to) else {
            return Ok(());
        };
        member.handle(match letter {
            Letter::Raft(message) => Input::Message {
                from,
                message: *message,
            },
            Letter::Forward(proposal) => Input::Propose { proposal, now },
        });
        self.drain(to)
    }

    /// What time alone brings: restarts, finished writes, ticks.
    fn wake(&mut self, node: NodeId) -> Result<(), String> {
        let (now, storm) = (self.now, self.network.weather.delay_max);
        let Some(member) = self.members.get_mut(&node) else {
            return Ok(());
        };
        if member.restart_at.is_some_and(|at| at <= now) {
            return self.start(node);
        }
        if member.freed_at.is_some_and(|at| at <= now) {
            member.set_space(Space::Enough, None);
        }
        if member.driver.is_none() {
            return Ok(());
        }
        if member.synced_at.is_some_and(|at| at <= now) && member.space == Space::Full {
            member.synced_at = Some(now + TICK);
            self.stalled += 1;
        } else if member.synced_at.is_some_and(|at| at <= now) {
            if let Some(batch) = member.disk.sync_one() {
                member.handle(Input::Persisted { batch });
            }
            member.synced_at = match member.disk.unsynced() {
                0 => None,
                _ => Some(now + self.rng.random_range(1..=storm.min(20))),
            };
        }
        if (now + node.0 * 3).is_multiple_of(TICK) {
            member.handle(Input::Tick);
        }
        self.drain(node)
    }

    /// Does what a driver wants.
    fn drain(&mut self, node: NodeId) -> Result<(), String> {
        let outputs = match self.members.get_mut(&node) {
            Some(member) => member.take_outputs(),
            None => return Ok(()),
        };
        for output in outputs {
            self.carry_out(node, output)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, node: NodeId, output: Output) -> Result<(), String> {
        let now = self.now;
        match output {
            Output::Send(to, messages) => {
                self.trace
                    .note(&[2, now, node.0, to.0, messages.len() as u64], || {
                        format!("{now} {node} -> {to}: {messages:?}")
                    });
                for message in messages {
                    let letter = Letter::Raft(Box::new(message));
                    self.network.send(now, &mut self.rng, node, to, letter);
                }
            }
            Output::Persist(batch) => {
                self.trace.note(&[3, now, node.0, batch.number], || {
                    format!(
                        "{now} {node} writes batch {} of {}",
                        batch.number,
                        batch.entries()
                    )
                });
                let soon = now + self.rng.random_range(1..=4);
                if let Some(member) = self.members.get_mut(&node) {
                    member.disk.write(&batch);
                    member.synced_at.get_or_insert(soon);
                }
            }
            Output::Applied(record) => self.note_applied(node, &record)?,
            Output::Installed { index } => {
                self.installed += 1;
                self.trace.note(&[5, now, node.0, index.0], || {
                    format!("{now} {node} installs a snapshot at {index}")
                });
                self.invariants.order.restart(node, index);
            }
            Output::ReadReady { read, index } => {
                let applied = self.applied(node);
                self.invariants.reads.check(node, read, index, applied)?;
            }
            Output::Leadership(leadership) => {
                let leader = leadership.leader.map_or(0, |leader| leader.0);
                self.trace
                    .note(&[6, now, node.0, leader, leadership.term], || {
                        format!("{now} {node} sees {leadership:?}")
                    });
                self.invariants.leaders.check(node, leadership)?;
            }
            // It goes on for a while, not knowing.
            Output::Suspect {
                suspicion: Suspicion::RemovedSender,
                ..
            } => {}
            Output::Suspect { from, suspicion } => {
                return Err(format!("node {node} suspects {from}: {suspicion}"));
            }
            Output::Declined { .. } => {
                let short = |member: &Member| member.space != Space::Enough;
                let leads = self.leader() == Some(node);
                let refused = leads && self.members.get(&node).is_some_and(short);
                self.refused += usize::from(refused);
            }
            Output::MembersChanged | Output::Removed => {}
        }
        Ok(())
    }

    fn note_applied(&mut self, node: NodeId, record: &Record) -> Result<(), String> {
        let now = self.now;
        self.trace.note(
            &[4, now, node.0, record.index.0, record.checksum.into()],
            || format!("{now} {node} applies {record:?}"),
        );
        if let Some(Answer::Quarantined(reason)) = &record.answer {
            return Err(format!(
                "node {node} cannot read {}: {reason}",
                record.index
            ));
        }
        self.invariants.order.check(node, record.index)?;
        self.invariants.agreement.check(node, record)?;
        self.invariants.once.check(record)?;
        self.invariants.removed.note(record)?;
        self.answer_clients(node, record)
    }

    /// Lets something go wrong, or right.
    fn strike(&mut self) -> Result<(), String> {
        let nodes = self.running();
        let leader = self.leader();
        let Some(fault) = faults::draw(&mut self.rng, &nodes, leader) else {
            return Ok(());
        };
        self.trace
            .note(&[7, self.now], || format!("{} {fault:?}", self.now));
        match fault {
            Fault::Cut(cuts) => self.network.cuts.extend(cuts),
            Fault::Mend => self.network.cuts.clear(),
            Fault::Weather(weather) => self.network.weather = weather,
            Fault::Crash { node, down } => self.crash(node, down),
            Fault::Blackout { down } => {
                for node in nodes {
                    self.crash(node, down);
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
        }
        Ok(())
    }

    fn run_short(&mut self, node: NodeId, space: Space, lasts: u64) -> Result<(), String> {
        let freed_at = self.now + lasts;
        if let Some(member) = self.members.get_mut(&node) {
            member.set_space(space, Some(freed_at));
        }
        self.drain(node)
    }

    fn crash(&mut self, node: NodeId, down: u64) {
        let restart_at = self.now + down;
        if let Some(member) = self.members.get_mut(&node) {
            // A disk without room has taken nothing of what waits.
            let under_way = match member.space {
                Space::Full => 0,
                Space::Low | Space::Enough => member.disk.unsynced(),
            };
            let survivors = self.rng.random_range(0..=under_way);
            member.crash(survivors, restart_at);
            self.crashes += 1;
        }
    }

    /// After every step, of every running node.
    fn observe(&mut self) -> Result<(), String> {
        for member in self.members.values() {
            let Some(driver) = &member.driver else {
                continue;
            };
            let image = driver.image();
            self.invariants
                .states
                .check(member.node, image.index, &image.state)?;
            if self.now.is_multiple_of(TICK) {
                self.invariants.removed.check(&driver.status())?;
            }
        }
        Ok(())
    }

    fn running(&self) -> Vec<NodeId> {
        let running = self.members.values().filter(|m| m.driver.is_some());
        running.map(|member| member.node).collect()
    }

    fn driver(&self, node: NodeId) -> Option<&weft_registry::driver::Driver> {
        self.members.get(&node)?.driver.as_ref()
    }

    /// The running leader of the highest term.
    fn leader(&self) -> Option<NodeId> {
        let leads = |member: &Member| {
            let leadership = member.driver.as_ref()?.leadership();
            let here = leadership.leader == Some(member.node);
            here.then_some((leadership.term, member.node))
        };
        self.members
            .values()
            .filter_map(leads)
            .max()
            .map(|(_, node)| node)
    }

    fn applied(&self, node: NodeId) -> Index {
        self.driver(node)
            .map_or(Index(0), |driver| driver.image().index)
    }

    /// Ten milliseconds a unit, from some day in 2025 on.
    fn wall(&self) -> WallTime {
        WallTime(1_750_000_000_000 + self.now * 10)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Founding,
    Storm,
    Healing,
}
