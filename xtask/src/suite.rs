//! `cargo xtask test`, `lint` and `doc`: what has to hold, in order of price.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::Failure,
    packages, planted,
    stage::{Stages, answers, cargo},
    tidy,
};

/// The crates whose tests start real processes. `.config/nextest.toml` names them too.
const END_TO_END: [&str; 3] = ["weft-e2e", "weft-nemesis", "weft-mallory"];

/// The simulation of the registry.
pub(crate) const SIMULATION: &str = "weft-sim";

/// The path of the program under test, for the end-to-end tests.
pub(crate) const WEFT_BIN: &str = "WEFT_BIN";

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

/// Plants faults, each of which a suite has to notice.
pub(crate) fn bugs(root: &Path) -> Result<(), Failure> {
    planted::run(&mut Stages::new(root))
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
fn binary(stages: &mut Stages<'_>) -> Result<PathBuf, Failure> {
    binary_of(stages, &[], "debug")
}

/// The same of another profile, whose folder is `folder`.
pub(crate) fn binary_of(
    stages: &mut Stages<'_>,
    profile: &[&str],
    folder: &str,
) -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os(WEFT_BIN) {
        // Tests run in the folders of their crates, so a relative path would miss.
        let path = PathBuf::from(path);
        return Ok(std::path::absolute(&path).unwrap_or(path));
    }
    let mut build = cargo();
    build.args(["build", "--workspace", "--bin", "weft"]);
    stages.run("build", build.args(profile))?;
    let workspace = tidy::workspace::Workspace::load(stages.root())?;
    Ok(workspace.target_directory.join(folder).join("weft"))
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

/// Without nextest the end-to-end tests run one at a time: only it can be told which of
/// them may run beside each other.
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
