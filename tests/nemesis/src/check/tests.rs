//! Histories that one copy could have had, and histories that none could.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::history::Act;

const WRITE: fn(u64) -> Act = Act::Write;
const READ: fn(u64) -> Act = Act::Read;

fn guarded(generation: u64, value: u64) -> Act {
    Act::Guarded { generation, value }
}

/// `(begun, ended, act)`; an end of 0 is unknown.
fn history(rows: &[(u64, u64, Act)]) -> History {
    let mut history = History::default();
    for (client, (begun, ended, act)) in rows.iter().copied().enumerate() {
        let end = match ended {
            0 => End::Unknown,
            at => End::Done(at),
        };
        let operation = Operation {
            client,
            begun,
            act,
            end,
        };
        history.note("key", operation);
    }
    history
}

#[track_caller]
fn good(rows: &[(u64, u64, Act)]) {
    check(&history(rows)).unwrap_or_else(|violation| panic!("{violation}"));
}

/// `at` is the operation that fits nowhere.
#[track_caller]
fn bad(rows: &[(u64, u64, Act)], at: usize) {
    match check(&history(rows)) {
        Err(Violation::NoOrder { at: found, .. }) => assert_eq!(found.client, at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_after_the_other_is_linearizable() {
    good(&[
        (1, 2, READ(0)),
        (3, 4, WRITE(1)),
        (5, 6, READ(1)),
        (7, 8, WRITE(2)),
        (9, 10, READ(2)),
    ]);
}

#[test]
fn what_overlaps_may_be_in_either_order() {
    good(&[(1, 9, WRITE(1)), (2, 3, READ(1)), (4, 5, READ(1))]);
    good(&[(1, 9, WRITE(1)), (2, 3, READ(0)), (4, 5, READ(1))]);
    good(&[(1, 9, WRITE(1)), (2, 8, WRITE(2)), (10, 11, READ(1))]);
    good(&[(1, 9, WRITE(1)), (2, 8, WRITE(2)), (10, 11, READ(2))]);
}

#[test]
fn a_moment_shared_is_an_overlap() {
    good(&[(1, 5, WRITE(1)), (5, 6, READ(0))]);
}

#[test]
fn a_stale_read_is_found() {
    bad(&[(1, 2, WRITE(1)), (3, 4, WRITE(2)), (5, 6, READ(1))], 2);
}

#[test]
fn a_lost_write_is_found() {
    bad(&[(1, 2, WRITE(1)), (3, 4, READ(0))], 1);
}

#[test]
fn a_write_seen_and_then_unseen_is_found() {
    bad(&[(1, 9, WRITE(1)), (2, 3, READ(1)), (4, 5, READ(0))], 2);
    bad(&[(1, 0, WRITE(1)), (2, 3, READ(1)), (4, 5, READ(0))], 2);
}

#[test]
fn a_value_from_nowhere_is_found() {
    bad(&[(1, 2, WRITE(1)), (3, 4, READ(7))], 1);
}

#[test]
fn a_write_read_before_it_began_is_found() {
    bad(&[(1, 2, READ(1)), (3, 4, WRITE(1))], 0);
}

#[test]
fn a_guarded_write_that_was_done_twice_is_found() {
    good(&[
        (1, 2, guarded(1, 1)),
        (3, 4, guarded(2, 2)),
        (5, 6, READ(2)),
    ]);
    bad(&[(1, 2, guarded(1, 1)), (3, 4, guarded(1, 2))], 1);
    // Whoever is told first: one of two that race for a generation must be refused.
    bad(&[(1, 4, guarded(1, 1)), (2, 3, guarded(1, 2))], 0);
    bad(&[(1, 2, guarded(5, 1)), (3, 4, guarded(4, 2))], 1);
}

#[test]
fn what_nobody_knows_may_have_been_or_come_later_or_never() {
    good(&[(1, 0, WRITE(1)), (2, 3, READ(0)), (4, 5, READ(0))]);
    good(&[(1, 0, WRITE(1)), (2, 3, READ(0)), (4, 5, READ(1))]);
    good(&[
        (1, 0, WRITE(1)),
        (2, 3, WRITE(2)),
        (4, 5, READ(2)),
        (6, 7, READ(1)),
    ]);
    // But only once.
    bad(
        &[
            (1, 0, WRITE(1)),
            (2, 3, READ(1)),
            (4, 5, WRITE(2)),
            (6, 7, READ(1)),
        ],
        3,
    );
}

#[test]
fn a_guarded_write_nobody_knows_of_bars_its_generation_once_it_is_seen() {
    good(&[(1, 0, guarded(1, 1)), (2, 3, guarded(1, 2))]);
    bad(
        &[
            (1, 0, guarded(1, 1)),
            (2, 3, READ(1)),
            (4, 5, guarded(1, 2)),
        ],
        2,
    );
}

#[test]
fn records_are_judged_apart() {
    let mut both = history(&[(1, 2, WRITE(1))]);
    let stale = Operation {
        client: 7,
        begun: 3,
        act: READ(0),
        end: End::Done(4),
    };
    both.note("other", stale);
    assert_eq!(check(&both).unwrap().records, 2);
    both.note("key", stale);
    assert!(check(&both).is_err());
}

#[test]
fn too_many_orders_are_a_verdict_of_their_own() {
    let rows: Vec<(u64, u64, Act)> = (1..=20).map(|n| (n, 100 + n, WRITE(n))).collect();
    let history = history(&rows);
    let (_, operations) = history.records().next().unwrap();
    let found = Judge::new(operations).run(1000);
    assert!(matches!(found, Err(Found::GaveUp(_))), "{found:?}");
}

#[test]
fn unknown_writes_that_nobody_read_cost_nothing() {
    let mut rows: Vec<(u64, u64, Act)> = (1..=5000).map(|n| (n, 0, WRITE(n))).collect();
    rows.push((5001, 5002, WRITE(9999)));
    rows.push((5003, 5004, READ(9999)));
    let checked = check(&history(&rows)).unwrap();
    assert!(checked.worlds < 10, "{checked:?}");
}

/// What a real copy would have answered, seen by clients whose calls overlap.
fn honest(seed: u64, length: usize) -> Vec<(u64, u64, Act)> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut cell = Cell::default();
    let mut rows = Vec::new();
    for number in 1..=length as u64 {
        // It takes effect here; it began before, and ends after.
        let now = number * 10;
        let act = match rng.random_range(0..10) {
            0..3 => WRITE(number),
            3..5 => guarded(cell.generation + rng.random_range(1..3), number),
            _ => READ(cell.value),
        };
        cell = act.step(cell).unwrap();
        let begun = now.saturating_sub(rng.random_range(1..40)).max(1);
        let told = now + rng.random_range(1..40);
        let lost = act.written().is_some() && rng.random_bool(0.1);
        rows.push((begun, if lost { 0 } else { told }, act));
    }
    rows
}

#[test]
fn what_one_copy_answered_is_never_refused() {
    for seed in 0..60 {
        good(&honest(seed, 200));
    }
}

#[test]
fn a_long_history_costs_little_for_each_operation() {
    let checked = check(&history(&honest(7, 5_000))).unwrap();
    assert!(checked.worlds < 100 * checked.operations, "{checked:?}");
}

/// Whether some order of all subsets that hold the known operations goes: by trying all.
fn by_brute_force(rows: &[(u64, u64, Act)], done: u32, cell: Cell) -> bool {
    let left = |id: &usize| done & (1 << id) == 0;
    let ids: Vec<usize> = (0..rows.len()).filter(left).collect();
    if ids.iter().all(|id| rows[*id].1 == 0) {
        return true;
    }
    // Next may be whatever began before everything that is left has ended.
    let ends = ids.iter().map(|id| rows[*id].1).filter(|end| *end != 0);
    let first_end = ends.min().unwrap_or(u64::MAX);
    ids.iter().any(|id| {
        let (begun, _, act) = rows[*id];
        let next = act.step(cell);
        begun <= first_end && next.is_some_and(|cell| by_brute_force(rows, done | 1 << id, cell))
    })
}

#[test]
fn the_judge_agrees_with_trying_every_order() {
    let mut verdicts = [0; 2];
    for seed in 0..5_000 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut rows = Vec::new();
        for number in 1..=rng.random_range(2..7) {
            let begun = rng.random_range(1..20);
            let end = match rng.random_range(0..5) {
                0 => 0,
                _ => begun + rng.random_range(1..8),
            };
            let act = match rng.random_range(0..4) {
                0 => WRITE(number),
                1 => guarded(rng.random_range(1..4), number),
                _ => READ(rng.random_range(0..4)),
            };
            // A read that was not answered has found nothing.
            let end = if end == 0 && act.written().is_none() {
                begun + 1
            } else {
                end
            };
            rows.push((begun, end, act));
        }
        let expected = by_brute_force(&rows, 0, Cell::default());
        let found = check(&history(&rows)).is_ok();
        assert_eq!(found, expected, "seed {seed}: {rows:?}");
        verdicts[usize::from(expected)] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 500), "{verdicts:?}");
}
