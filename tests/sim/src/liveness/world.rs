//! Time, faults, and who talks to whom.

mod faults;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weft_model::Federation;
use weft_model::fixture::{CLUSTERS, Log, federation};
use weft_plan::Moment;

use super::gateway::Gateway;
use super::invariant::{Invariants, lack};
use super::release;
use super::sidecar::{Process, Sidecar};
use super::stream::Stream;
use crate::trace::Trace;
use crate::world::Violation;

/// What a run met, and how often; equal for equal runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met {
    /// Hashes all that happened.
    pub trace: u64,
    /// Gateways that died.
    pub gateways_died: usize,
    /// Workloads that died without a word.
    pub workloads_died: usize,
    /// Workloads that ended in good order.
    pub workloads_ended: usize,
    /// Streams between gateways, and sessions, that broke.
    pub cuts: usize,
    /// Snapshots and words that were read anew because a stream began again.
    pub streams: usize,
    /// Times an endpoint with an unbroken way to a gateway was looked for there.
    pub kept: usize,
    /// Times an endpoint was looked for whatever gateways and streams did.
    pub steady: usize,
    /// Withdrawn endpoints that were seen to go, by each gateway.
    pub withdrawn: usize,
    /// Clamps made.
    pub clamps: usize,
    /// Times a clamp held a weight below its committed step.
    pub clamped: usize,
    /// Steps from the end of the faults until all agreed.
    pub healed_after: u64,
}

/// Steps in a second.
pub(super) const SECOND: u64 = 4;
/// Steps with faults.
const STORMY: u64 = 240 * SECOND;
/// Steps without, within which all must agree: a held shrink (30 s), a gateway's recovery (15 s),
/// a session's grace and a witness's patience may come one after the other.
const FAIR: u64 = 90 * SECOND;
/// The longest stall of a stream that is not taken for broken, in steps.
const STALL_MAX: u64 = 3 * SECOND;
/// Words that a stream carries in a step, at most.
const WORDS_MAX: usize = 6;

pub(super) struct World {
    pub(super) step: u64,
    pub(super) rng: SmallRng,
    pub(super) gateways: Vec<Gateway>,
    pub(super) sidecars: Vec<Sidecar>,
    pub(super) log: Log,
    pub(super) federation: Federation,
    pub(super) streams: BTreeMap<(usize, usize), Stream>,
    /// Pairs of gateways, the lower number first, that do not hear each other, since when.
    pub(super) parted: BTreeMap<(usize, usize), u64>,
    /// Sidecars and gateways, by number, that do not.
    pub(super) cut_off: BTreeSet<(usize, usize)>,
    pub(super) runs: u8,
    pub(super) met: Met,
    pub(super) trace: Trace,
}

/// Runs a seed to its end, or to the first violation.
///
/// `echo` keeps the last lines of the trace.
pub fn run(seed: u64, echo: bool) -> Result<Met, Violation> {
    let mut world = World::new(seed, echo);
    world.play().map_err(|what| Violation {
        at: world.step,
        what,
        trace: world.trace.to_string(),
    })
}

impl World {
    fn new(seed: u64, echo: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x11FE);
        let mut gateways = Vec::new();
        for place in CLUSTERS {
            for _ in 0..rng.random_range(1..=2) {
                gateways.push(Gateway::new(gateways.len(), place));
            }
        }
        let workloads: u8 = rng.random_range(2..=7);
        let sidecars = CLUSTERS.into_iter().take(2).flat_map(|(cluster, _)| {
            (0..workloads).map(move |place| Sidecar {
                cluster,
                place,
                process: None,
                starts_at: 0,
            })
        });
        Self {
            step: 0,
            gateways,
            sidecars: sidecars.collect(),
            log: release::log(),
            federation: federation(),
            streams: BTreeMap::new(),
            parted: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            runs: 0,
            met: Met::default(),
            trace: Trace::new(echo),
            rng,
        }
    }

    fn play(&mut self) -> Result<Met, String> {
        let mut invariants = Invariants::default();
        while self.step < STORMY {
            self.strike(&mut invariants);
            self.take_step(&mut invariants)?;
        }
        self.heal();
        while let Some(lack) = lack(self) {
            self.take_step(&mut invariants)?;
            if self.step > STORMY + FAIR {
                return Err(format!(
                    "without faults for {} s, it lacks: {lack}",
                    FAIR / SECOND
                ));
            }
        }
        Ok(Met {
            trace: self.trace.hash(),
            kept: invariants.kept.checked,
            steady: invariants.steady.checked,
            withdrawn: invariants.withdrawn.count(),
            clamped: invariants.weights.clamped,
            healed_after: self.step - STORMY,
            ..self.met.clone()
        })
    }

    fn take_step(&mut self, invariants: &mut Invariants) -> Result<(), String> {
        self.step += 1;
        let now = self.now();
        self.start_what_is_due(now);
        self.run_sessions(now)?;
        for gateway in &mut self.gateways {
            if let Some(catalog) = &mut gateway.catalog {
                catalog.poll(now);
            }
        }
        self.run_streams(now)?;
        self.follow_log();
        for gateway in &mut self.gateways {
            gateway.refresh();
            if (self.step + gateway.number as u64).is_multiple_of(5 * SECOND) {
                gateway.save_view();
            }
        }
        self.note();
        invariants.kept.check(self)?;
        invariants.steady.check(self)?;
        invariants.withdrawn.check(self)?;
        for gateway in self.gateways.iter().filter(|g| g.catalog.is_some()) {
            invariants.weights.check(gateway)?;
        }
        Ok(())
    }

    pub(super) fn now(&self) -> Moment {
        Moment(Duration::from_secs(1) * self.step as u32 / SECOND as u32)
    }

    fn start_what_is_due(&mut self, now: Moment) {
        for gateway in &mut self.gateways {
            if gateway.catalog.is_none() && gateway.starts_at <= self.step {
                self.runs += 1;
                gateway.start(self.runs, self.step, now);
            }
        }
        for sidecar in &mut self.sidecars {
            if sidecar.process.is_none() && sidecar.starts_at <= self.step {
                sidecar.process = Some(Process {
                    id: weft_model::EndpointId(self.rng.random()),
                    sequence: 1,
                    health: weft_model::Health::Ready,
                    changed: self.step,
                    free_since: self.step,
                    sessions: BTreeMap::new(),
                });
            }
        }
    }

    /// Streams between all gateways that run and hear each other; one that broke is noticed
    /// after 3 s.
    fn run_streams(&mut self, now: Moment) -> Result<(), String> {
        for from in 0..self.gateways.len() {
            for to in (0..self.gateways.len()).filter(|to| *to != from) {
                self.run_stream((from, to), now)?;
            }
        }
        Ok(())
    }

    fn run_stream(&mut self, pair: (usize, usize), now: Moment) -> Result<(), String> {
        let Ok([from, to]) = self.gateways.get_disjoint_mut([pair.0, pair.1]) else {
            return Ok(());
        };
        let parted = self.parted.get(&(pair.0.min(pair.1), pair.0.max(pair.1)));
        let runs = from.catalog.is_some() && to.catalog.is_some();
        let fits = |stream: &Stream| runs && stream.runs == (from.run, to.run);
        let noticed = parted.is_some_and(|since| since + 3 * SECOND < self.step);
        if let Some(stream) = self.streams.get(&pair)
            && (noticed || !fits(stream))
        {
            if let Some(catalog) = &mut to.catalog {
                let cluster = weft_model::fixture::name(from.cluster);
                let epoch = weft_plan::catalog::Epoch([stream.runs.0; 16]);
                catalog.lose_peer(&cluster, epoch, now);
            }
            self.streams.remove(&pair);
        }
        if parted.is_some() || !runs {
            return Ok(());
        }
        if !self.streams.contains_key(&pair) {
            self.met.streams += 1;
            if let Some(stream) = Stream::open(from, to, self.step, now) {
                self.streams.insert(pair, stream);
            }
        }
        let Some(stream) = self.streams.get_mut(&pair) else {
            return Ok(());
        };
        // Now and then nothing moves, or nothing for a while that nobody notices.
        if self.rng.random_bool(0.01) {
            stream.stalled_until = self.step + self.rng.random_range(1..STALL_MAX);
        }
        if stream.stalled_until <= self.step && self.rng.random_bool(0.8) {
            let most = self.rng.random_range(1..=WORDS_MAX);
            if !stream.deliver(from, to, most, now)? {
                self.streams.remove(&pair);
            }
        }
        Ok(())
    }

    /// Replicas of running gateways come after the log, each at its own pace.
    fn follow_log(&mut self) {
        let length = self.log.entries.len();
        for gateway in self.gateways.iter_mut().filter(|g| g.catalog.is_some()) {
            let ahead = length - gateway.applied;
            if ahead > 0 && self.rng.random_bool(0.15) {
                let next = gateway.applied + self.rng.random_range(1..=ahead);
                gateway.follow(&self.log, next);
            }
        }
    }

    fn note(&mut self) {
        let (step, gateways) = (self.step, &self.gateways);
        let mut numbers = vec![step];
        for gateway in gateways {
            numbers.push(gateway.applied as u64);
            numbers.extend(gateway.view.as_ref().map(|view| view.hash().0));
        }
        self.trace.note(&numbers, || {
            let shown = |g: &Gateway| format!("{} {:?}", g.name, g.endpoints().len());
            let shown: Vec<String> = gateways.iter().map(shown).collect();
            format!("{step}: {}", shown.join(", "))
        });
    }

    /// Since when the process's word has had an unbroken way to this gateway; none if it has not.
    pub(super) fn unbroken_since(
        &self,
        sidecar: usize,
        process: &Process,
        observer: usize,
    ) -> Option<u64> {
        let ways = process.sessions.iter().filter_map(|(number, session)| {
            if self.cut_off.contains(&(sidecar, *number)) {
                return None;
            }
            let gateway = &self.gateways[*number];
            session.id.filter(|_| gateway.run == session.run)?;
            gateway.catalog.as_ref()?;
            let carried = match *number == observer {
                true => gateway.since,
                false => {
                    let pair = (*number, observer);
                    let parted = (pair.0.min(pair.1), pair.0.max(pair.1));
                    if self.parted.contains_key(&parted) {
                        return None;
                    }
                    let stream = self.streams.get(&pair)?;
                    let fits = stream.runs == (gateway.run, self.gateways[observer].run);
                    fits.then_some(stream.since)?
                }
            };
            Some(carried.max(session.since))
        });
        ways.min()
    }
}
