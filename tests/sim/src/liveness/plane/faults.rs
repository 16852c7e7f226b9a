//! What goes wrong, and its end.

use rand::Rng;
use rand::seq::IndexedRandom;
use weft_model::{ClusterName, Federation, Index};

use super::Plane;
use crate::liveness::release;

impl Plane {
    /// A gateway loses its power.
    pub(crate) fn lose_power(&mut self, gateway: usize) {
        self.crash(gateway, u64::MAX);
        self.gateways[gateway].died_silently = Some(self.step);
    }

    /// A gateway is killed, and starts again at that step.
    pub(crate) fn crash(&mut self, gateway: usize, starts_at: u64) {
        self.met.gateways_died += 1;
        self.gateways[gateway].crash(starts_at);
    }

    /// Whether two gateways, the lower number first, hear each other.
    pub(crate) fn set_parted(&mut self, pair: (usize, usize), parted: bool) {
        if !parted {
            self.parted.remove(&pair);
        } else if !self.parted.contains_key(&pair) {
            self.parted.insert(pair, self.step);
            self.met.cuts += 1;
        }
    }

    /// A gateway stands still: it reads nothing, says nothing, and knows nothing of it.
    pub(crate) fn pause(&mut self, gateway: usize) {
        let gateway = &mut self.gateways[gateway];
        if gateway.still_since.is_none() {
            self.met.paused += 1;
            gateway.still_since = Some(self.step);
        }
    }

    /// It goes on, and hears first of what ended meanwhile.
    pub(crate) fn resume(&mut self, number: usize) {
        let (step, gateway) = (self.step, &mut self.gateways[number]);
        if gateway.still_since.take().is_none() {
            return;
        }
        (gateway.since, gateway.goes_on) = (step, true);
        for id in std::mem::take(&mut gateway.ended) {
            if let Some(catalog) = &mut gateway.catalog {
                catalog.close_session(id);
            }
        }
        for process in self.sidecars.iter_mut().filter_map(|s| s.process.as_mut()) {
            if let Some(session) = process.sessions.get_mut(&number) {
                session.since = step;
                process.free_since = step;
            }
        }
    }

    /// A gateway's replica has come to a state. It ends what joins it to clusters that left.
    pub(crate) fn learn(&mut self, number: usize, state: &Federation, applied: Index) {
        let gateway = &mut self.gateways[number];
        if gateway.applied == applied {
            return;
        }
        for left in gateway.learn(state, applied) {
            self.part_from(number, &left);
        }
    }

    fn part_from(&mut self, number: usize, cluster: &ClusterName) {
        let gateways = &self.gateways;
        let theirs = |other: usize| gateways[other].cluster == cluster.as_str();
        self.streams
            .retain(|(from, to), _| !(*to == number && theirs(*from)));
        for ((from, to), stream) in &mut self.streams {
            stream.ended |= *from == number && theirs(*to);
        }
    }

    /// A cluster is no member any more: its gateway and its workloads are gone.
    pub(crate) fn leave(&mut self, number: usize) {
        let gateway = &mut self.gateways[number];
        if !std::mem::take(&mut gateway.member) {
            return;
        }
        gateway.crash(u64::MAX);
        self.met.left += 1;
        let cluster = gateway.cluster;
        for sidecar in self.sidecars.iter_mut().filter(|s| s.cluster == cluster) {
            sidecar.process = None;
        }
    }

    /// A sidecar and a gateway of its cluster, which this number chooses, do not hear each other any more.
    pub(crate) fn cut_off(&mut self, sidecar: usize, chosen: usize) {
        let cluster = self.sidecars[sidecar].cluster;
        let own = self.gateways.iter().filter(|g| g.cluster == cluster);
        let own: Vec<usize> = own.map(|gateway| gateway.number).collect();
        self.cut_off.insert((sidecar, own[chosen % own.len()]));
        self.met.cuts += 1;
    }

    /// Whoever is asked lowers the release, in its own region.
    pub(crate) fn clamp(&mut self, gateway: usize) {
        let gateway = &mut self.gateways[gateway];
        let runs = gateway.catalog.is_some() && gateway.still_since.is_none();
        let made = runs.then(|| release::clamp(gateway, &mut self.rng));
        let made = made.flatten().is_some();
        self.met.clamps += usize::from(made);
        self.met.unkept += usize::from(made && gateway.is_behind());
    }

    /// One gateway and some of the others do not hear each other any more.
    pub(crate) fn part(&mut self, gateway: usize) {
        let share = *[0.3, 1.0].choose(&mut self.rng).unwrap_or(&1.0);
        for other in (0..self.gateways.len()).filter(|other| *other != gateway) {
            if self.rng.random_bool(share) {
                let pair = (gateway.min(other), gateway.max(other));
                self.parted.entry(pair).or_insert(self.step);
                self.met.cuts += 1;
            }
        }
    }

    pub(crate) fn mend_sessions(&mut self) {
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
    pub(crate) fn heal(&mut self) {
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
