//! A hundred seeds, the sameness of equal runs, and one seed by hand.

use std::panic::{AssertUnwindSafe, catch_unwind};

use weft_sim::{Outcome, Plan, run};

/// The seeds that continuous integration runs. A longer campaign:
/// `WEFT_SIM_SEEDS=100..10000 cargo test -p weft-sim -- break_nothing`.
const SEEDS: std::ops::Range<u64> = 1..101;

fn seeds() -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("WEFT_SIM_SEEDS") else {
        return SEEDS;
    };
    let (first, end) = range
        .split_once("..")
        .expect("WEFT_SIM_SEEDS is first..end");
    let number = |text: &str| text.parse().expect("WEFT_SIM_SEEDS has numbers");
    number(first)..number(end)
}

fn play(plan: Plan) -> Outcome {
    let seed = plan.seed;
    let replay = format!("WEFT_SIM_SEED={seed} cargo test -p weft-sim -- replay --nocapture");
    match catch_unwind(AssertUnwindSafe(|| run(plan))) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(violation)) => panic!(
            "seed {seed}, at {}: {}\n{}\nreplay: {replay}",
            violation.at, violation.what, violation.trace
        ),
        Err(_) => panic!("seed {seed}: a node panicked (above)\nreplay: {replay}"),
    }
}

#[test]
fn a_hundred_seeds_break_nothing() {
    let mut total = (0, 0, 0, 0, 0);
    let mut short = (0, 0);
    let seeds = seeds();
    let count = seeds.clone().count();
    for seed in seeds {
        let outcome = play(Plan::new(seed));
        total.0 += outcome.answered;
        total.1 += outcome.reads;
        total.2 += outcome.crashes;
        total.3 += outcome.installed;
        total.4 += outcome.leaders;
        short.0 += outcome.stalled;
        short.1 += outcome.refused;
    }
    println!(
        "{count} seeds: {} answers, {} reads, {} crashes, {} snapshots installed, {} terms with a leader",
        total.0, total.1, total.2, total.3, total.4
    );
    println!(
        "{} writes stalled, {} proposals refused for want of room",
        short.0, short.1
    );
    // A simulation in which nothing happens proves nothing.
    assert!(total.0 > 20 * count, "answers: {}", total.0);
    assert!(total.1 > 5 * count, "reads: {}", total.1);
    assert!(total.2 > 5 * count, "crashes: {}", total.2);
    assert!(total.3 > count, "snapshots: {}", total.3);
    assert!(total.4 > 2 * count, "terms: {}", total.4);
    assert!(short.0 > 5 * count, "stalled: {}", short.0);
    assert!(short.1 > count / 4, "refused: {}", short.1);
}

#[test]
fn equal_seeds_give_equal_traces() {
    for seed in [7, 8, 9] {
        assert_eq!(play(Plan::new(seed)), play(Plan::new(seed)));
    }
    assert_ne!(play(Plan::new(7)).trace, play(Plan::new(8)).trace);
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
    println!("{:#?}", play(plan));
}
