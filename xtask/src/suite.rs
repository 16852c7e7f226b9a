//! `cargo xtask test`, `lint` and `doc`: what has to hold, in order of price.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use crate::{
    command_line::Nemesis,
    failure::Failure,
    packages, planted,
    stage::{Stages, answers, cargo},
    tidy,
};

/// The crates whose tests start real processes. `.config/nextest.toml` names them too.
const END_TO_END: [&str; 3] = ["weft-e2e", "weft-nemesis", "weft-mallory"];

/// The simulation of the registry.
const SIMULATION: &str = "weft-sim";

/// The path of the program under test, for the end-to-end tests.
pub(crate) const WEFT_BIN: &str = "WEFT_BIN";

/// The seeds of a campaign of the simulation; none if it is not set.
const SIM_SEEDS: &str = "WEFT_SIM_SEEDS";

/// How often gateways die; a few times if it is not set.
const DURABILITY_CYCLES: &str = "WEFT_DURABILITY_CYCLES";

/// How long the soak test takes; a minute if it is not set.
const SOAK_MINUTES: &str = "WEFT_SOAK_MINUTES";

/// How long a federation goes on without its majority; some seconds if it is not set.
const QUORUMLESS_MINUTES: &str = "WEFT_QUORUMLESS_MINUTES";

/// How many entries the test of watches writes; some hundred if it is not set.
const EVENTS: &str = "WEFT_EVENTS";

/// How long the nemesis goes on; every fault once if it is not set.
const NEMESIS_MINUTES: &str = "WEFT_NEMESIS_MINUTES";

/// For how long a hostile member writes beyond its share; then others' times count.
const MALLORY_LOAD: &str = "WEFT_MALLORY_LOAD";

/// What it does in which order.
const NEMESIS_SEED: &str = "WEFT_NEMESIS_SEED";

/// How much of the suite to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Everything,
    /// No end-to-end tests, and nothing installed for them.
    Quick,
}

/// Runs the whole suite, stopping at the first stage that fails.
pub(crate) fn test(root: &Path, scope: Scope) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    if scope == Scope::Everything {
        stages.work("packages", || packages::ensure(root))?;
    }
    stages.work("tidy", || tidy::run(root))?;
    checks(&mut stages)?;
    let binary = match scope {
        Scope::Everything => Some(binary(&mut stages)?),
        Scope::Quick => None,
    };
    stages.run("documentation", &mut documentation())?;
    if scope == Scope::Everything {
        planted::run(&mut stages)?;
    }
    if answers(cargo().args(["nextest", "--version"])) {
        with_nextest(stages, binary.as_deref())
    } else {
        with_cargo(stages, binary.as_deref())
    }
}

/// Format and clippy.
pub(crate) fn lint(root: &Path) -> Result<(), Failure> {
    checks(&mut Stages::new(root))
}

/// Runs the test of watches with so many entries, and shows its figures.
pub(crate) fn watches(root: &Path, events: u64) -> Result<(), Failure> {
    let mut command = long_test();
    command.args(["--package", "weft-registry"]);
    command.args(["--test", "watches", "--", "--nocapture", "--test-threads=1"]);
    command.env(EVENTS, events.to_string());
    Stages::new(root).finish("watches", &mut command)
}

/// Runs these seeds of the simulation, and shows what they met.
pub(crate) fn simulate(root: &Path, seeds: &Range<u64>) -> Result<(), Failure> {
    let mut command = long_test();
    command.args(["--package", SIMULATION, "--test", "seeds"]);
    command.args(["--", "--nocapture", "campaign"]);
    command.env(SIM_SEEDS, format!("{}..{}", seeds.start, seeds.end));
    Stages::new(root).finish("simulation", &mut command)
}

/// Reads and applies so many records and snapshots with bytes changed.
pub(crate) fn mutants(root: &Path, count: u64) -> Result<(), Failure> {
    let mut command = long_test();
    command.args(["--package", "weft-registry", "--lib", "mutants"]);
    command.args(["--", "--nocapture"]);
    command.env("WEFT_MUTANTS", count.to_string());
    Stages::new(root).finish("mutants", &mut command)
}

/// Damages the registry's file at every byte of its end.
pub(crate) fn sweep(root: &Path) -> Result<(), Failure> {
    let mut command = long_test();
    command.args(["--package", "weft-registry", "--lib", "disk::sweep"]);
    command.args(["--", "--nocapture"]);
    command.env("WEFT_SWEEP", "all");
    Stages::new(root).finish("sweep", &mut command)
}

/// Tests that compute for long, with every assertion and optimised.
fn long_test() -> Command {
    let mut command = cargo();
    command.args(["test", "--profile", "long"]);
    command
}

/// Kills gateways so many times while clients write, and has a sync fail.
pub(crate) fn durability(root: &Path, cycles: u32) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    stages.work("packages", || packages::ensure(root))?;
    let binary = binary(&mut stages)?;
    let mut command = cargo();
    command.args(["test", "--package", "weft-nemesis", "--test", "durability"]);
    command.args(["--", "--nocapture", "--test-threads=1"]);
    command.env(WEFT_BIN, binary);
    command.env(DURABILITY_CYCLES, cycles.to_string());
    stages.finish("durability", &mut command)
}

/// Plants faults, each of which a suite has to notice.
pub(crate) fn bugs(root: &Path) -> Result<(), Failure> {
    planted::run(&mut Stages::new(root))
}

/// Runs the soak test for so long, and shows its table.
pub(crate) fn soak(root: &Path, minutes: u32) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    stages.work("packages", || packages::ensure(root))?;
    let binary = binary(&mut stages)?;
    let mut command = cargo();
    command.args(["test", "--package", "weft-e2e", "--test", "soak"]);
    command.args(["--", "--nocapture"]);
    command.env(WEFT_BIN, binary);
    command.env(SOAK_MINUTES, minutes.to_string());
    stages.finish("soak", &mut command)
}

/// Has a federation go on without its majority for so long, and shows what came of it.
pub(crate) fn quorumless(root: &Path, minutes: u32) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    stages.work("packages", || packages::ensure(root))?;
    let binary = binary(&mut stages)?;
    let mut command = cargo();
    command.args(["test", "--package", "weft-e2e", "--test", "alone"]);
    command.args(["without_a_majority", "--", "--nocapture"]);
    command.env(WEFT_BIN, binary);
    command.env(QUORUMLESS_MINUTES, minutes.to_string());
    stages.finish("quorumless", &mut command)
}

/// Runs the nemesis for so long, and shows what it found.
pub(crate) fn nemesis(root: &Path, nemesis: Nemesis) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    stages.work("packages", || packages::ensure(root))?;
    let binary = binary(&mut stages)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = nemesis.seed.unwrap_or(now.map_or(1, |now| now.as_secs()));
    let mut command = cargo();
    command.args([
        "test",
        "--package",
        "weft-nemesis",
        "--test",
        "linearizable",
    ]);
    command.args(["--", "--nocapture"]);
    command.env(WEFT_BIN, binary);
    command.env(NEMESIS_MINUTES, nemesis.minutes.to_string());
    command.env(NEMESIS_SEED, seed.to_string());
    stages.finish("nemesis", &mut command)
}

/// Measures the registry beside etcd, both as they are deployed.
pub(crate) fn bench_registry(root: &Path) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    stages.work("packages", || packages::ensure_peers(root))?;
    // Together, so that what both depend on is built once.
    let mut build = cargo();
    build.args([
        "build",
        "--release",
        "--package",
        "weft",
        "--package",
        "weft-bench",
    ]);
    stages.run("build", &mut build)?;
    let built = tidy::workspace::Workspace::load(root)?.target_directory;
    let mut command = Command::new(built.join("release/weft-bench"));
    command.arg("registry");
    command.env(WEFT_BIN, built.join("release/weft"));
    stages.finish("bench", &mut command)
}

/// Makes every attempt of a hostile member, and has the times of others judged beside so many
/// seconds of ten times its share.
pub(crate) fn mallory(root: &Path, seconds: u32) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    stages.work("packages", || packages::ensure(root))?;
    let binary = binary(&mut stages)?;
    let mut command = cargo();
    command.args(["test", "--package", "weft-mallory", "--test", "hostile"]);
    command.args(["--", "--nocapture"]);
    command.env(WEFT_BIN, binary);
    command.env(MALLORY_LOAD, seconds.to_string());
    stages.finish("mallory", &mut command)
}

/// Builds the documentation of our crates.
pub(crate) fn doc(root: &Path) -> Result<(), Failure> {
    Stages::new(root).run("documentation", &mut documentation())
}

fn documentation() -> Command {
    let mut command = cargo();
    command.args(["doc", "--no-deps", "--workspace"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

fn checks(stages: &mut Stages<'_>) -> Result<(), Failure> {
    stages.run("format", cargo().args(["fmt", "--all", "--check"]))?;
    stages.run(
        "clippy",
        cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )
}

/// The program that the end-to-end tests start: the one the caller names, or one built
/// here. Building it as part of the workspace gives it the features, and so the
/// compiled dependencies, that the tests use.
pub(crate) fn binary(stages: &mut Stages<'_>) -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os(WEFT_BIN) {
        // Tests run in the folders of their crates, so a relative path would miss.
        let path = PathBuf::from(path);
        return Ok(std::path::absolute(&path).unwrap_or(path));
    }
    stages.run(
        "build",
        cargo().args(["build", "--workspace", "--bin", "weft"]),
    )?;
    let workspace = tidy::workspace::Workspace::load(stages.root())?;
    Ok(workspace.target_directory.join("debug/weft"))
}

fn with_nextest(stages: Stages<'_>, binary: Option<&Path>) -> Result<(), Failure> {
    let mut command = cargo();
    command.args(["nextest", "run", "--workspace"]);
    if std::env::var_os("CI").is_some() {
        command.args(["--profile", "ci"]);
    }
    match binary {
        Some(path) => command.env(WEFT_BIN, path),
        None => command.args(END_TO_END.map(|name| ["--exclude", name]).as_flattened()),
    };
    stages.finish("tests", &mut command)
}

/// Without nextest the end-to-end tests need a run of their own, since only nextest
/// can be told to run them one at a time.
fn with_cargo(mut stages: Stages<'_>, binary: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = binary else {
        return stages.finish("tests", &mut unit_tests());
    };
    stages.run("end-to-end tests", &mut end_to_end_tests(path))?;
    stages.finish("tests", &mut unit_tests())
}

fn unit_tests() -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace"]);
    command.args(END_TO_END.map(|name| ["--exclude", name]).as_flattened());
    command.args(["--lib", "--bins", "--tests"]);
    command
}

fn end_to_end_tests(binary: &Path) -> Command {
    let mut command = cargo();
    command.arg("test");
    command.args(END_TO_END.map(|name| ["--package", name]).as_flattened());
    command.args(["--lib", "--tests"]);
    command.args(["--", "--test-threads=1"]);
    command.env(WEFT_BIN, binary);
    command
}
