//! The project's tasks: `cargo xtask test | lint | doc | tidy | bugs | sim | mutants | sweep |
//! durability | soak | watches | nemesis | mallory | failover | quorumless | skew | bench | deny`.
//!
//! This is the one place that knows how the project is checked; continuous integration
//! and the documentation call the same commands. It builds nothing that ships, and it
//! depends on none of our crates, so that it runs while they do not compile.

#![allow(
    clippy::print_stderr,
    reason = "a task runner talks to the person who started it"
)]

mod campaign;
mod command_line;
mod deny;
mod failure;
mod packages;
mod planted;
mod skew;
mod stage;
mod suite;
mod tidy;

use std::{error::Error, path::Path, process::ExitCode};

use command_line::Task;
use failure::Failure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("xtask: {failure}");
            let mut source = failure.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run() -> Result<(), Failure> {
    let root = root();
    match Task::parse(std::env::args().skip(1))? {
        Task::Test(scope) => suite::test(root, scope),
        Task::Lint => suite::lint(root),
        Task::Doc => suite::doc(root),
        Task::Tidy => tidy::run(root),
        Task::Bugs => suite::bugs(root),
        Task::Sim(seeds) => campaign::simulate(root, &seeds),
        Task::Mutants(count) => campaign::mutants(root, count),
        Task::Sweep => campaign::sweep(root),
        Task::Durability(cycles) => campaign::durability(root, cycles),
        Task::Soak(minutes) => campaign::soak(root, minutes),
        Task::Watches(events) => campaign::watches(root, events),
        Task::Failover(kills) => campaign::failover(root, kills),
        Task::Quorumless(minutes) => campaign::quorumless(root, minutes),
        Task::Nemesis(nemesis) => campaign::nemesis(root, nemesis),
        Task::Skew(skew) => skew::run(root, &skew),
        Task::BenchRegistry => campaign::bench_registry(root),
        Task::Mallory(seconds) => campaign::mallory(root, seconds),
        Task::Deny(install) => deny::run(root, install),
        Task::Help => {
            eprintln!("{}", command_line::USAGE);
            Ok(())
        }
    }
}

/// The workspace's folder. It was fixed when this program was compiled, which is where
/// Cargo runs it from.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("xtask is a folder of the workspace")
}
