//! Federations whose gateways are struck as a whole: registry and liveness on one seed.

#![allow(clippy::print_stdout, reason = "what the seeds met is worth reading")]

use weft_sim::liveness::Met;
use weft_sim::{Coverage, Outcome, Plan, whole};

/// `WEFT_SIM_SEEDS=1..1001` chooses others.
fn seeds() -> Option<std::ops::Range<u64>> {
    let chosen = std::env::var("WEFT_SIM_SEEDS").ok()?;
    let (first, end) = chosen.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

fn play(seed: u64) -> (Outcome, Met) {
    let echo = seeds().is_some_and(|seeds| seeds.count() == 1);
    let plan = Plan {
        echo,
        ..Plan::new(seed)
    };
    whole(plan).unwrap_or_else(|violation| {
        panic!(
            "seed {seed}, at {}: {}\n{}\nalone, with its trace: WEFT_SIM_SEEDS={seed}..{}",
            violation.at,
            violation.what,
            violation.trace,
            seed + 1
        )
    })
}

#[test]
fn whole_federations_break_nothing() {
    let seeds = seeds().unwrap_or(1..21);
    let count = usize::try_from(seeds.end - seeds.start).unwrap();
    let (mut seen, mut all) = (Coverage::default(), Met::default());
    for seed in seeds {
        let (outcome, met) = play(seed);
        seen.merge(&outcome.seen);
        all.merge(&met);
    }
    println!("{count} seeds: {seen}{all:#?}");
}
