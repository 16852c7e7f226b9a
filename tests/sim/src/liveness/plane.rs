//! The gateways' catalogs and clamps, sidecars and streams: one step of time for all of them.

mod faults;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use weft_model::Federation;
use weft_plan::Moment;

use super::gateway::Gateway;
use super::invariant::{self, Invariants};
use super::sidecar::{Process, Sidecar};
use super::stream::Stream;
use crate::trace::Trace;

/// What a run met, and how often; equal for equal runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met {
    /// Hashes all that happened.
    pub trace: u64,
    /// Gateways that died.
    pub gateways_died: usize,
    /// Gateways that stood still.
    pub paused: usize,
    /// Clusters that left.
    pub left: usize,
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
    /// Clamps that were made on a disk that took none.
    pub unkept: usize,
    /// Times a clamp held a weight below its committed step.
    pub clamped: usize,
    /// Steps from the end of the faults until all agreed.
    pub healed_after: u64,
}

impl Met {
    /// Adds another run's counts.
    pub fn merge(&mut self, other: &Self) {
        self.gateways_died += other.gateways_died;
        self.paused += other.paused;
        self.left += other.left;
        self.workloads_died += other.workloads_died;
        self.workloads_ended += other.workloads_ended;
        self.cuts += other.cuts;
        self.streams += other.streams;
        self.kept += other.kept;
        self.steady += other.steady;
        self.withdrawn += other.withdrawn;
        self.clamps += other.clamps;
        self.unkept += other.unkept;
        self.clamped += other.clamped;
        self.healed_after = self.healed_after.max(other.healed_after);
    }
}

/// Steps in a second.
pub(crate) const SECOND: u64 = 4;
/// The longest stall of a stream that is not taken for broken, in steps.
const STALL_MAX: u64 = 3 * SECOND;
/// Words that a stream carries in a step, at most.
const WORDS_MAX: usize = 6;

/// What serves requests, of all gateways.
pub(crate) struct Plane {
    pub(crate) step: u64,
    pub(crate) rng: SmallRng,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) sidecars: Vec<Sidecar>,
    /// What words of sidecars are judged by, where that is not the gateway's own replica.
    pub(crate) law: Option<Federation>,
    pub(super) streams: BTreeMap<(usize, usize), Stream>,
    /// Pairs of gateways, the lower number first, that do not hear each other, since when.
    pub(crate) parted: BTreeMap<(usize, usize), u64>,
    /// Sidecars and gateways, by number, that do not.
    pub(super) cut_off: BTreeSet<(usize, usize)>,
    runs: u8,
    pub(crate) invariants: Invariants,
    pub(crate) met: Met,
    trace: Trace,
}

impl Plane {
    /// Nothing runs yet.
    pub(crate) fn new(
        rng: SmallRng,
        gateways: Vec<Gateway>,
        sidecars: Vec<Sidecar>,
        echo: bool,
    ) -> Self {
        Self {
            step: 0,
            rng,
            gateways,
            sidecars,
            law: None,
            streams: BTreeMap::new(),
            parted: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            runs: 0,
            invariants: Invariants::default(),
            met: Met::default(),
            trace: Trace::new(echo),
        }
    }

    /// The last lines of the trace, if they are kept.
    pub(crate) fn trace(&self) -> String {
        self.trace.to_string()
    }

    /// What was met so far.
    pub(crate) fn met(&self) -> Met {
        Met {
            trace: self.trace.hash(),
            kept: self.invariants.kept.checked,
            steady: self.invariants.steady.checked,
            withdrawn: self.invariants.withdrawn.count(),
            clamped: self.invariants.weights.clamped,
            ..self.met.clone()
        }
    }

    /// Lets a quarter of a second pass. Replicas come after the log where `follow` says so: once
    /// all has been said, and before it is shown.
    pub(crate) fn take_step(&mut self, follow: impl FnOnce(&mut Self)) -> Result<(), String> {
        self.step += 1;
        let now = self.now();
        self.start_what_is_due(now);
        for gateway in &mut self.gateways {
            // It judges who was silent before it reads what has waited for it.
            if let (Some(catalog), true) = (&mut gateway.catalog, gateway.goes_on) {
                catalog.poll(now);
            }
            gateway.goes_on = false;
        }
        self.run_sessions(now)?;
        for gateway in &mut self.gateways {
            if let (Some(catalog), None) = (&mut gateway.catalog, gateway.still_since) {
                catalog.poll(now);
            }
        }
        self.run_streams(now)?;
        follow(self);
        for gateway in self.gateways.iter_mut().filter(|g| g.still_since.is_none()) {
            gateway.refresh();
            if (self.step + gateway.number as u64).is_multiple_of(5 * SECOND) {
                gateway.save_view();
            }
        }
        self.note();
        self.check()
    }

    fn check(&mut self) -> Result<(), String> {
        let mut invariants = std::mem::take(&mut self.invariants);
        invariants.kept.check(self)?;
        invariants.steady.check(self)?;
        invariants.withdrawn.check(self)?;
        invariant::left::check(self)?;
        for gateway in self.gateways.iter().filter(|g| g.catalog.is_some()) {
            invariants.weights.check(gateway)?;
        }
        self.invariants = invariants;
        Ok(())
    }

    pub(super) fn now(&self) -> Moment {
        Moment(Duration::from_secs(1) * self.step as u32 / SECOND as u32)
    }

    fn start_what_is_due(&mut self, now: Moment) {
        for gateway in &mut self.gateways {
            let due = gateway.member && gateway.starts_at <= self.step;
            if gateway.catalog.is_none() && due {
                self.runs += 1;
                gateway.start(self.runs, self.step, now, self.law.as_ref());
            }
        }
        for sidecar in &mut self.sidecars {
            let gateways = &mut self.gateways.iter();
            let due = sidecar.starts_at <= self.step
                && gateways.any(|g| g.member && g.cluster == sidecar.cluster);
            if sidecar.process.is_none() && due {
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
        let silently = from
            .died_silently
            .is_some_and(|at| at + 3 * SECOND >= self.step);
        if silently && from.catalog.is_none() && to.catalog.is_some() {
            // Nobody knows yet.
            return Ok(());
        }
        if to.still_since.is_some() {
            // What ended meanwhile it hears of when it goes on.
            if let Some(stream) = self.streams.get_mut(&pair) {
                stream.ended |= noticed;
            }
            return Ok(());
        }
        if let Some(stream) = self.streams.get(&pair)
            && (noticed || stream.ended || !fits(stream))
        {
            if let Some(catalog) = &mut to.catalog {
                let cluster = weft_model::fixture::name(from.cluster);
                let epoch = weft_plan::catalog::Epoch([stream.runs.0; 16]);
                catalog.lose_peer(&cluster, epoch, now);
            }
            self.streams.remove(&pair);
        }
        let know = |one: &Gateway, other: &Gateway| {
            let law = self.law.as_ref().unwrap_or(&one.federation);
            law.cluster(&weft_model::fixture::name(other.cluster))
                .is_some()
        };
        if parted.is_some() || !runs || !know(to, from) || !know(from, to) {
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

    fn note(&mut self) {
        let (step, gateways) = (self.step, &self.gateways);
        let mut numbers = vec![step];
        for gateway in gateways {
            numbers.push(gateway.applied.0);
            numbers.extend(gateway.view.as_ref().map(|view| view.hash().0));
        }
        self.trace.note(&numbers, || {
            let shown = |g: &Gateway| format!("{} {:?}", g.name, g.endpoints().len());
            let shown: Vec<String> = gateways.iter().map(shown).collect();
            format!("{step}: {}", shown.join(", "))
        });
    }

    /// Whether nothing is between a sidecar and the gateways of its cluster.
    pub(super) fn is_free(&self, sidecar: usize) -> bool {
        let cut_off = self.cut_off.iter().any(|(cut_off, _)| *cut_off == sidecar);
        let cluster = self.sidecars[sidecar].cluster;
        let own = &mut self.gateways.iter().filter(|g| g.cluster == cluster);
        !cut_off && own.all(|gateway| gateway.still_since.is_none())
    }

    /// Whether a gateway counts this cluster among the members.
    pub(super) fn knows(&self, observer: &Gateway, cluster: &str) -> bool {
        let law = self.law.as_ref().unwrap_or(&observer.federation);
        law.cluster(&weft_model::fixture::name(cluster)).is_some()
    }

    /// Since when the process's word has had an unbroken way to this gateway; none if it has not.
    pub(super) fn unbroken_since(
        &self,
        sidecar: usize,
        process: &Process,
        observer: usize,
    ) -> Option<u64> {
        let cluster = self.sidecars[sidecar].cluster;
        let ways = process.sessions.iter().filter_map(|(number, session)| {
            let gateway = &self.gateways[*number];
            // One that knows its cluster to be removed takes no more words.
            if self.cut_off.contains(&(sidecar, *number)) || !self.knows(gateway, cluster) {
                return None;
            }
            session.id.filter(|_| gateway.run == session.run)?;
            gateway
                .catalog
                .as_ref()
                .filter(|_| gateway.still_since.is_none())?;
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
                    fits.then_some(stream.since.max(stream.stalled_until))?
                }
            };
            Some(carried.max(session.since))
        });
        ways.min()
    }
}
