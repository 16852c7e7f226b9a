//! Three hundred seeds, the sameness of equal runs, and one seed by hand.

#![allow(clippy::print_stdout, reason = "what a campaign met is worth reading")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_sim::{Coverage, Outcome, Plan, Seen, run};

fn play(plan: Plan) -> Result<Outcome, String> {
    let seed = plan.seed;
    let replay = format!("WEFT_SIM_SEED={seed} cargo test -p weft-sim -- replay --nocapture");
    match catch_unwind(AssertUnwindSafe(|| run(plan))) {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(violation)) => Err(format!(
            "seed {seed}, at {}: {}\n{}\nreplay: {replay}",
            violation.at, violation.what, violation.trace
        )),
        Err(_) => Err(format!(
            "seed {seed}: a node panicked (above)\nreplay: {replay}"
        )),
    }
}

/// Runs these seeds on so many threads; the first that breaks something ends it.
fn campaign(seeds: std::ops::Range<u64>, threads: usize) -> Coverage {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new((Coverage::default(), 0, Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = play(Plan::new(seed));
            let mut total = total.lock().expect("no seed panics here");
            match outcome {
                Ok(outcome) => {
                    total.0.merge(&outcome.seen);
                    total.1 = outcome.healed_after.max(total.1);
                }
                Err(failure) => {
                    total.2.push(failure);
                    next.store(seeds.end, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (seen, healed, failures) = total.into_inner().expect("no seed panics here");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("seeds {seeds:?}\n{seen}slowest to heal: {healed} units of time");
    seen
}

/// The seeds that continuous integration runs, in parts that run beside each other.
fn check(seeds: std::ops::Range<u64>) {
    let count = usize::try_from(seeds.end - seeds.start).expect("few seeds");
    let seen = campaign(seeds, 1);
    // A simulation in which nothing happens proves nothing.
    assert_eq!(seen.missing(), []);
    for (what, least) in [
        (Seen::Answered, 15 * count),
        (Seen::Read, 5 * count),
        (Seen::Crash, 5 * count),
        (Seen::Paused, count / 2),
        (Seen::SnapshotInstalled, count / 2),
        (Seen::MembersChangedInCut, count / 4),
        (Seen::LeaderInMinority, count / 4),
        (Seen::WriteTorn, count / 2),
        (Seen::HistoryTrimmed, count / 10),
        (Seen::Watched, 50 * count),
        (Seen::WatchMoved, 10 * count),
        (Seen::WatchedFromHistory, 3 * count),
        (Seen::WatchCompacted, count),
        (Seen::FollowerBegan, count),
        (Seen::FollowerInstalled, count / 2),
        (Seen::FollowerApplied, 5 * count),
    ] {
        assert!(seen.count(what) >= least, "{what:?}: fewer than {least}");
    }
}

#[test]
fn seeds_1_to_100_break_nothing() {
    check(1..101);
}

#[test]
fn seeds_101_to_200_break_nothing() {
    check(101..201);
}

#[test]
fn seeds_201_to_300_break_nothing() {
    check(201..301);
}

/// `cargo xtask sim --seeds 1..10001`: a campaign as long as you like, on all processors.
#[test]
fn campaign_of_chosen_seeds() {
    let Ok(range) = std::env::var("WEFT_SIM_SEEDS") else {
        return;
    };
    let (first, end) = range
        .split_once("..")
        .expect("WEFT_SIM_SEEDS is first..end");
    let number = |text: &str| text.parse().expect("WEFT_SIM_SEEDS has numbers");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    campaign(number(first)..number(end), threads);
}

#[test]
fn equal_seeds_give_equal_traces() {
    for seed in [7, 8, 9, 10] {
        assert_eq!(play(Plan::new(seed)), play(Plan::new(seed)));
    }
    let trace = |seed| play(Plan::new(seed)).map(|outcome| outcome.trace);
    assert_ne!(trace(7), trace(8));
}

/// `WEFT_SIM_SEED=42 cargo test -p weft-sim -- replay --nocapture`
#[test]
fn replay() {
    let Ok(seed) = std::env::var("WEFT_SIM_SEED") else {
        return;
    };
    let seed = seed.parse().expect("WEFT_SIM_SEED is a number");
    let plan = Plan {
        echo: true,
        ..Plan::new(seed)
    };
    match play(plan) {
        Ok(outcome) => println!("{outcome:#?}"),
        Err(failure) => panic!("{failure}"),
    }
}
