//! Three hundred seeds, the sameness of equal runs, and one seed by hand.

#![allow(clippy::print_stdout, reason = "what a campaign met is worth reading")]

use weft_sim::{Coverage, Outcome, Plan, Seen, chosen_seeds, run, threads};

const REPLAY: &str = "replay: WEFT_SIM_SEED=<seed> cargo test -p weft-sim -- replay --nocapture";

/// Runs these seeds on so many threads; the first that breaks something ends it.
fn campaign(seeds: std::ops::Range<u64>, threads: usize) -> Coverage {
    let (mut seen, mut healed) = (Coverage::default(), 0);
    let all = weft_sim::campaign(
        seeds.clone(),
        threads,
        |seed| run(Plan::new(seed)),
        |outcome| {
            seen.merge(&outcome.seen);
            healed = outcome.healed_after.max(healed);
        },
    );
    all.unwrap_or_else(|failures| panic!("{failures}\n{REPLAY}"));
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
    if let Some(seeds) = chosen_seeds() {
        let many = seeds.end - seeds.start >= 100;
        let seen = campaign(seeds, threads());
        // A simulation in which nothing happens proves nothing.
        assert!(!many || seen.missing().is_empty(), "{:?}", seen.missing());
    }
}

#[test]
fn equal_seeds_give_equal_traces() {
    let play = |seed| run(Plan::new(seed)).expect("it breaks nothing");
    for seed in [7, 8, 9, 10] {
        assert_eq!(play(seed), play(seed));
    }
    assert_ne!(play(7).trace, play(8).trace);
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
    let outcome: Result<Outcome, _> = run(plan);
    match outcome {
        Ok(outcome) => println!("{outcome:#?}"),
        Err(violation) => panic!("seed {seed}, {violation}"),
    }
}
