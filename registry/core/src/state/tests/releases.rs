//! Releases: who moves them, from where to where, and who wins a race.

use super::*;
use crate::fixture::release;

const V2: &str = "shop/v2";

fn put_release(called: &str, service: &str) -> Command {
    Command::PutRelease(name(called), Box::new(release(service)))
}

fn end(end: ReleaseEnd) -> Command {
    Command::EndRelease(name(V2), end)
}

fn abort_wave(wave: &str) -> Command {
    end(ReleaseEnd::AbortWave(name(wave)))
}

fn record<'l>(log: &'l Log, called: &str) -> &'l ReleaseRecord {
    log.state.release(&name(called)).expect("it is there")
}

/// The promotion that an operator would ask for now.
fn advance(log: &Log, to: u16) -> Command {
    let record = record(log, V2);
    let advance = Advance {
        run: record.created,
        from: record.stage,
        to: Stage(to),
    };
    Command::AdvanceRelease(name(V2), advance)
}

/// Three clusters in which releases are understood.
fn risen() -> Log {
    let mut log = three();
    log.raise(FormatLevel::RELEASES);
    log
}

/// With release v2 of checkout, just started.
fn started() -> Log {
    let mut log = risen();
    log.accept(log.admin(), put_release(V2, "checkout"));
    log
}

#[track_caller]
fn accept(log: &mut Log, command: Command) {
    log.accept(log.admin(), command);
}

#[track_caller]
fn stands(log: &Log, phase: ReleasePhase, stage: u16) {
    let record = record(log, V2);
    assert_eq!((record.phase, record.stage), (phase, Stage(stage)));
}

#[test]
fn they_wait_for_their_format_level() {
    let mut log = three();
    log.raise(FormatLevel::ROUTES);
    let text = "needs format level 3, 2 is in force";
    refused(&log, log.admin(), put_release(V2, "checkout"), text);
}

#[test]
fn operators_move_them_and_nobody_else() {
    let log = started();
    let lift = Command::ResumeRelease(name(V2), vec![ClampId([1; 16])]);
    for command in [
        put_release("shop/v3", "payments"),
        advance(&log, 2),
        Command::PauseRelease(name(V2)),
        lift,
        end(ReleaseEnd::Abort),
        Command::DeleteRelease(name(V2)),
    ] {
        refused(&log, log.gateway(1), command, "may not");
    }
    let (author, command) = (log.admin(), Command::PauseRelease(name("shop/none")));
    refused(&log, author, command, "release shop/none does not exist");
}

#[test]
fn one_that_starts_is_at_its_first_stage() {
    let mut log = risen();
    let events = log.accept(log.admin(), put_release(V2, "checkout"));
    assert_eq!(events, [Event::Put(Key::Release(name(V2)))]);
    stands(&log, ReleasePhase::Progressing, 1);
    let record = record(&log, V2);
    assert_eq!(record.created, log.state.applied());
    assert_eq!(record.generation, record.created);
    let [change] = &record.history[..] else {
        panic!("{:?}", record.history)
    };
    assert_eq!(change.by, name(ADMIN));
    assert_eq!(change.what, ReleaseAction::Started);
    let service = name("shop/checkout");
    let (key, _) = log.state.release_for(&service).expect("it is in effect");
    assert_eq!(*key, name(V2));
}

#[test]
fn the_same_again_changes_nothing_whatever_became_of_it() {
    let mut log = started();
    for command in [Command::PauseRelease(name(V2)), end(ReleaseEnd::Abort)] {
        assert_eq!(log.accept(log.admin(), put_release(V2, "checkout")), []);
        accept(&mut log, command);
    }
    assert_eq!(log.accept(log.admin(), put_release(V2, "checkout")), []);
    stands(&log, ReleasePhase::Aborted, 1);
}

#[test]
fn what_is_under_way_is_fixed_and_alone() {
    let mut log = started();
    let mut changed = release("checkout");
    changed.waves.pop();
    let change = Command::PutRelease(name(V2), Box::new(changed));
    refused(&log, log.admin(), change.clone(), "its spec is fixed");
    let other = put_release("shop/v3", "checkout");
    let text = "shop/checkout has release shop/v2 under way";
    refused(&log, log.admin(), other, text);
    accept(&mut log, put_release("shop/v3", "payments"));
    let gone = Command::DeleteRelease(name(V2));
    refused(
        &log,
        log.admin(),
        gone,
        "is Progressing, so it cannot be deleted",
    );
    // Once it has ended, a changed one is another run, and forgets nothing of what was done.
    accept(&mut log, abort_wave("world"));
    accept(&mut log, end(ReleaseEnd::Abort));
    accept(&mut log, change);
    stands(&log, ReleasePhase::Progressing, 1);
    let record = record(&log, V2);
    assert_eq!(record.created, log.state.applied());
    assert!(record.cut.is_empty());
    assert_eq!(record.history.len(), 4);
}

#[test]
fn a_later_one_makes_history_of_it_for_good() {
    let mut log = started();
    accept(&mut log, end(ReleaseEnd::RollBack));
    let events = log.accept(log.admin(), put_release("shop/v3", "checkout"));
    let changed = |called: &str| Event::Put(Key::Release(name(called)));
    assert_eq!(events, [changed(V2), changed("shop/v3")]);
    refused(&log, log.admin(), end(ReleaseEnd::Abort), "is history");
    accept(
        &mut log,
        Command::EndRelease(name("shop/v3"), ReleaseEnd::Abort),
    );
    accept(&mut log, Command::DeleteRelease(name("shop/v3")));
    let service = name("shop/checkout");
    assert_eq!(log.state.release_for(&service), None);
}

#[test]
fn a_promotion_names_the_stage_that_its_author_saw() {
    let mut log = started();
    let (second, stale) = (advance(&log, 2), advance(&log, 3));
    accept(&mut log, second.clone());
    stands(&log, ReleasePhase::Progressing, 2);
    for late in [second, stale] {
        refused(&log, log.admin(), late, "is at stage 2, not at 1");
    }
    for nowhere in [0, 1, 2, 7] {
        let text = "has stages 1 to 5: there is no way from 2";
        refused(&log, log.admin(), advance(&log, nowhere), text);
    }
    let Command::AdvanceRelease(key, mut other) = advance(&log, 3) else {
        unreachable!()
    };
    other.run = Index(other.run.0 - 1);
    let other = Command::AdvanceRelease(key, other);
    refused(&log, log.admin(), other, "was started anew at index");
    let past = advance(&log, 6);
    accept(&mut log, past);
    stands(&log, ReleasePhase::Completed, 5);
    refused(
        &log,
        log.admin(),
        advance(&log, 6),
        "is Completed, so it cannot be promoted",
    );
}

#[test]
fn a_paused_one_holds_until_it_is_resumed() {
    let mut log = started();
    let pause = || Command::PauseRelease(name(V2));
    let resume = |lifts: &[u8]| {
        let lifts = lifts.iter().map(|n| ClampId([*n; 16]));
        Command::ResumeRelease(name(V2), lifts.collect())
    };
    accept(&mut log, pause());
    assert_eq!(log.accept(log.admin(), pause()), []);
    refused(
        &log,
        log.admin(),
        advance(&log, 2),
        "is Paused, so it cannot be promoted",
    );
    accept(&mut log, resume(&[1]));
    stands(&log, ReleasePhase::Progressing, 1);
    assert_eq!(log.accept(log.admin(), resume(&[1])), []);
    accept(&mut log, resume(&[1, 2]));
    let lifted = &record(&log, V2).lifted;
    assert_eq!(*lifted, [ClampId([1; 16]), ClampId([2; 16])].into());
    let many = (0..=255)
        .map(|n| ClampId([n; 16]))
        .chain([ClampId([0x5a; 16])]);
    let many: Vec<_> = many.chain([ClampId(*b"one more than it")]).collect();
    assert!(many.len() > quota::LIFTED_MAX);
    let many = Command::ResumeRelease(name(V2), many);
    refused(&log, log.admin(), many, "more than 256 clamps");
    accept(&mut log, end(ReleaseEnd::Abort));
    refused(
        &log,
        log.admin(),
        pause(),
        "is Aborted, so it cannot be paused",
    );
    refused(
        &log,
        log.admin(),
        resume(&[]),
        "is Aborted, so it cannot be resumed",
    );
}

#[test]
fn an_abort_wins_against_a_promotion_in_both_orders() {
    for last in [2, 6] {
        for how in [ReleaseEnd::Abort, ReleaseEnd::RollBack] {
            let mut log = started();
            let promotion = advance(&log, last);
            let mut other = log.clone();
            accept(&mut log, promotion.clone());
            accept(&mut log, end(how.clone()));
            assert!(record(&log, V2).phase.is_withdrawn());
            accept(&mut other, end(how));
            refused(&other, other.admin(), promotion, "so it cannot be promoted");
            assert!(record(&other, V2).phase.is_withdrawn());
        }
    }
}

fn step_back(log: &Log, to: u16) -> Command {
    let run = record(log, V2).created;
    end(ReleaseEnd::StepBack { run, to: Stage(to) })
}

#[test]
fn a_step_back_lowers_from_wherever_it_is_and_pauses() {
    let mut log = started();
    let text = "needs format level 4, 3 is in force";
    refused(&log, log.admin(), step_back(&log, 1), text);
    log.raise(FormatLevel::STEPS_BACK);
    let (third, fourth) = (advance(&log, 3), advance(&log, 4));
    accept(&mut log, third);
    for nowhere in [0, 6] {
        let text = "has stages 1 to 5: there is no way from 3";
        refused(&log, log.admin(), step_back(&log, nowhere), text);
    }
    // It raises nothing: what is as low stays, and runs.
    for no_step in [3, 5] {
        assert_eq!(log.accept(log.admin(), step_back(&log, no_step)), []);
    }
    stands(&log, ReleasePhase::Progressing, 3);
    let back = step_back(&log, 2);
    accept(&mut log, back.clone());
    stands(&log, ReleasePhase::Paused, 2);
    assert_eq!(log.accept(log.admin(), back), []);
    refused(
        &log,
        log.admin(),
        fourth,
        "is Paused, so it cannot be promoted",
    );
    let last = record(&log, V2)
        .history
        .last()
        .map(|last| last.what.clone());
    let (from, to) = (Stage(3), Stage(2));
    assert_eq!(last, Some(ReleaseAction::SteppedBack { from, to }));
    accept(&mut log, Command::ResumeRelease(name(V2), vec![]));
    let past = advance(&log, 6);
    accept(&mut log, past);
    let back = step_back(&log, 1);
    accept(&mut log, back);
    stands(&log, ReleasePhase::Paused, 1);
    accept(&mut log, end(ReleaseEnd::Abort));
    assert_eq!(log.accept(log.admin(), step_back(&log, 1)), []);
    stands(&log, ReleasePhase::Aborted, 1);
    let older = Index(record(&log, V2).created.0 - 1);
    let mut log = started();
    log.raise(FormatLevel::STEPS_BACK);
    let next = advance(&log, 2);
    accept(&mut log, next);
    let of_older = end(ReleaseEnd::StepBack {
        run: older,
        to: Stage(1),
    });
    refused(&log, log.admin(), of_older, "was started anew at index");
}

#[test]
fn an_aborted_wave_pauses_the_release_and_is_passed_over() {
    let mut log = started();
    refused(&log, log.admin(), abort_wave("mars"), "has no wave mars");
    let past = advance(&log, 6);
    accept(&mut log, past);
    // Also of a completed one: the promotion past the end must not win over it.
    accept(&mut log, abort_wave("world"));
    stands(&log, ReleasePhase::Paused, 5);
    assert_eq!(log.accept(log.admin(), abort_wave("world")), []);

    let mut log = started();
    accept(&mut log, abort_wave("west-europe"));
    accept(&mut log, Command::ResumeRelease(name(V2), vec![]));
    assert_eq!(record(&log, V2).next_stage(), Some(Stage(4)));
    let next = advance(&log, 4);
    accept(&mut log, next);
    accept(&mut log, abort_wave("world"));
    assert_eq!(record(&log, V2).next_stage(), None);
}

#[test]
fn one_that_was_withdrawn_stays_so() {
    let mut log = started();
    accept(&mut log, end(ReleaseEnd::Abort));
    for again in [
        end(ReleaseEnd::Abort),
        end(ReleaseEnd::RollBack),
        abort_wave("world"),
    ] {
        assert_eq!(log.accept(log.admin(), again), []);
    }
    stands(&log, ReleasePhase::Aborted, 1);
    let gone = Command::DeleteRelease(name(V2));
    let events = log.accept(log.admin(), gone.clone());
    assert_eq!(events, [Event::Deleted(Key::Release(name(V2)))]);
    refused(&log, log.admin(), gone, "does not exist");
}

#[test]
fn conditions_on_requests_need_a_service_that_has_some() {
    let mut log = risen();
    let tcp = export(ServiceType::ClusterSetIP, "pg", AppProtocol::Tcp, 5432);
    log.export(1, "shop/orders", &tcp);
    let text = "audience is for requests, and shop/orders carries TCP on every port";
    refused(&log, log.admin(), put_release(V2, "orders"), text);
    let mut plain = release("orders");
    plain.audience = Audience::default();
    accept(&mut log, Command::PutRelease(name(V2), Box::new(plain)));
}

#[test]
fn history_and_number_are_bounded() {
    let mut log = started();
    for _ in 0..quota::HISTORY_MAX {
        accept(&mut log, Command::PauseRelease(name(V2)));
        accept(&mut log, Command::ResumeRelease(name(V2), vec![]));
    }
    let history = &record(&log, V2).history;
    assert_eq!(history.len(), quota::HISTORY_MAX);
    assert_eq!(history[0].what, ReleaseAction::Paused);
    for number in 1..quota::RELEASES_MAX {
        let called = format!("shop/r{number}");
        accept(&mut log, put_release(&called, &format!("s{number}")));
    }
    let over = put_release("shop/over", "over");
    refused(
        &log,
        log.admin(),
        over,
        "there are 1000 releases, the most there may be",
    );
}

#[test]
fn rows_of_releases_that_no_log_makes_are_refused() {
    let parts = started().state.to_parts();
    let broken = |change: fn(&mut FederationParts)| {
        let mut parts = parts.clone();
        change(&mut parts);
        Federation::from_parts(parts).err()
    };
    assert_eq!(broken(|_| ()), None);
    let cases: [fn(&mut FederationParts); 3] = [
        |parts| parts.releases[0].1.stage = Stage(0),
        |parts| parts.releases[0].1.stage = Stage(6),
        |parts| {
            let other = (name("shop/v3"), parts.releases[0].1.clone());
            parts.releases.push(other);
        },
    ];
    for (number, change) in cases.into_iter().enumerate() {
        let expect = PartsError::Release(name(["shop/v2", "shop/v2", "shop/v3"][number]));
        assert_eq!(broken(change), Some(expect));
    }
}
