//! The simulation is evidence only if it finds faults that are there.

#![cfg(feature = "bugs")]
#![allow(
    clippy::print_stdout,
    reason = "which seed caught what is worth reading"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use weft_registry::driver::Bug;
use weft_sim::{Plan, run};

/// Seeds within which each fault must show.
const SEEDS: u64 = 300;

fn check(bug: Bug) {
    let caught = (1..=SEEDS).find_map(|seed| {
        let plan = Plan {
            bug: Some(bug),
            ..Plan::new(seed)
        };
        match catch_unwind(AssertUnwindSafe(|| run(plan))) {
            Ok(Ok(_)) => None,
            Ok(Err(violation)) => Some((seed, violation.what)),
            Err(_) => Some((seed, "a node panicked".to_owned())),
        }
    });
    let (seed, what) = caught.unwrap_or_else(|| panic!("{bug:?} went unseen in {SEEDS} seeds"));
    println!("{bug:?} caught by seed {seed}: {what}");
}

#[test]
fn a_batch_that_counts_as_safe_too_soon_is_caught() {
    check(Bug::PersistedTooSoon);
}

#[test]
fn a_promise_made_before_it_is_written_is_caught() {
    check(Bug::SpeakTooSoon);
}

#[test]
fn a_forgotten_vote_is_caught() {
    check(Bug::ForgetVote);
}

#[test]
fn a_request_applied_twice_is_caught() {
    check(Bug::ApplyTwice);
}

#[test]
fn a_read_without_a_quorum_is_caught() {
    check(Bug::ReadWithoutQuorum);
}

#[test]
fn a_write_that_is_not_synced_is_caught() {
    check(Bug::SkipSync);
}

#[test]
fn a_write_in_two_transactions_is_caught() {
    check(Bug::SplitTransaction);
}

#[test]
fn a_watcher_that_skips_where_history_meets_the_ring_is_caught() {
    check(Bug::SkipsAtSeam);
}

#[test]
fn a_follower_with_a_vote_is_caught() {
    check(Bug::VotingFollower);
}
