//! A hundred seeds of the simulation of liveness, and the sameness of equal runs.

#![allow(clippy::print_stdout, reason = "what the seeds met is worth reading")]

use weft_sim::liveness::{Met, run};

/// `WEFT_SIM_SEEDS=1..10001` chooses others.
fn seeds() -> std::ops::Range<u64> {
    let chosen = std::env::var("WEFT_SIM_SEEDS").ok();
    let range = chosen.as_deref().and_then(|text| {
        let (first, end) = text.split_once("..")?;
        Some(first.parse().ok()?..end.parse().ok()?)
    });
    range.unwrap_or(1..101)
}

fn play(seed: u64) -> Met {
    let one = seeds().count() == 1;
    run(seed, one).unwrap_or_else(|violation| {
        panic!(
            "seed {seed}, step {}: {}\n{}\nalone, with its trace: WEFT_SIM_SEEDS={seed}..{}",
            violation.at,
            violation.what,
            violation.trace,
            seed + 1
        )
    })
}

#[test]
fn seeds_of_liveness_break_nothing() {
    let seeds = seeds();
    let count = usize::try_from(seeds.end - seeds.start).unwrap();
    let mut all = Met::default();
    for seed in seeds {
        let met = play(seed);
        all.merge(&met);
    }
    println!("{count} seeds: {all:#?}");
    // A simulation in which nothing happens proves nothing.
    for (what, times, least) in [
        ("gateways that died", all.gateways_died, 3 * count),
        ("workloads that died", all.workloads_died, count),
        ("workloads that ended", all.workloads_ended, count),
        ("cuts", all.cuts, 3 * count),
        ("streams", all.streams, 10 * count),
        ("words looked for", all.kept, 500 * count),
        ("steady endpoints", all.steady, 50 * count),
        ("withdrawals seen", all.withdrawn, count),
        ("clamps", all.clamps, count / 2),
        ("clamped weights", all.clamped, 10 * count),
    ] {
        assert!(times >= least, "{what}: {times}, fewer than {least}");
    }
}

#[test]
fn equal_seeds_of_liveness_give_equal_traces() {
    for seed in [3, 4] {
        assert_eq!(play(seed), play(seed));
    }
    assert_ne!(play(3).trace, play(4).trace);
}
