//! What goes wrong, and its end.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::{SECOND, World};
use crate::liveness::invariant::Invariants;
use crate::liveness::release;

impl World {
    /// Lets something happen in this step, or nothing.
    pub(super) fn strike(&mut self, invariants: &mut Invariants) {
        if !self.rng.random_bool(0.08) {
            return;
        }
        let gateway = self.rng.random_range(0..self.gateways.len());
        let sidecar = self.rng.random_range(0..self.sidecars.len());
        match self.rng.random_range(0..20) {
            0..3 => self.part(gateway),
            3..6 => self.parted.clear(),
            6 => {
                self.cut_off.insert((sidecar, gateway));
                self.met.cuts += 1;
            }
            7..9 => self.mend_sessions(),
            9..11 => {
                let down = self.rng.random_range(1..20 * SECOND);
                self.met.gateways_died += 1;
                self.gateways[gateway].crash(self.step + down);
            }
            11 => self.kill(sidecar),
            12..14 => {
                if let Some(id) = self.end(sidecar) {
                    invariants.withdrawn.note(id);
                }
            }
            14..16 => self.flip(sidecar),
            16 => {
                let gateway = &mut self.gateways[gateway];
                let running = gateway.catalog.is_some();
                let made = running.then(|| release::clamp(gateway, &mut self.rng));
                self.met.clamps += usize::from(made.flatten().is_some());
            }
            _ => {
                let asked = &self.gateways[gateway];
                let named = release::proceed(&mut self.log, asked, &mut self.rng);
                invariants.weights.name(named);
            }
        }
    }

    /// One gateway and some of the others do not hear each other any more.
    fn part(&mut self, gateway: usize) {
        let share = *[0.3, 1.0].choose(&mut self.rng).unwrap_or(&1.0);
        for other in (0..self.gateways.len()).filter(|other| *other != gateway) {
            if self.rng.random_bool(share) {
                let pair = (gateway.min(other), gateway.max(other));
                self.parted.entry(pair).or_insert(self.step);
                self.met.cuts += 1;
            }
        }
    }

    fn mend_sessions(&mut self) {
        let step = self.step;
        for (sidecar, gateway) in std::mem::take(&mut self.cut_off) {
            if let Some(process) = &mut self.sidecars[sidecar].process {
                process.free_since = step;
                if let Some(session) = process.sessions.get_mut(&gateway) {
                    session.since = step;
                }
            }
        }
    }

    /// All faults end; what is down starts.
    pub(super) fn heal(&mut self) {
        self.parted.clear();
        self.mend_sessions();
        for gateway in &mut self.gateways {
            gateway.starts_at = 0;
        }
        for sidecar in &mut self.sidecars {
            sidecar.starts_at = 0;
        }
    }
}
