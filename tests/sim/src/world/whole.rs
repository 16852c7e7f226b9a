//! Registry and liveness of the same gateways, on one seed.
//!
//! A gateway has its driver and its disk, and its catalog, clamps and sessions. Power, pauses, cuts
//! and full disks strike it as a whole; its catalog and clamps follow its own replica, over
//! snapshots and restarts; the release moves by entries that the log takes.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weft_model::fixture::{name, release};
use weft_model::{Command, Federation, NodeId, Places, ServiceKey};
use weft_registry::disk::Space;

use super::{Outcome, Phase, Plan, Violation, World};
use crate::liveness::Met;
use crate::liveness::gateway::Gateway;
use crate::liveness::invariant::lack;
use crate::liveness::plane::{Plane, SECOND};
use crate::liveness::release::{key, next};
use crate::liveness::sidecar::Sidecar;
use crate::member::Member;

/// Clusters by number, from 1 on, and their regions.
const PLACES: [(&str, &str); 5] = [
    ("c1", "r1"),
    ("c2", "r2"),
    ("c3", "r3"),
    ("c4", "r4"),
    ("c5", "r5"),
];
/// The gateway that follows, the second of the first cluster; the others are numbered like their clusters.
const FOLLOWER: usize = PLACES.len();
/// Clusters with workloads: those that are there from the beginning.
const SERVING: u8 = 3;
/// Units of time in a step of what serves requests.
const STEP: u64 = 100 / SECOND;
/// Faults are so many times rarer than in the registry's own simulation: what they do to liveness
/// takes its time.
const RARER: u64 = 3;
/// The longest that a removed cluster goes on, in steps.
const LINGERS_MAX: u64 = 30 * SECOND;
/// Units of time with faults.
const STORMY: u64 = 9_000;
/// Units of time without, within which all must agree: what the registry may take, and then what
/// liveness may.
const FAIR: u64 = 8_000 + 90 * SECOND * STEP;

/// Runs a federation on a seed to its end, or to the first violation.
pub fn whole(plan: Plan) -> Result<(Outcome, Met), Violation> {
    let mut plane = plane(&plan);
    let mut world = World::new(plan);
    world.raises = true;
    world.play_whole(&mut plane).map_err(|what| Violation {
        trace: format!("{}{}", world.trace, plane.trace()),
        ..world.violation(what)
    })
}

fn plane(plan: &Plan) -> Plane {
    let mut rng = SmallRng::seed_from_u64(plan.seed ^ 0x3401E);
    let places = PLACES.into_iter().chain([PLACES[0]]);
    let gateways = places.enumerate().map(|(number, place)| {
        let mut gateway = Gateway::new(number, place);
        (gateway.member, gateway.starts_at) = (false, u64::MAX);
        gateway.keeps_view = number != FOLLOWER;
        gateway
    });
    let workloads: u8 = rng.random_range(1..=4);
    let serving = PLACES.into_iter().take(usize::from(SERVING));
    let sidecars = serving
        .flat_map(|(cluster, _)| (0..workloads).map(move |place| Sidecar::new(cluster, place)));
    let (gateways, sidecars) = (gateways.collect(), sidecars.collect());
    Plane::new(rng, gateways, sidecars, plan.echo)
}

impl World {
    fn play_whole(&mut self, plane: &mut Plane) -> Result<(Outcome, Met), String> {
        self.found()?;
        while self.joined.len() < self.clusters || self.lacks_follower() || !self.is_offered() {
            self.offer();
            self.step(Phase::Founding)?;
            if self.now > 10_000 {
                return Err("the federation did not come together in fair weather".into());
            }
        }
        let storm_ends = self.now + STORMY;
        while self.now < storm_ends {
            if self.now.is_multiple_of(RARER) {
                self.strike()?;
            }
            self.step_both(plane, Phase::Storm)?;
        }
        self.heal()?;
        let healed = self.now;
        self.tell(plane);
        plane.heal();
        let lacks = |world: &Self, plane: &Plane| {
            let late = || {
                world
                    .late(plane)
                    .map(|name| format!("{name} where its driver is"))
            };
            world.lack().or_else(late).or_else(|| lack(plane))
        };
        while let Some(lack) = lacks(self, plane) {
            self.step_both(plane, Phase::Healing)?;
            if self.now > healed + FAIR {
                return Err(format!("without faults for {FAIR} it lacks: {lack}"));
            }
        }
        self.check_final()?;
        let met = Met {
            healed_after: (self.now - healed) / STEP,
            ..plane.met()
        };
        Ok((self.outcome(healed), met))
    }

    fn step_both(&mut self, plane: &mut Plane, phase: Phase) -> Result<(), String> {
        self.step(phase)?;
        if !self.now.is_multiple_of(STEP) {
            return Ok(());
        }
        if phase == Phase::Storm {
            self.strike_plane(plane);
        }
        self.tell(plane);
        plane.take_step(|plane| self.follow(plane))
    }

    /// Clusters offer what their workloads serve, and an administrator begins a release of it.
    fn offer(&mut self) {
        let Some(state) = self.newest_state() else {
            return;
        };
        let service: ServiceKey = name("shop/checkout");
        for writer in &mut self.writers {
            let cluster = crate::client::cluster(writer.number);
            let lacks = state.export(&service, &cluster).is_none();
            if lacks && writer.pending.is_none() && self.rng.random_bool(0.1) {
                writer.offer(self.now, &mut self.rng, service.clone());
            }
        }
        if self.raised && self.admin.pending.is_none() && state.release(&key()).is_none() {
            let mut spec = release("checkout");
            spec.waves[0].regions = Places::Named([name("r2")].into());
            let command = Command::PutRelease(key(), Box::new(spec));
            self.admin.release(self.now, &mut self.rng, command);
        }
    }

    fn is_offered(&self) -> bool {
        let Some(state) = self.newest_state() else {
            return false;
        };
        let service: ServiceKey = name("shop/checkout");
        let offered = |number| {
            state
                .export(&service, &crate::client::cluster(number))
                .is_some()
        };
        (1..=SERVING).all(offered) && state.release(&key()).is_some()
    }

    fn newest_state(&self) -> Option<Federation> {
        let drivers = self.members.values().filter_map(|m| m.driver.as_ref());
        let newest = drivers.max_by_key(|driver| driver.image().index)?;
        Some(newest.image().state.clone())
    }

    /// Tells the gateways' other half what became of their processes, their disks and the network.
    fn tell(&self, plane: &mut Plane) {
        let nodes = self.gateways();
        for (number, node) in &nodes {
            if self.has_left(plane, *number) {
                plane.leave(*number);
            } else if let Some(member) = self.members.get(node) {
                tell_of(member, plane, *number);
            }
        }
        self.tell_partings(plane, &nodes);
    }

    /// Whether a removed cluster is gone. It goes on for a while, and says what it has to say to
    /// whoever still listens.
    fn has_left(&self, plane: &mut Plane, number: usize) -> bool {
        let removed = |cluster: &u8| usize::from(*cluster) == number + 1;
        if !self.removed.iter().any(removed) {
            return false;
        }
        let lasts = plane.rng.random_range(1..LINGERS_MAX);
        let leaves_at = plane.gateways[number]
            .leaves_at
            .get_or_insert(plane.step + lasts);
        *leaves_at <= plane.step
    }

    /// A stream needs both directions, and both ends.
    fn tell_partings(&self, plane: &mut Plane, nodes: &BTreeMap<usize, NodeId>) {
        let cuts = &self.network.cuts;
        for (one, first) in nodes {
            for (other, second) in nodes.range(one + 1..) {
                let cut = cuts.contains(&(*first, *second)) || cuts.contains(&(*second, *first));
                let still = |number: usize| plane.gateways[number].still_since.is_some();
                let parted = cut || still(*one) || still(*other);
                plane.set_parted((*one, *other), parted);
            }
        }
    }

    /// Replicas of gateways that run and move, as they are now.
    fn follow(&self, plane: &mut Plane) {
        for (number, node) in self.gateways() {
            let gateway = &plane.gateways[number];
            let moves = gateway.catalog.is_some() && gateway.still_since.is_none();
            if let (Some(driver), true) = (self.driver(node), moves) {
                let image = driver.image();
                plane.learn(number, &image.state, image.index);
            }
        }
    }

    /// A gateway whose other half does not know what its driver knows.
    fn late(&self, plane: &Plane) -> Option<String> {
        let nodes = self.gateways();
        let members = plane.gateways.iter().filter(|gateway| gateway.member);
        let mut late = members.filter(|gateway| {
            let node = nodes.get(&gateway.number);
            node.is_none_or(|node| gateway.applied != self.applied(*node))
        });
        late.next().map(|gateway| gateway.name.to_string())
    }

    /// Gateways by number.
    fn gateways(&self) -> BTreeMap<usize, NodeId> {
        let first = self.joined.iter();
        let first = first.map(|(number, node)| (usize::from(*number) - 1, *node));
        first
            .chain(self.follower.map(|node| (FOLLOWER, node)))
            .collect()
    }

    /// What happens to workloads, and what people do about the release.
    fn strike_plane(&mut self, plane: &mut Plane) {
        if !plane.rng.random_bool(0.15) {
            return;
        }
        let gateway = plane.rng.random_range(0..plane.gateways.len());
        let sidecar = plane.rng.random_range(0..plane.sidecars.len());
        match plane.rng.random_range(0..12) {
            0 => plane.cut_off(sidecar, gateway),
            1..3 => plane.mend_sessions(),
            3 => plane.kill(sidecar),
            4..6 => plane.end(sidecar),
            6..8 => plane.flip(sidecar),
            8 => plane.clamp(gateway),
            _ => self.proceed(plane, gateway),
        }
    }

    /// An administrator goes on with the release, by what this gateway knows of it and of clamps.
    fn proceed(&mut self, plane: &mut Plane, gateway: usize) {
        let asked = &plane.gateways[gateway];
        let runs = asked.catalog.is_some() && asked.still_since.is_none();
        let Some(record) = asked.federation.release(&key()) else {
            return;
        };
        if !runs || self.admin.pending.is_some() {
            return;
        }
        if let Some((command, named)) = next(record, asked, &mut plane.rng) {
            plane.invariants.weights.name(named);
            self.admin.release(self.now, &mut self.rng, command);
        }
    }
}

/// A gateway's process, disk and pauses, as they are now.
fn tell_of(member: &Member, plane: &mut Plane, number: usize) {
    let gateway = &mut plane.gateways[number];
    gateway.member = true;
    let other = std::mem::replace(&mut gateway.starts, member.runs) != member.runs;
    if gateway.catalog.is_some() && (member.driver.is_none() || other) {
        plane.lose_power(number);
    }
    let gateway = &mut plane.gateways[number];
    if let (Some(driver), None) = (&member.driver, &gateway.catalog) {
        let image = driver.image();
        (gateway.federation, gateway.applied) = (image.state.clone(), image.index);
        gateway.starts_at = plane.step;
    }
    gateway.set_full(member.space == Space::Full && !member.follows());
    match member.resumes_at {
        Some(_) if gateway.catalog.is_some() => plane.pause(number),
        Some(_) => {}
        None => plane.resume(number),
    }
}
