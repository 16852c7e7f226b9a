//! Releases: the federation's word on which version of a service answers whom.
//!
//! Operators write them, as they do routes. What raises the canary's share names the run and the
//! stage that its author saw; what lowers it names neither, so that it wins every race.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::author::{Cause, Standing};
use super::{Federation, Table};
use crate::release::asked;
use crate::{
    Advance, AppProtocol, ClampId, Event, Index, Key, Kind, Refusal, ReleaseAction, ReleaseChange,
    ReleaseEnd, ReleasePhase, ReleaseRecord, ReleaseRefusal, ReleaseSpec, Role, ServiceKey, Stage,
    quota,
};

type Done = Result<Vec<Event>, Refusal>;

impl Federation {
    /// All releases, by namespace and name.
    pub fn releases(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<ReleaseRecord>)> {
        self.releases.iter()
    }

    /// The release of this namespace and name.
    pub fn release(&self, key: &ServiceKey) -> Option<&Arc<ReleaseRecord>> {
        self.releases.get(key)
    }

    /// The release in effect for a service: the one started last, whatever became of it.
    pub fn release_for<'a>(
        &'a self,
        service: &'a ServiceKey,
    ) -> Option<(&'a ServiceKey, &'a Arc<ReleaseRecord>)> {
        self.releases_of(service)
            .find(|(_, record)| record.is_in_effect())
    }

    fn releases_of<'a>(
        &'a self,
        service: &'a ServiceKey,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'a Arc<ReleaseRecord>)> {
        let of_namespace = super::in_namespace(&self.releases, &service.namespace);
        of_namespace.filter(|(key, record)| record.spec.key(&key.namespace) == *service)
    }

    pub(super) fn put_release(
        &mut self,
        cause: &Cause<'_>,
        key: &ServiceKey,
        spec: &ReleaseSpec,
    ) -> Done {
        cause.needs_role(Role::Operator, format!("release {key}"))?;
        let invalid = |problem| Refusal::invalid(Kind::Release, key, problem);
        spec.check().map_err(invalid)?;
        let old = self.releases.get(key);
        // Whatever became of it: what re-applies files must not restart what somebody stopped.
        if old.is_some_and(|old| old.spec == *spec) {
            return Ok(Vec::new());
        }
        let service = spec.key(&key.namespace);
        self.may_start(key, &service)
            .map_err(|why| refused(key, why))?;
        self.check_audience(&service, spec).map_err(invalid)?;
        if old.is_none() && self.releases.len() >= quota::RELEASES_MAX {
            let max = quota::RELEASES_MAX;
            return Err(invalid(format!(
                "there are {max} releases, the most there may be: delete ended ones"
            )));
        }
        let mut record = ReleaseRecord {
            spec: spec.clone(),
            created: cause.index,
            generation: cause.index,
            phase: ReleasePhase::Progressing,
            stage: Stage::FIRST,
            cut: BTreeSet::new(),
            lifted: BTreeSet::new(),
            superseded: None,
            history: old.map(|old| old.history.clone()).unwrap_or_default(),
        };
        note(&mut record, cause, ReleaseAction::Started);
        let mut events = self.supersede(cause, key, &service);
        Arc::make_mut(&mut self.releases).insert(key.clone(), Arc::new(record));
        events.push(Event::Put(Key::Release(key.clone())));
        Ok(events)
    }

    /// Passes if neither the release nor another one of the service is under way.
    fn may_start(&self, key: &ServiceKey, service: &ServiceKey) -> Result<(), ReleaseRefusal> {
        let old = self.releases.get(key);
        if old.is_some_and(|old| old.phase.is_under_way()) {
            return Err(ReleaseRefusal::Fixed);
        }
        let mut others = self.releases_of(service);
        match others.find(|(_, other)| other.phase.is_under_way()) {
            Some((other, _)) => Err(ReleaseRefusal::OtherUnderWay {
                service: service.clone(),
                other: other.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Conditions on requests would keep everybody of a service without requests from its canary.
    fn check_audience(&self, service: &ServiceKey, spec: &ReleaseSpec) -> Result<(), String> {
        let known = self.services.get(service);
        let opaque = known.is_some_and(|service| {
            let mut ports = service.ports.iter();
            ports.all(|port| port.app_protocol == AppProtocol::Tcp)
        });
        if opaque && !spec.audience.is_everyone() {
            return Err(format!(
                "audience is for requests, and {service} carries TCP on every port: leave it out"
            ));
        }
        Ok(())
    }

    /// Makes history of the service's other releases; all of them have ended.
    fn supersede(
        &mut self,
        cause: &Cause<'_>,
        key: &ServiceKey,
        service: &ServiceKey,
    ) -> Vec<Event> {
        let current = self.releases_of(service);
        let current = current.filter(|(other, it)| *other != key && it.is_in_effect());
        let current: Vec<ServiceKey> = current.map(|(other, _)| other.clone()).collect();
        for other in &current {
            if let Some(record) = record_mut(&mut self.releases, other) {
                record.superseded = Some(cause.index);
                record.generation = cause.index;
            }
        }
        let changed = |other| Event::Put(Key::Release(other));
        current.into_iter().map(changed).collect()
    }

    pub(super) fn advance_release(
        &mut self,
        cause: &Cause<'_>,
        key: &ServiceKey,
        advance: Advance,
    ) -> Done {
        let record = self.steered(cause, key)?;
        let Advance { run, from, to } = advance;
        let last = record.spec.last_stage();
        let why = if record.created != run {
            let created = record.created;
            Some(ReleaseRefusal::OtherRun { created })
        } else if record.phase != ReleasePhase::Progressing {
            Some(by_phase(record, asked::PROMOTED))
        } else if record.stage != from {
            let at = record.stage;
            Some(ReleaseRefusal::Moved { at, from })
        } else if to <= from || to > last.next() {
            Some(ReleaseRefusal::NoStage { from, to, last })
        } else {
            None
        };
        match why {
            Some(why) => Err(refused(key, why)),
            None if to > last => self.change(cause, key, ReleaseAction::Completed, |record| {
                record.phase = ReleasePhase::Completed;
                record.stage = last;
            }),
            None => self.change(cause, key, ReleaseAction::Advanced { from, to }, |record| {
                record.stage = to;
            }),
        }
    }

    pub(super) fn pause_release(&mut self, cause: &Cause<'_>, key: &ServiceKey) -> Done {
        let record = self.steered(cause, key)?;
        match record.phase {
            ReleasePhase::Paused => Ok(Vec::new()),
            ReleasePhase::Progressing => self.change(cause, key, ReleaseAction::Paused, |record| {
                record.phase = ReleasePhase::Paused;
            }),
            _ => Err(refused(key, by_phase(record, asked::PAUSED))),
        }
    }

    pub(super) fn resume_release(
        &mut self,
        cause: &Cause<'_>,
        key: &ServiceKey,
        lifts: &[ClampId],
    ) -> Done {
        let record = self.steered(cause, key)?;
        if !record.phase.is_under_way() {
            return Err(refused(key, by_phase(record, asked::RESUMED)));
        }
        let mut lifted = record.lifted.clone();
        lifted.extend(lifts);
        let more = lifted.len() - record.lifted.len();
        if more == 0 && record.phase == ReleasePhase::Progressing {
            return Ok(Vec::new());
        }
        if lifted.len() > quota::LIFTED_MAX {
            let max = quota::LIFTED_MAX;
            let problem = format!("more than {max} clamps would be lifted: start it anew");
            return Err(Refusal::invalid(Kind::Release, key, problem));
        }
        let action = ReleaseAction::Resumed {
            lifted: u32::try_from(more).unwrap_or(u32::MAX),
        };
        self.change(cause, key, action, |record| {
            record.phase = ReleasePhase::Progressing;
            record.lifted = lifted;
        })
    }

    pub(super) fn end_release(
        &mut self,
        cause: &Cause<'_>,
        key: &ServiceKey,
        end: &ReleaseEnd,
    ) -> Done {
        let record = self.steered(cause, key)?;
        // Everybody is on the stable version already: whoever asks for that has it.
        if record.phase.is_withdrawn() {
            return Ok(Vec::new());
        }
        match end {
            ReleaseEnd::AbortWave(wave) => self.abort_wave(cause, key, wave),
            ReleaseEnd::Abort => self.change(cause, key, ReleaseAction::Aborted, |record| {
                record.phase = ReleasePhase::Aborted;
            }),
            ReleaseEnd::RollBack => self.change(cause, key, ReleaseAction::RolledBack, |record| {
                record.phase = ReleasePhase::RolledBack;
            }),
            ReleaseEnd::StepBack { run, to } => self.step_back(cause, key, *run, *to),
        }
    }

    /// Also of a completed release, which is under way again: a promotion past the last stage must
    /// not win over it.
    fn abort_wave(&mut self, cause: &Cause<'_>, key: &ServiceKey, wave: &crate::WaveName) -> Done {
        let record = self.steered(cause, key)?;
        if record.spec.wave(wave).is_none() {
            return Err(refused(key, ReleaseRefusal::NoWave(wave.clone())));
        }
        if record.cut.contains(wave) {
            return Ok(Vec::new());
        }
        let action = ReleaseAction::AbortedWave { wave: wave.clone() };
        self.change(cause, key, action, |record| {
            record.phase = ReleasePhase::Paused;
            record.cut.insert(wave.clone());
        })
    }

    /// From wherever the release is by now: so it wins over a promotion in both orders. Also of a
    /// completed one, as an aborted wave.
    fn step_back(&mut self, cause: &Cause<'_>, key: &ServiceKey, run: Index, to: Stage) -> Done {
        let record = self.steered(cause, key)?;
        let (from, last, created) = (record.stage, record.spec.last_stage(), record.created);
        if created != run {
            return Err(refused(key, ReleaseRefusal::OtherRun { created }));
        }
        if to < Stage::FIRST || to > last {
            return Err(refused(key, ReleaseRefusal::NoStage { from, to, last }));
        }
        // Somebody lowered it as far already.
        if from <= to {
            return Ok(Vec::new());
        }
        let action = ReleaseAction::SteppedBack { from, to };
        self.change(cause, key, action, |record| {
            record.phase = ReleasePhase::Paused;
            record.stage = to;
        })
    }

    pub(super) fn delete_release(&mut self, cause: &Cause<'_>, key: &ServiceKey) -> Done {
        cause.needs_role(Role::Operator, format!("release {key}"))?;
        let unknown = || refused(key, ReleaseRefusal::Unknown);
        let record = self.releases.get(key).ok_or_else(unknown)?;
        if record.phase.is_under_way() {
            return Err(refused(key, by_phase(record, asked::DELETED)));
        }
        Arc::make_mut(&mut self.releases).remove(key);
        Ok(vec![Event::Deleted(Key::Release(key.clone()))])
    }

    /// The record that an operator wants to move, if it is in effect.
    fn steered(&self, cause: &Cause<'_>, key: &ServiceKey) -> Result<&ReleaseRecord, Refusal> {
        cause.needs_role(Role::Operator, format!("release {key}"))?;
        let unknown = || refused(key, ReleaseRefusal::Unknown);
        let record = self.releases.get(key).ok_or_else(unknown)?;
        match record.superseded {
            Some(since) => Err(refused(key, ReleaseRefusal::Superseded { since })),
            None => Ok(record),
        }
    }

    fn change(
        &mut self,
        cause: &Cause<'_>,
        key: &ServiceKey,
        action: ReleaseAction,
        change: impl FnOnce(&mut ReleaseRecord),
    ) -> Done {
        let unknown = || refused(key, ReleaseRefusal::Unknown);
        let record = record_mut(&mut self.releases, key).ok_or_else(unknown)?;
        change(record);
        note(record, cause, action);
        Ok(vec![Event::Put(Key::Release(key.clone()))])
    }
}

fn refused(key: &ServiceKey, why: ReleaseRefusal) -> Refusal {
    let key = key.clone();
    Refusal::Release { key, why }
}

fn by_phase(record: &ReleaseRecord, what: &'static str) -> ReleaseRefusal {
    let phase = record.phase;
    ReleaseRefusal::Phase { phase, what }
}

fn record_mut<'t>(
    table: &'t mut Table<ServiceKey, Arc<ReleaseRecord>>,
    key: &ServiceKey,
) -> Option<&'t mut ReleaseRecord> {
    Arc::make_mut(table).get_mut(key).map(Arc::make_mut)
}

/// Writes down what an operator did; the oldest is forgotten.
fn note(record: &mut ReleaseRecord, cause: &Cause<'_>, what: ReleaseAction) {
    record.generation = cause.index;
    if let Standing::Operator { user, .. } = &cause.standing {
        record.history.push(ReleaseChange {
            index: cause.index,
            time: cause.time,
            by: user.clone(),
            what,
        });
    }
    let over = record.history.len().saturating_sub(quota::HISTORY_MAX);
    record.history.drain(..over);
}
