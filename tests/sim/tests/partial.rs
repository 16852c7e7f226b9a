//! What partial partitions cost.

#![allow(clippy::print_stdout, reason = "what each cost is worth reading")]

use weft_sim::Plan;
use weft_sim::partial::{endure, shapes};

/// Ten seconds, in units of time.
const FIRST_WRITE_MAX: u64 = 1_000;

#[test]
fn among_three_writes_are_back_within_ten_seconds_and_leaders_stay() {
    check(3);
}

#[test]
fn among_five_writes_are_back_within_ten_seconds_and_leaders_stay() {
    check(5);
}

fn check(nodes: usize) {
    for shape in shapes(nodes) {
        let endured = match endure(Plan::new(1), &shape) {
            Ok(endured) => endured,
            Err(violation) => panic!("{}: {violation:?}", shape.name),
        };
        println!("{}: {endured:?}", shape.name);
        assert!(endured.first_write <= FIRST_WRITE_MAX, "{}", shape.name);
        assert!(endured.settled <= 1, "{}: {endured:?}", shape.name);
    }
}
