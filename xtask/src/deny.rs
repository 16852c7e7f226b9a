//! `cargo xtask deny`: what `deny.toml` says of licences, banned crates and sources.

use std::path::Path;

use crate::{
    failure::Failure,
    stage::{Stages, answers, cargo},
};

/// Whether to build cargo-deny where it is missing. It takes minutes, so the user asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Install {
    Yes,
    No,
}

/// Runs the checks that need no network.
pub(crate) fn run(root: &Path, install: Install) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    if !answers(cargo().args(["deny", "--version"])) {
        match install {
            Install::Yes => stages.run(
                "installation of cargo-deny",
                cargo().args(["install", "cargo-deny", "--locked"]),
            )?,
            Install::No => {
                return Err(Failure::Missing {
                    what: "cargo-deny is not installed".into(),
                    next: "cargo xtask deny --install, or cargo install cargo-deny --locked".into(),
                });
            }
        }
    }
    stages.run(
        "deny",
        cargo().args(["deny", "--locked", "check", "bans", "licenses", "sources"]),
    )
}
