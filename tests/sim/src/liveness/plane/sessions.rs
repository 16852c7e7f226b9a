//! Sidecars and the gateways of their own cluster.

use rand::Rng;
use weft_model::Health;
use weft_model::fixture::name;
use weft_plan::Moment;
use weft_plan::catalog::SessionId;

use super::{Plane, SECOND};
use crate::liveness::sidecar::Session;

/// The longest pause between two attempts of a sidecar to reach a gateway.
const PAUSE_MAX: u64 = 10 * SECOND;
/// A gateway that says nothing for so long is taken for gone.
const SILENCE_MAX: u64 = 15 * SECOND;
/// Between two signs of life.
const HEARTBEAT: u64 = 2 * SECOND;

impl Plane {
    pub(crate) fn run_sessions(&mut self, now: Moment) -> Result<(), String> {
        for sidecar in 0..self.sidecars.len() {
            for gateway in 0..self.gateways.len() {
                if self.sidecars[sidecar].cluster == self.gateways[gateway].cluster {
                    self.run_session(sidecar, gateway, now)?;
                }
            }
        }
        Ok(())
    }

    fn run_session(&mut self, at: usize, to: usize, now: Moment) -> Result<(), String> {
        let (step, rng) = (self.step, &mut self.rng);
        let sidecar = &mut self.sidecars[at];
        let gateway = &mut self.gateways[to];
        let Some(mut process) = sidecar.process.take() else {
            return Ok(());
        };
        let known = process.sessions.get(&to).copied();
        let mut session = known.unwrap_or_else(|| Session {
            id: None,
            run: 0,
            dials_at: step + rng.random_range(0..SECOND),
            told: 0,
            since: step,
        });
        // Another gateway than before is noticed at once, and so is one that was killed. One that
        // lost its power says nothing.
        let gone = match (&gateway.catalog, gateway.died_silently) {
            (Some(_), _) => gateway.run != session.run,
            (None, Some(at)) => at + SILENCE_MAX < step,
            (None, None) => true,
        };
        if session.id.is_some() && gone {
            session.id = None;
            session.dials_at = step + rng.random_range(0..PAUSE_MAX);
        }
        let silent = gateway
            .still_since
            .is_some_and(|since| since + SILENCE_MAX < step);
        if silent && let Some(id) = session.id.take() {
            gateway.ended.push(id);
            session.dials_at = step + rng.random_range(0..PAUSE_MAX);
        }
        let reaches = !self.cut_off.contains(&(at, to)) && gateway.still_since.is_none();
        let law = self.law.as_ref().unwrap_or(&gateway.federation);
        if let (Some(catalog), true) = (&mut gateway.catalog, reaches) {
            let lawful = law.cluster(&name(sidecar.cluster)).is_some();
            if session.id.is_none() && session.dials_at <= step && lawful {
                let id = SessionId(rng.random());
                catalog.open_session(id, sidecar.identity(), now);
                session = Session {
                    id: Some(id),
                    run: gateway.run,
                    told: 0,
                    since: step,
                    ..session
                };
            }
            if let Some(id) = session.id {
                if session.told < process.sequence && lawful {
                    session.told = process.sequence;
                    let endpoint = sidecar.endpoint(&process);
                    let put = catalog.put(id, endpoint, law, now);
                    put.map_err(|error| format!("{} refused a word: {error}", gateway.name))?;
                } else if (step + at as u64).is_multiple_of(HEARTBEAT) {
                    catalog.heard(id, now);
                }
            }
        }
        process.sessions.insert(to, session);
        sidecar.process = Some(process);
        Ok(())
    }

    /// The workload fails a check, or passes again.
    pub(crate) fn flip(&mut self, at: usize) {
        let step = self.step;
        if let Some(process) = &mut self.sidecars[at].process {
            process.sequence += 1;
            process.changed = step;
            process.health = match process.health {
                Health::Ready => Health::NotReady,
                _ => Health::Ready,
            };
        }
    }

    /// The workload is gone without a word; its connections may be reset, or go silent.
    pub(crate) fn kill(&mut self, at: usize) {
        let reset = self.rng.random_bool(0.5);
        let starts_at = self.step + self.rng.random_range(1..60 * SECOND);
        let sidecar = &mut self.sidecars[at];
        let Some(process) = sidecar.process.take() else {
            return;
        };
        self.met.workloads_died += 1;
        sidecar.starts_at = starts_at;
        for (number, session) in process.sessions {
            let gateway = &mut self.gateways[number];
            if gateway.still_since.is_some() {
                gateway.ended.extend(session.id.filter(|_| reset));
            } else if let (true, Some(id), Some(catalog)) =
                (reset, session.id, &mut gateway.catalog)
            {
                catalog.close_session(id);
            }
        }
    }

    /// The workload ends in good order. It may say first that it is not ready any more; then its
    /// sidecar says to the gateways that it reaches that it ended, to all, or only to the first if
    /// there is no time for more.
    pub(crate) fn end(&mut self, at: usize) {
        let now = self.now();
        let (drains, in_time) = (self.rng.random_bool(0.5), self.rng.random_bool(0.5));
        let starts_at = self.step + self.rng.random_range(1..20 * SECOND);
        let sidecar = &mut self.sidecars[at];
        let Some(mut process) = sidecar.process.take() else {
            return;
        };
        self.met.workloads_ended += 1;
        sidecar.starts_at = starts_at;
        if drains {
            process.sequence += 1;
            process.health = Health::NotReady;
        }
        let last = sidecar.endpoint(&process);
        let mut heard = None;
        for (number, session) in &process.sessions {
            let gateway = &mut self.gateways[*number];
            let reaches = !self.cut_off.contains(&(at, *number))
                && gateway.run == session.run
                && gateway.still_since.is_none();
            let law = self.law.as_ref().unwrap_or(&gateway.federation);
            if let (true, Some(id), Some(catalog)) = (reaches, session.id, &mut gateway.catalog) {
                if drains {
                    // A catalog that refuses the word shows the one before it.
                    drop(catalog.put(id, last.clone(), law, now));
                }
                if heard.is_none() || in_time {
                    let sequence = process.sequence + 1;
                    let done = catalog.withdraw(id, process.id, sequence, now);
                    heard = heard.or(done.is_ok().then_some(process.id));
                }
                catalog.close_session(id);
            }
        }
        if let Some(id) = heard {
            self.invariants.withdrawn.note(id);
        }
    }
}
