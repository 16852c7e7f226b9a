//! `cargo xtask bugs`: faults that are put back one at a time, each of which a suite must notice.
//!
//! A suite that stays green with a fault in the code is no evidence that the code is right.

use std::{path::Path, process::Command};

use crate::{
    failure::Failure,
    stage::{Stages, cargo, line},
};

/// The variable that plants a fault; see `weft_model::planted`.
const PLANTED: &str = "WEFT_PLANTED";

/// The crates that have faults to plant, in one set: Cargo then builds each of them once.
const PACKAGES: &[&str] = &[
    "weft-model",
    "weft-identity",
    "weft-decide",
    "weft-plan",
    "weft-sim",
];

/// Which of their tests are built.
const TARGETS: &[&str] = &[
    "--lib", "--test", "dns_wire", "--test", "liveness", "--test", "whole",
];

/// The simulation has faults of its own in the registry's driver, store and watches, with a test for each.
const SIMULATED: &[&str] = &["--test", "bugs"];

/// A fault, by its variant of `weft_model::planted::Bug`, and what the tests that must fail
/// with it have in their paths.
const FAULTS: &[(&str, &str)] = &[
    ("MissingOwnerCheck", "state::tests::authority"),
    ("OldGeneration", "state::tests"),
    ("TokenTwice", "state::tests"),
    ("LiftsEveryClamp", "release::"),
    ("PooledBundles", "tests::hostile"),
    ("FirstHeaderValue", "rules::"),
    ("UnboundedRetry", "budget::"),
    ("OldZones", "dns::zones"),
    ("AnsweredResponse", "a_response_gets_no_answer"),
    ("AbsentWhileRecovering", "catalog::tests"),
    ("ForgottenWithdrawal", "catalog::tests"),
];

/// Those that a simulation has to notice too, without knowing what is wrong.
const IN_SIMULATION: &[(&str, &str)] = &[
    ("AbsentWhileRecovering", "seeds_of_liveness"),
    ("ForgottenWithdrawal", "seeds_of_liveness"),
    ("LiftsEveryClamp", "whole_gateways_16"),
];

/// Plants every fault in turn.
pub(crate) fn run(stages: &mut Stages<'_>) -> Result<(), Failure> {
    let mut build = tests(&[TARGETS, SIMULATED].concat());
    stages.run("build with planted faults", build.arg("--no-run"))?;
    let mut sound = tests(TARGETS);
    sound.args(["--quiet", "--"]);
    sound.args(FAULTS.iter().map(|(_, tests)| tests));
    stages.run("their suites without a fault", &mut sound)?;
    let mut simulated = tests(SIMULATED);
    simulated.args(["--quiet", "--", "--nocapture"]);
    stages.run("faults in the simulation", &mut simulated)?;
    let root = stages.root();
    stages.work("planted faults", || {
        let mut unseen = Vec::new();
        for (name, tests) in FAULTS.iter().chain(IN_SIMULATION) {
            match caught_by(root, name, tests)? {
                Some(test) => eprintln!("  {name}: {test}"),
                None => unseen.push(*name),
            }
        }
        match unseen.is_empty() {
            true => Ok(()),
            false => Err(Failure::Unseen(unseen)),
        }
    })
}

fn tests(targets: &[&str]) -> Command {
    let mut command = cargo();
    command.arg("test");
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    let features: Vec<String> = PACKAGES
        .iter()
        .map(|package| format!("{package}/bugs"))
        .collect();
    command.args(["--features", &features.join(",")]);
    command.args(targets);
    command
}

/// The first test that fails with the fault; none if all pass.
fn caught_by(root: &Path, name: &str, filter: &str) -> Result<Option<String>, Failure> {
    let mut command = tests(TARGETS);
    command.args(["--", filter]);
    command.env(PLANTED, name);
    let output = command
        .current_dir(root)
        .output()
        .map_err(|source| Failure::Start {
            program: line(&command),
            source,
        })?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(first_failed(&said))
}

/// The first test that failed, by what the test harness printed.
fn first_failed(said: &str) -> Option<String> {
    let failed = |line: &str| {
        let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(name.to_owned())
    };
    said.lines().find_map(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failed_test_is_named() {
        let said =
            "running 2 tests\ntest a::b ... ok\ntest a::c ... FAILED\ntest a::d ... FAILED\n";
        assert_eq!(first_failed(said).as_deref(), Some("a::c"));
        assert_eq!(first_failed("error: could not compile"), None);
    }

    #[test]
    fn each_planted_fault_is_in_the_list() {
        let source = include_str!("../../registry/core/src/planted.rs");
        let (_, variants) = source.split_once("pub enum Bug {").unwrap();
        let (variants, _) = variants.split_once("\n}").unwrap();
        let planted: Vec<&str> = variants
            .lines()
            .filter_map(|line| line.trim().strip_suffix(','))
            .collect();
        let listed: Vec<&str> = FAULTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, planted);
    }
}
