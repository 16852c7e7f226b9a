//! The long forms of what `cargo xtask test` runs for seconds, and the benchmark.
//!
//! But for the benchmark all of it is optimised and keeps our assertions (profile `long`): hours
//! of computing show more, and times are those of what is tested rather than of a build for
//! debugging.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::command_line::Nemesis;
use crate::failure::Failure;
use crate::packages;
use crate::stage::{Stages, cargo};
use crate::suite::{self, WEFT_BIN};
use crate::tidy::workspace::Workspace;

/// The seeds of a campaign of the simulation; none if it is not set.
const SIM_SEEDS: &str = "WEFT_SIM_SEEDS";

/// How many mutants there are of records, of snapshots and of each table of decoders; some thousand
/// if it is not set.
const MUTANTS: &str = "WEFT_MUTANTS";

/// Which places of the registry's file are damaged; a part of them if it is not set.
const SWEEP: &str = "WEFT_SWEEP";

/// How many entries the test of watches writes; some hundred if it is not set.
const EVENTS: &str = "WEFT_EVENTS";

/// How often gateways die; a few times if it is not set.
const DURABILITY_CYCLES: &str = "WEFT_DURABILITY_CYCLES";

/// How long the soak test takes; a minute if it is not set.
const SOAK_MINUTES: &str = "WEFT_SOAK_MINUTES";

/// How long a federation goes on without its majority; some seconds if it is not set.
const QUORUMLESS_MINUTES: &str = "WEFT_QUORUMLESS_MINUTES";

/// How long the nemesis goes on; every fault once if it is not set.
const NEMESIS_MINUTES: &str = "WEFT_NEMESIS_MINUTES";

/// What it does in which order.
const NEMESIS_SEED: &str = "WEFT_NEMESIS_SEED";

/// How many leaders are killed at each distance; a few if it is not set.
const FAILOVER_KILLS: &str = "WEFT_FAILOVER_KILLS";

/// For how long a hostile member writes beyond its share; then others' times count.
const MALLORY_LOAD: &str = "WEFT_MALLORY_LOAD";

/// Runs these seeds of each simulation, and shows what they met.
pub(crate) fn simulate(root: &Path, seeds: &Range<u64>) -> Result<(), Failure> {
    let tests = ["--test", "seeds", "--test", "liveness", "--test", "whole"];
    let mut command = test(&[&["--package", suite::SIMULATION], &tests[..]].concat());
    command.args(["--", "--nocapture", "campaign", "seeds_of_liveness"]);
    command.env(SIM_SEEDS, format!("{}..{}", seeds.start, seeds.end));
    Stages::new(root).finish("simulation", &mut command)
}

/// The crates whose decoders read what is not their own.
const DECODING: &[&str] = &[
    "weft-identity",
    "weft-registry",
    "weft-proxy",
    "weft-gateway",
    "weft",
];

/// Reads and applies so many records and snapshots with bytes changed, and has each crate's decoders
/// read as many.
pub(crate) fn mutants(root: &Path, count: u64) -> Result<(), Failure> {
    let mut command = test(&[]);
    for package in DECODING {
        command.args(["--package", package]);
    }
    // Every test that has it in its name, or its module's.
    command.args(["--lib", "--bins", "mutant", "--", "--nocapture"]);
    command.env(MUTANTS, count.to_string());
    Stages::new(root).finish("mutants", &mut command)
}

/// Damages the registry's file at every byte of its end.
pub(crate) fn sweep(root: &Path) -> Result<(), Failure> {
    let mut command = test(&["--package", "weft-registry", "--lib", "disk::sweep"]);
    command.args(["--", "--nocapture"]);
    command.env(SWEEP, "all");
    Stages::new(root).finish("sweep", &mut command)
}

/// Runs the test of watches with so many entries, and shows its figures.
pub(crate) fn watches(root: &Path, events: u64) -> Result<(), Failure> {
    let mut command = test(&["--package", "weft-registry", "--test", "watches"]);
    command.args(["--", "--nocapture", "--test-threads=1"]);
    command.env(EVENTS, events.to_string());
    Stages::new(root).finish("watches", &mut command)
}

/// Kills gateways so many times while clients write, and has a sync fail.
pub(crate) fn durability(root: &Path, cycles: u32) -> Result<(), Failure> {
    let options = [(DURABILITY_CYCLES, cycles.to_string())];
    real(root, "durability", &["durability"], &options)
}

/// Runs the soak test for so long, and shows its table.
pub(crate) fn soak(root: &Path, minutes: u32) -> Result<(), Failure> {
    let options = [(SOAK_MINUTES, minutes.to_string())];
    real(root, "soak", &["soak"], &options)
}

/// Has a federation go on without its majority for so long, and shows what came of it.
pub(crate) fn quorumless(root: &Path, minutes: u32) -> Result<(), Failure> {
    let options = [(QUORUMLESS_MINUTES, minutes.to_string())];
    let test = ["alone", "without_a_majority"];
    real(root, "quorumless", &test, &options)
}

/// Runs the nemesis for so long, and shows what it found.
pub(crate) fn nemesis(root: &Path, nemesis: Nemesis) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = nemesis.seed.unwrap_or(now.map_or(1, |now| now.as_secs()));
    let options = [
        (NEMESIS_MINUTES, nemesis.minutes.to_string()),
        (NEMESIS_SEED, seed.to_string()),
    ];
    real(root, "nemesis", &["linearizable"], &options)
}

/// Kills so many leaders at each distance, and holds the time without a write against what is promised.
pub(crate) fn failover(root: &Path, kills: u32) -> Result<(), Failure> {
    let options = [(FAILOVER_KILLS, kills.to_string())];
    real(root, "failover", &["failover"], &options)
}

/// Makes every attempt of a hostile member, and has the times of others judged beside so many
/// seconds of ten times its share.
pub(crate) fn mallory(root: &Path, seconds: u32) -> Result<(), Failure> {
    let options = [(MALLORY_LOAD, seconds.to_string())];
    real(root, "mallory", &["hostile"], &options)
}

/// Measures the registry beside etcd, both as they are deployed.
pub(crate) fn bench_registry(root: &Path) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    stages.work("packages", || packages::ensure_peers(root))?;
    // Together, so that what both depend on is built once.
    let mut build = cargo();
    build.args(["build", "--release"]);
    build.args(["--package", "weft", "--package", "weft-bench"]);
    stages.run("build", &mut build)?;
    let built = Workspace::load(root)?.target_directory;
    let mut command = Command::new(built.join("release/weft-bench"));
    command.arg("registry");
    command.env(WEFT_BIN, built.join("release/weft"));
    stages.finish("bench", &mut command)
}

/// A test program that starts real processes, and which of its tests, if not all.
fn real(
    root: &Path,
    stage: &'static str,
    program: &[&str],
    options: &[(&str, String)],
) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    stages.work("packages", || packages::ensure(root))?;
    let binary = binary(&mut stages)?;
    let mut command = real_test(program, &binary);
    command.envs(options.iter().map(|(name, value)| (name, value)));
    stages.finish(stage, &mut command)
}

/// The same, as a command.
pub(crate) fn real_test(program: &[&str], binary: &Path) -> Command {
    // As part of the workspace, for what is compiled for `binary` serves it too.
    let mut command = test(&["--workspace", "--test"]);
    command.args(program);
    command.args(["--", "--nocapture", "--test-threads=1"]);
    command.env(WEFT_BIN, binary);
    command
}

/// The program under test: the one the caller names, or one built here.
pub(crate) fn binary(stages: &mut Stages<'_>) -> Result<PathBuf, Failure> {
    suite::binary_of(stages, &["--profile", "long"], "long")
}

fn test(which: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["test", "--profile", "long"]).args(which);
    command
}
