//! Releases: what is asked of them, what they have become, and why they refuse.

use weft_model::{
    Advance, ClampId, Index, ReleaseAction, ReleaseChange, ReleaseEnd, ReleasePhase, ReleaseRecord,
    ReleaseRefusal, ServiceKey, WallTime,
};
use weft_proto::log::{self, release_change, release_end, release_refusal};

use super::export::{read_service_key, write_service_key};
use super::field::{WireError, choice, clamp, id_bytes, name, names, present, stage, unspecified};
use super::field::{text, texts};
use super::route::read_spec;

type ReleaseRow = (ServiceKey, ReleaseRecord);

pub(super) fn write_advance(key: &ServiceKey, advance: Advance) -> log::ReleaseAdvance {
    let Advance { run, from, to } = advance;
    log::ReleaseAdvance {
        key: Some(write_service_key(key)),
        run: run.0,
        from: from.0.into(),
        to: to.0.into(),
    }
}

pub(super) fn read_advance(wire: &log::ReleaseAdvance) -> Result<(ServiceKey, Advance), WireError> {
    let advance = Advance {
        run: Index(wire.run),
        from: stage("from", wire.from)?,
        to: stage("to", wire.to)?,
    };
    Ok((read_service_key(wire.key.as_ref())?, advance))
}

pub(super) fn write_resume(key: &ServiceKey, lifts: &[ClampId]) -> log::ReleaseResume {
    log::ReleaseResume {
        key: Some(write_service_key(key)),
        lifts: lifts.iter().map(|id| id_bytes(&id.0)).collect(),
    }
}

pub(super) fn read_resume(
    wire: &log::ReleaseResume,
) -> Result<(ServiceKey, Vec<ClampId>), WireError> {
    let lifts = wire.lifts.iter().map(|id| clamp("lifts", id));
    let lifts: Result<Vec<ClampId>, WireError> = lifts.collect();
    Ok((read_service_key(wire.key.as_ref())?, lifts?))
}

pub(super) fn write_end(key: &ServiceKey, end: &ReleaseEnd) -> log::ReleaseEnd {
    use release_end::{How, StepBack, Unit};
    let how = match end {
        ReleaseEnd::Abort => How::Abort(Unit {}),
        ReleaseEnd::AbortWave(wave) => How::AbortWave(wave.to_string()),
        ReleaseEnd::RollBack => How::RollBack(Unit {}),
        ReleaseEnd::StepBack { run, to } => How::StepBack(StepBack {
            run: run.0,
            to: to.0.into(),
        }),
    };
    log::ReleaseEnd {
        key: Some(write_service_key(key)),
        how: Some(how),
    }
}

pub(super) fn read_end(wire: &log::ReleaseEnd) -> Result<(ServiceKey, ReleaseEnd), WireError> {
    use release_end::How;
    let end = match present("how", wire.how.as_ref())? {
        How::Abort(_) => ReleaseEnd::Abort,
        How::AbortWave(wave) => ReleaseEnd::AbortWave(name("abort_wave", wave)?),
        How::RollBack(_) => ReleaseEnd::RollBack,
        How::StepBack(wire) => ReleaseEnd::StepBack {
            run: Index(wire.run),
            to: stage("to", wire.to)?,
        },
    };
    Ok((read_service_key(wire.key.as_ref())?, end))
}

pub(super) fn write_row((key, record): &ReleaseRow) -> log::ReleaseRow {
    let ReleaseRecord {
        spec,
        created,
        generation,
        phase,
        stage,
        cut,
        lifted,
        superseded,
        history,
    } = record;
    log::ReleaseRow {
        key: Some(write_service_key(key)),
        spec_json: weft_model::spec_to_json(spec).into(),
        created: created.0,
        generation: generation.0,
        phase: write_phase(*phase),
        stage: stage.0.into(),
        cut: texts(cut),
        lifted: lifted.iter().map(|id| id_bytes(&id.0)).collect(),
        superseded: superseded.map(|index| index.0),
        history: history.iter().map(write_change).collect(),
    }
}

pub(super) fn read_row(wire: &log::ReleaseRow) -> Result<ReleaseRow, WireError> {
    let lifted = wire.lifted.iter().map(|id| clamp("releases.lifted", id));
    let record = ReleaseRecord {
        spec: read_spec(&wire.spec_json)?,
        created: Index(wire.created),
        generation: Index(wire.generation),
        phase: read_phase("releases.phase", wire.phase)?,
        stage: stage("releases.stage", wire.stage)?,
        cut: names("releases.cut", &wire.cut)?,
        lifted: lifted.collect::<Result<_, _>>()?,
        superseded: wire.superseded.map(Index),
        history: wire
            .history
            .iter()
            .map(read_change)
            .collect::<Result<_, _>>()?,
    };
    Ok((read_service_key(wire.key.as_ref())?, record))
}

fn write_change(change: &ReleaseChange) -> log::ReleaseChange {
    use release_change::{Advanced, Unit, What};
    let ReleaseChange {
        index,
        time,
        by,
        what,
    } = change;
    let what = match what {
        ReleaseAction::Started => What::Started(Unit {}),
        ReleaseAction::Advanced { from, to } => What::Advanced(Advanced {
            from: from.0.into(),
            to: to.0.into(),
        }),
        ReleaseAction::Completed => What::Completed(Unit {}),
        ReleaseAction::Paused => What::Paused(Unit {}),
        ReleaseAction::Resumed { lifted } => What::Resumed(*lifted),
        ReleaseAction::AbortedWave { wave } => What::AbortedWave(wave.to_string()),
        ReleaseAction::Aborted => What::Aborted(Unit {}),
        ReleaseAction::RolledBack => What::RolledBack(Unit {}),
        ReleaseAction::SteppedBack { from, to } => What::SteppedBack(Advanced {
            from: from.0.into(),
            to: to.0.into(),
        }),
    };
    log::ReleaseChange {
        index: index.0,
        time_ms: time.0,
        by: text(Some(by)),
        what: Some(what),
    }
}

fn read_change(wire: &log::ReleaseChange) -> Result<ReleaseChange, WireError> {
    use release_change::What;
    let what = match present("history.what", wire.what.as_ref())? {
        What::Started(_) => ReleaseAction::Started,
        What::Advanced(wire) => ReleaseAction::Advanced {
            from: stage("history.from", wire.from)?,
            to: stage("history.to", wire.to)?,
        },
        What::Completed(_) => ReleaseAction::Completed,
        What::Paused(_) => ReleaseAction::Paused,
        What::Resumed(lifted) => ReleaseAction::Resumed { lifted: *lifted },
        What::AbortedWave(wave) => ReleaseAction::AbortedWave {
            wave: name("history.aborted_wave", wave)?,
        },
        What::Aborted(_) => ReleaseAction::Aborted,
        What::RolledBack(_) => ReleaseAction::RolledBack,
        What::SteppedBack(wire) => ReleaseAction::SteppedBack {
            from: stage("history.from", wire.from)?,
            to: stage("history.to", wire.to)?,
        },
    };
    Ok(ReleaseChange {
        index: Index(wire.index),
        time: WallTime(wire.time_ms),
        by: name("history.by", &wire.by)?,
        what,
    })
}

pub(super) fn write_refusal(key: &ServiceKey, why: &ReleaseRefusal) -> log::ReleaseRefusal {
    use release_refusal::{Moved, NoStage, OtherUnderWay, Phase, Unit, Why};
    let why = match why {
        ReleaseRefusal::Unknown => Why::Unknown(Unit {}),
        ReleaseRefusal::OtherUnderWay { service, other } => Why::OtherUnderWay(OtherUnderWay {
            service: Some(write_service_key(service)),
            other: Some(write_service_key(other)),
        }),
        ReleaseRefusal::Moved { at, from } => Why::Moved(Moved {
            at: at.0.into(),
            from: from.0.into(),
        }),
        ReleaseRefusal::OtherRun { created } => Why::OtherRun(created.0),
        ReleaseRefusal::Phase { phase, what } => Why::Phase(Phase {
            phase: write_phase(*phase),
            what: (*what).to_owned(),
        }),
        ReleaseRefusal::Fixed => Why::Fixed(Unit {}),
        ReleaseRefusal::Superseded { since } => Why::Superseded(since.0),
        ReleaseRefusal::NoWave(wave) => Why::NoWave(wave.to_string()),
        ReleaseRefusal::NoStage { from, to, last } => Why::NoStage(NoStage {
            from: from.0.into(),
            to: to.0.into(),
            last: last.0.into(),
        }),
    };
    log::ReleaseRefusal {
        key: Some(write_service_key(key)),
        why: Some(why),
    }
}

pub(super) fn read_refusal(
    wire: &log::ReleaseRefusal,
) -> Result<(ServiceKey, ReleaseRefusal), WireError> {
    use release_refusal::Why;
    let why = match present("refusal.release", wire.why.as_ref())? {
        Why::Unknown(_) => ReleaseRefusal::Unknown,
        Why::OtherUnderWay(wire) => ReleaseRefusal::OtherUnderWay {
            service: read_service_key(wire.service.as_ref())?,
            other: read_service_key(wire.other.as_ref())?,
        },
        Why::Moved(wire) => ReleaseRefusal::Moved {
            at: stage("refusal.at", wire.at)?,
            from: stage("refusal.from", wire.from)?,
        },
        Why::OtherRun(created) => ReleaseRefusal::OtherRun {
            created: Index(*created),
        },
        Why::Phase(wire) => {
            ReleaseRefusal::phase(read_phase("refusal.phase", wire.phase)?, &wire.what)
        }
        Why::Fixed(_) => ReleaseRefusal::Fixed,
        Why::Superseded(since) => ReleaseRefusal::Superseded {
            since: Index(*since),
        },
        Why::NoWave(wave) => ReleaseRefusal::NoWave(name("refusal.no_wave", wave)?),
        Why::NoStage(wire) => ReleaseRefusal::NoStage {
            from: stage("refusal.from", wire.from)?,
            to: stage("refusal.to", wire.to)?,
            last: stage("refusal.last", wire.last)?,
        },
    };
    Ok((read_service_key(wire.key.as_ref())?, why))
}

fn write_phase(phase: ReleasePhase) -> i32 {
    let phase = match phase {
        ReleasePhase::Progressing => log::ReleasePhase::Progressing,
        ReleasePhase::Paused => log::ReleasePhase::Paused,
        ReleasePhase::Completed => log::ReleasePhase::Completed,
        ReleasePhase::Aborted => log::ReleasePhase::Aborted,
        ReleasePhase::RolledBack => log::ReleasePhase::RolledBack,
    };
    phase.into()
}

fn read_phase(field: &'static str, number: i32) -> Result<ReleasePhase, WireError> {
    match choice(field, number)? {
        log::ReleasePhase::Unspecified => Err(unspecified(field)),
        log::ReleasePhase::Progressing => Ok(ReleasePhase::Progressing),
        log::ReleasePhase::Paused => Ok(ReleasePhase::Paused),
        log::ReleasePhase::Completed => Ok(ReleasePhase::Completed),
        log::ReleasePhase::Aborted => Ok(ReleasePhase::Aborted),
        log::ReleasePhase::RolledBack => Ok(ReleasePhase::RolledBack),
    }
}
