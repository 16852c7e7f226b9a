//! Liveness alone: a log that everybody follows, each at its own pace.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weft_model::fixture::{CLUSTERS, Log, federation};

use super::gateway::Gateway;
use super::invariant::lack;
use super::plane::{Met, Plane, SECOND};
use super::release;
use super::sidecar::Sidecar;
use crate::world::Violation;

/// Steps with faults.
const STORMY: u64 = 240 * SECOND;
/// Steps without, within which all must agree: a held shrink (30 s), a gateway's recovery (15 s),
/// a session's grace and a witness's patience may come one after the other.
const FAIR: u64 = 90 * SECOND;

struct World {
    plane: Plane,
    log: Log,
}

/// Runs a seed to its end, or to the first violation.
///
/// `echo` keeps the last lines of the trace.
pub fn run(seed: u64, echo: bool) -> Result<Met, Violation> {
    let mut world = World::new(seed, echo);
    world.play().map_err(|what| Violation {
        at: world.plane.step,
        what,
        trace: world.plane.trace(),
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
        let sidecars = CLUSTERS
            .into_iter()
            .take(2)
            .flat_map(|(cluster, _)| (0..workloads).map(move |place| Sidecar::new(cluster, place)));
        let sidecars = sidecars.collect();
        let mut plane = Plane::new(rng, gateways, sidecars, echo);
        plane.law = Some(federation());
        Self {
            plane,
            log: release::log(),
        }
    }

    fn play(&mut self) -> Result<Met, String> {
        while self.plane.step < STORMY {
            self.strike();
            self.take_step()?;
        }
        self.plane.heal();
        while let Some(lack) = self.lack() {
            self.take_step()?;
            if self.plane.step > STORMY + FAIR {
                return Err(format!(
                    "without faults for {} s, it lacks: {lack}",
                    FAIR / SECOND
                ));
            }
        }
        Ok(Met {
            healed_after: self.plane.step - STORMY,
            ..self.plane.met()
        })
    }

    fn take_step(&mut self) -> Result<(), String> {
        let log = &self.log;
        self.plane.take_step(|plane| follow(log, plane))
    }

    fn lack(&self) -> Option<String> {
        let length = self.log.entries.len() as u64;
        let late = |gateway: &&Gateway| gateway.applied.0 != length;
        match self.plane.gateways.iter().find(late) {
            Some(gateway) => Some(format!("{} at the end of the log", gateway.name)),
            None => lack(&self.plane),
        }
    }

    /// Lets something happen in this step, or nothing.
    fn strike(&mut self) {
        let plane = &mut self.plane;
        if !plane.rng.random_bool(0.08) {
            return;
        }
        let gateway = plane.rng.random_range(0..plane.gateways.len());
        let sidecar = plane.rng.random_range(0..plane.sidecars.len());
        match plane.rng.random_range(0..20) {
            0..3 => plane.part(gateway),
            3..6 => plane.parted.clear(),
            6 => plane.cut_off(sidecar, gateway),
            7..9 => plane.mend_sessions(),
            9..11 => {
                let down = plane.rng.random_range(1..20 * SECOND);
                plane.crash(gateway, plane.step + down);
            }
            11 => plane.kill(sidecar),
            12..14 => plane.end(sidecar),
            14..16 => plane.flip(sidecar),
            16 => plane.clamp(gateway),
            _ => self.proceed(gateway),
        }
    }

    /// The administrator goes on with the release, by what this gateway knows of clamps.
    fn proceed(&mut self, gateway: usize) {
        let plane = &mut self.plane;
        let Some(record) = self.log.state.release(&release::key()) else {
            return;
        };
        let asked = &plane.gateways[gateway];
        if let Some((command, named)) = release::next(record, asked, &mut plane.rng) {
            plane.invariants.weights.name(named);
            self.log.write(self.log.admin(), command);
        }
    }
}

/// Replicas of running gateways come after the log, each at its own pace.
fn follow(log: &Log, plane: &mut Plane) {
    let length = log.entries.len();
    for gateway in plane.gateways.iter_mut().filter(|g| g.catalog.is_some()) {
        let applied = usize::try_from(gateway.applied.0).unwrap_or(length);
        let ahead = length - applied;
        if ahead > 0 && plane.rng.random_bool(0.15) {
            gateway.follow(log, applied + plane.rng.random_range(1..=ahead));
        }
    }
}
