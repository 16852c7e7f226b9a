//! A hundred seeds of the simulation of liveness, and the sameness of equal runs.

#![allow(clippy::print_stdout, reason = "what the seeds met is worth reading")]

use weft_sim::liveness::{Met, run};
use weft_sim::{campaign, chosen_seeds, threads};

fn play(seed: u64) -> Met {
    run(seed, false).unwrap_or_else(|violation| panic!("seed {seed}, {violation}"))
}

#[test]
fn seeds_of_liveness_break_nothing() {
    let chosen = chosen_seeds();
    let (seeds, threads) = match &chosen {
        Some(seeds) => (seeds.clone(), threads()),
        None => (1..101, 1),
    };
    let count = usize::try_from(seeds.end - seeds.start).unwrap();
    let mut all = Met::default();
    campaign(
        seeds,
        threads,
        |seed| run(seed, count == 1),
        |met| all.merge(&met),
    )
    .unwrap_or_else(|failures| panic!("{failures}\nalone, with its trace: WEFT_SIM_SEEDS=N..N+1"));
    println!("{count} seeds: {all:#?}");
    if count < 10 {
        return;
    }
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
