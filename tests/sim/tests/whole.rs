//! Whole gateways, registry and liveness on one seed, and the sameness of equal runs.

#![allow(clippy::print_stdout, reason = "what the seeds met is worth reading")]

use weft_sim::liveness::Met;
use weft_sim::{Coverage, Outcome, Plan, Seen, campaign, chosen_seeds, threads, whole};

fn play(seed: u64, echo: bool) -> Result<(Outcome, Met), weft_sim::Violation> {
    whole(Plan {
        echo,
        ..Plan::new(seed)
    })
}

fn check(seeds: std::ops::Range<u64>, threads: usize) {
    let count = usize::try_from(seeds.end - seeds.start).expect("few seeds");
    let (mut seen, mut all) = (Coverage::default(), Met::default());
    campaign(
        seeds,
        threads,
        |seed| play(seed, count == 1),
        |(outcome, met)| {
            seen.merge(&outcome.seen);
            all.merge(&met);
        },
    )
    .unwrap_or_else(|failures| panic!("{failures}\nalone, with its trace: WEFT_SIM_SEEDS=N..N+1"));
    println!("{count} seeds\n{seen}{all:#?}");
    if count < 10 {
        return;
    }
    // A simulation in which nothing happens proves nothing.
    for (what, times, least) in [
        ("gateways that died", all.gateways_died, 5 * count),
        ("gateways that stood still", all.paused, count),
        ("clusters that left", all.left, count / 2),
        ("workloads that died", all.workloads_died, count),
        ("workloads that ended", all.workloads_ended, count),
        ("cuts", all.cuts, 10 * count),
        ("streams", all.streams, 20 * count),
        ("words looked for", all.kept, 200 * count),
        ("steady endpoints", all.steady, 20 * count),
        ("withdrawals seen", all.withdrawn, count),
        ("clamps", all.clamps, count / 2),
        ("clamps made on a full disk", all.unkept, 1),
        ("clamped weights", all.clamped, 5 * count),
        (
            "writes that waited for room",
            seen.count(Seen::Stalled),
            10 * count,
        ),
        ("answers", seen.count(Seen::Answered), 100 * count),
        ("reads", seen.count(Seen::Read), 50 * count),
        ("snapshots", seen.count(Seen::SnapshotInstalled), count),
        (
            "followers sent a state",
            seen.count(Seen::FollowerInstalled),
            count / 2,
        ),
        (
            "members changed in a cut",
            seen.count(Seen::MembersChangedInCut),
            count,
        ),
        ("watched entries", seen.count(Seen::Watched), 100 * count),
    ] {
        assert!(times >= least, "{what}: {times}, fewer than {least}");
    }
}

#[test]
fn whole_gateways_1_to_15_break_nothing() {
    check(1..16, 1);
}

#[test]
fn whole_gateways_16_to_30_break_nothing() {
    check(16..31, 1);
}

/// `cargo xtask sim --seeds 1..1001`: as many as you like, on all processors.
#[test]
fn campaign_of_chosen_seeds() {
    if let Some(seeds) = chosen_seeds() {
        check(seeds, threads());
    }
}

#[test]
fn equal_seeds_of_whole_gateways_give_equal_traces() {
    let play = |seed| play(seed, false).expect("it breaks nothing");
    assert_eq!(play(3), play(3));
    assert_ne!(play(3).1.trace, play(4).1.trace);
}
