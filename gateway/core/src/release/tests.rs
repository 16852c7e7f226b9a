use weft_model::fixture::{Log, name, release};
use weft_model::{Advance, Command, FormatLevel, Index, ReleaseEnd, ReleaseSpec, WallTime};

use super::*;
use RowState::{Aborted, Active, Done, Outside, Waiting};

const KEY: &str = "shop/v2";

fn place(cluster: &str, region: &str) -> CallerPlace {
    CallerPlace {
        cluster: name(cluster),
        region: name(region),
    }
}

fn eu() -> CallerPlace {
    place("eu-west-1", "eu-west")
}

fn us() -> CallerPlace {
    place("us-east-1", "us-east")
}

/// A log with the release, at `stage`.
fn at(spec: ReleaseSpec, stage: u16) -> Log {
    let mut log = Log::founded();
    log.raise(FormatLevel::RELEASES);
    log.accept(log.admin(), Command::PutRelease(name(KEY), Box::new(spec)));
    if stage > 1 {
        let advance = Advance {
            run: record(&log).created,
            from: Stage::FIRST,
            to: Stage(stage),
        };
        log.accept(log.admin(), Command::AdvanceRelease(name(KEY), advance));
    }
    log
}

fn record(log: &Log) -> &ReleaseRecord {
    log.state.release(&name(KEY)).unwrap()
}

fn end(log: &mut Log, end: ReleaseEnd) {
    log.accept(log.admin(), Command::EndRelease(name(KEY), end));
}

#[track_caller]
fn check(log: &Log, caller: &CallerPlace, clamps: &[Clamp], percent: u8, why: WeightReason) {
    let weight = Percent::new(percent).unwrap().into();
    let effective = super::weight(&name(KEY), record(log), caller, clamps);
    assert_eq!(effective, Effective { weight, why });
}

fn clamp(log: &Log, id: u8, region: &str, percent: u8) -> Clamp {
    Clamp {
        id: ClampId([id; 16]),
        release: name(KEY),
        run: record(log).created,
        region: name(region),
        cluster: name("eu-west-1"),
        gateway: name("gw"),
        weight: Percent::new(percent).unwrap(),
        made: WallTime(1),
        by: name("ana"),
    }
}

#[test]
fn history_tells_the_stage_after_each_change() {
    let mut log = at(release("checkout"), 3);
    log.raise(FormatLevel::STEPS_BACK);
    let run = record(&log).created;
    log.accept(log.admin(), Command::PauseRelease(name(KEY)));
    end(&mut log, ReleaseEnd::StepBack { run, to: Stage(2) });
    let known = |log: &Log| {
        let stages = stages_after(record(log)).into_iter();
        stages
            .map(|stage| stage.map(|Stage(stage)| stage))
            .collect::<Vec<_>>()
    };
    assert_eq!(known(&log), [Some(1), Some(3), Some(3), Some(2)]);
    let mut forgetful = record(&log).clone();
    forgetful.history.remove(0);
    forgetful.history.remove(0);
    assert_eq!(stages_after(&forgetful), [None, Some(Stage(2))]);
}

#[test]
fn waves_run_one_after_the_other() {
    let (west, world) = (|| name("west-europe"), || name("world"));
    let check = |stage, here, there| {
        let log = at(release("checkout"), stage);
        let (percent, why) = here;
        check(&log, &eu(), &[], percent, why);
        let (percent, why) = there;
        check(&log, &us(), &[], percent, why);
    };
    let waits = || (0, WeightReason::Waiting(world()));
    check(1, (5, WeightReason::Stage(west(), Stage(1))), waits());
    check(2, (50, WeightReason::Stage(west(), Stage(2))), waits());
    check(3, (100, WeightReason::Stage(west(), Stage(3))), waits());
    let held = || (100, WeightReason::Stage(west(), Stage(3)));
    check(4, held(), (25, WeightReason::Stage(world(), Stage(4))));
    check(5, held(), (100, WeightReason::Stage(world(), Stage(5))));
    // Completed: nothing rises that no step says.
    check(6, held(), (100, WeightReason::Stage(world(), Stage(5))));
}

#[test]
fn who_is_in_no_wave_never_meets_the_canary() {
    let mut spec = release("checkout");
    spec.waves.pop();
    for stage in [1, 3, 4] {
        check(
            &at(spec.clone(), stage),
            &us(),
            &[],
            0,
            WeightReason::NoWave,
        );
    }
}

#[test]
fn a_wave_that_was_aborted_has_nothing_and_the_others_hold() {
    let mut log = at(release("checkout"), 4);
    end(&mut log, ReleaseEnd::AbortWave(name("west-europe")));
    check(&log, &eu(), &[], 0, WeightReason::Cut(name("west-europe")));
    check(
        &log,
        &us(),
        &[],
        25,
        WeightReason::Stage(name("world"), Stage(4)),
    );
}

#[test]
fn after_an_abort_or_a_rollback_nobody_meets_it() {
    for (how, phase) in [
        (ReleaseEnd::Abort, ReleasePhase::Aborted),
        (ReleaseEnd::RollBack, ReleasePhase::RolledBack),
    ] {
        for stage in 1..=6 {
            let mut log = at(release("checkout"), stage);
            end(&mut log, how.clone());
            for caller in [eu(), us()] {
                check(&log, &caller, &[], 0, WeightReason::Withdrawn(phase));
            }
        }
    }
}

#[test]
fn the_least_clamp_counts_until_it_is_lifted() {
    let mut log = at(release("checkout"), 2);
    let stage = || WeightReason::Stage(name("west-europe"), Stage(2));
    let clamps = [
        clamp(&log, 3, "eu-west", 20),
        clamp(&log, 2, "eu-west", 10),
        clamp(&log, 1, "eu-west", 10),
        clamp(&log, 9, "us-east", 0),
        clamp(&log, 8, "eu-west", 50),
        Clamp {
            run: Index(1),
            ..clamp(&log, 7, "eu-west", 0)
        },
        Clamp {
            release: name("shop/v1"),
            ..clamp(&log, 6, "eu-west", 0)
        },
    ];
    check(
        &log,
        &eu(),
        &clamps,
        10,
        WeightReason::Clamped(ClampId([1; 16])),
    );
    let lift = |log: &mut Log, ids: &[u8]| {
        let ids = ids.iter().map(|id| ClampId([*id; 16])).collect();
        log.accept(log.admin(), Command::ResumeRelease(name(KEY), ids));
    };
    lift(&mut log, &[1, 2]);
    check(
        &log,
        &eu(),
        &clamps,
        20,
        WeightReason::Clamped(ClampId([3; 16])),
    );
    lift(&mut log, &[3]);
    check(&log, &eu(), &clamps, 50, stage());
}

#[test]
fn a_report_has_a_row_for_each_wave_and_region() {
    let mut spec = release("checkout");
    spec.waves[1].regions = weft_model::Places::Named([name("us-east")].into());
    let places = || {
        [
            eu(),
            us(),
            place("eu-west-2", "eu-west"),
            place("ap-south-1", "ap-south"),
        ]
    };
    let log = at(spec.clone(), 4);
    let clamps = [clamp(&log, 1, "us-east", 10)];
    let told = report(&name(KEY), record(&log), places(), &clamps);
    assert_eq!(
        (told.stage, told.last, told.next),
        (Stage(4), Stage(5), Some(Stage(5)))
    );
    let rows: Vec<_> = told
        .rows
        .iter()
        .map(|row| {
            let wave = row.wave.as_ref().map_or("-", |wave| wave.as_str());
            let (clusters, weight) = (row.clusters.len(), row.weight.to_string());
            let place = (wave, row.region.as_str(), clusters);
            (place, row.state, row.step, row.steps, weight)
        })
        .collect();
    let expected = [
        (("west-europe", "eu-west", 2), Done, 3, 3, "100 %"),
        (("world", "us-east", 1), Active, 1, 2, "10 %"),
        (("-", "ap-south", 1), Outside, 0, 0, "0 %"),
    ];
    let expected = expected.map(|(p, s, a, b, w)| (p, s, a, b, w.to_owned()));
    assert_eq!(rows, expected);
    let states = |log: &Log| {
        let told = report(&name(KEY), record(log), places(), &[]);
        let states: Vec<_> = told.rows.iter().map(|row| row.state).collect();
        states
    };
    assert_eq!(states(&at(spec.clone(), 3)), [Active, Waiting, Outside]);
    assert_eq!(states(&at(spec.clone(), 6)), [Done, Done, Outside]);
    let mut log = log;
    end(&mut log, ReleaseEnd::AbortWave(name("world")));
    assert_eq!(states(&log), [Done, Aborted, Outside]);
    end(&mut log, ReleaseEnd::Abort);
    assert_eq!(states(&log), [Aborted, Aborted, Outside]);
}
