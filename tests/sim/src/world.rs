//! The world: time, nodes, network and clients, and the loop that moves them.

mod clients;
mod endure;
mod finish;
mod follower;
mod outputs;
mod strike;
mod watchers;
mod whole;

use std::collections::BTreeMap;
use std::fmt;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weft_model::{Index, NodeId, WallTime};
use weft_registry::disk::Space;
use weft_registry::driver::{Driver, Input, Role};
use weft_registry::found;

use crate::client::{self, Admin, Writer};
use crate::coverage::{Coverage, Seen};
use crate::faults::Mix;
use crate::invariant::Invariants;
use crate::member::Member;
use crate::network::{Letter, Network};
use crate::trace::Trace;
use crate::watcher::Watcher;
pub(crate) use endure::endure;
pub use whole::whole;

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
    /// What the run met, and how often.
    pub seen: Coverage,
    /// Positions in the log.
    pub log: u64,
    /// Terms that had a leader.
    pub leaders: usize,
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

/// Units of time in a tick of a node whose clock is right.
pub(crate) const TICK: u64 = 10;
/// A client repeats a request that was not answered for this long.
const PATIENCE: u64 = 60;
/// How many watch the log.
const WATCHERS: usize = 3;
/// So many clusters come together first, so that there is something to lose.
const CLUSTERS: usize = 3;
/// Clusters that may exist besides the founder's.
const NEWCOMERS: [u8; 4] = [2, 3, 4, 5];

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", self.at, self.what)?;
        match self.trace.is_empty() {
            true => Ok(()),
            false => write!(f, "\n{}", self.trace),
        }
    }
}

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
    /// How many are to come together before anything goes wrong.
    clusters: usize,
    /// Whether a gateway is to follow.
    follows: bool,
    /// Whether the newest format level is to be put in force: followers and releases came with theirs.
    raises: bool,
    /// Whether it is.
    raised: bool,
    /// The gateway that follows, once it has joined.
    follower: Option<NodeId>,
    next_read: u64,
    watchers: Vec<Watcher>,
    /// What watchers do is drawn apart, so that the rest of a run is as if there were none.
    watching: SmallRng,
    invariants: Invariants,
    trace: Trace,
    mix: Mix,
    seen: Coverage,
}

/// Runs a plan to its end, or to the first violation.
pub fn run(plan: Plan) -> Result<Outcome, Violation> {
    let mut world = World::new(plan);
    match world.play() {
        Ok(outcome) => Ok(outcome),
        Err(what) => Err(world.violation(what)),
    }
}

impl World {
    fn new(plan: Plan) -> Self {
        let mut rng = SmallRng::seed_from_u64(plan.seed);
        let mix = Mix::draw(&mut rng);
        // As often as not: a run without one takes less time, and stays at the first format level.
        let follows = rng.random_bool(0.5);
        Self {
            now: 0,
            mix,
            follows,
            raises: follows,
            rng,
            members: BTreeMap::new(),
            network: Network::new(),
            writers: Vec::new(),
            admin: Admin::default(),
            joined: BTreeMap::new(),
            granted: Vec::new(),
            removed: Vec::new(),
            clusters: CLUSTERS,
            raised: false,
            follower: None,
            next_read: 0,
            watchers: Vec::new(),
            watching: SmallRng::seed_from_u64(!plan.seed),
            invariants: Invariants::default(),
            trace: Trace::new(plan.echo),
            seen: Coverage::default(),
            plan,
        }
    }

    fn play(&mut self) -> Result<Outcome, String> {
        self.found()?;
        while self.joined.len() < self.clusters || self.lacks_follower() {
            self.step(Phase::Founding)?;
            if self.now > 5_000 {
                return Err("clusters did not come together in fair weather".into());
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
        Ok(self.outcome(healed))
    }

    fn outcome(&mut self, healed: u64) -> Outcome {
        self.seen
            .add(Seen::Answered, self.invariants.durable.count());
        self.seen.add(Seen::Read, self.invariants.reads.answered());
        Outcome {
            trace: self.trace.hash(),
            seen: self.seen.clone(),
            log: self.invariants.agreement.last().0,
            leaders: self.invariants.leaders.terms(),
            healed_after: self.now - healed,
        }
    }

    fn violation(&self, what: String) -> Violation {
        Violation {
            at: self.now,
            what,
            trace: self.trace.to_string(),
        }
    }

    fn found(&mut self) -> Result<(), String> {
        let (folder, first) =
            found(&client::founding(), self.wall()).map_err(|error| error.to_string())?;
        self.members
            .insert(folder.node, Member::new(folder.node, Some(&first))?);
        self.start(folder.node)?;
        self.joined.insert(1, folder.node);
        self.writers.push(Writer::new(1, folder.node));
        for number in 1..=WATCHERS {
            let begins_at = self.watching.random_range(0..1_500);
            let watcher = Watcher::new(number, &self.plan, begins_at);
            self.invariants.watched.begin(number, watcher.last);
            self.watchers.push(watcher);
        }
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
            .start(&self.plan)
            .map_err(|error| format!("node {node} does not start: {error}"))?;
        self.invariants.order.restart(node, from);
        self.note_life(node);
        self.drain(node)
    }

    fn step(&mut self, phase: Phase) -> Result<(), String> {
        self.now += 1;
        for (from, to, letter) in self.network.take_arrivals(self.now, &mut self.seen) {
            self.deliver(from, to, letter)?;
        }
        let nodes: Vec<NodeId> = self.members.keys().copied().collect();
        for node in nodes {
            self.wake(node)?;
        }
        self.run_clients(phase)?;
        self.run_watchers(phase)?;
        self.observe()
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, letter: Letter) -> Result<(), String> {
        let now = self.wall();
        let Some(member) = self.members.get_mut(&to) else {
            return Ok(());
        };
        let now = member.clock.wall(now);
        member.handle(match letter {
            Letter::Raft(message) => Input::Message {
                from,
                message: *message,
            },
            Letter::Forward(proposal) => Input::Propose { proposal, now },
        });
        self.drain(to)
    }

    /// What time alone brings: restarts, the end of a pause, finished writes, ticks.
    fn wake(&mut self, node: NodeId) -> Result<(), String> {
        let now = self.now;
        let Some(member) = self.members.get_mut(&node) else {
            return Ok(());
        };
        if member.restart_at.is_some_and(|at| at <= now) {
            return self.start(node);
        }
        if member.freed_at.is_some_and(|at| at <= now) {
            member.set_space(Space::Enough, None);
        }
        match member.resumes_at {
            Some(at) if at > now => return Ok(()),
            Some(_) => self.resume(node),
            None => {}
        }
        self.learn(node);
        self.run_disk(node)?;
        self.show(node)?;
        if let Some(member) = self.members.get_mut(&node)
            && member.driver.is_some()
            && member.clock.ticks(now)
        {
            member.handle(Input::Tick);
        }
        self.drain(node)
    }

    /// Ends a write that is due: all batches that wait, or some of them, in one transaction.
    fn run_disk(&mut self, node: NodeId) -> Result<(), String> {
        let (now, storm) = (self.now, self.network.weather.delay_max);
        let Some(member) = self.members.get_mut(&node) else {
            return Ok(());
        };
        if member.driver.is_none() || member.synced_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        if member.space == Space::Full {
            member.synced_at = Some(now + TICK);
            self.seen.note(Seen::Stalled);
            return Ok(());
        }
        if let Some(down) = member.doomed {
            return self.crash(node, down);
        }
        let most = self.rng.random_range(1..=member.disk.unsynced().max(1));
        let synced = member.disk.sync(most);
        if let Some(batch) = synced.map_err(|error| format!("node {node}: {error}"))? {
            member.persisted(batch);
        }
        member.synced_at = match member.disk.unsynced() {
            0 => None,
            _ => Some(now + self.rng.random_range(1..=storm.min(20))),
        };
        Ok(())
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
                let status = driver.status();
                self.invariants.removed.check(&status)?;
                self.invariants.follower.check(&status)?;
                let leads = driver.leadership().role == Role::Leader;
                let hears = |voter: &&NodeId| {
                    let cuts = &self.network.cuts;
                    !cuts.contains(&(member.node, **voter))
                        && !cuts.contains(&(**voter, member.node))
                };
                let heard = status.voters.iter().filter(hears).count();
                if leads && 2 * heard <= status.voters.len() {
                    self.seen.note(Seen::LeaderInMinority);
                }
            }
        }
        Ok(())
    }

    fn running(&self) -> Vec<NodeId> {
        let running = self.members.values().filter(|m| m.driver.is_some());
        running.map(|member| member.node).collect()
    }

    fn driver(&self, node: NodeId) -> Option<&Driver> {
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
