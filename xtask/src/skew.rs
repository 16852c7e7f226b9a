//! `cargo xtask skew`: an earlier build and this one in one federation.

use std::path::Path;
use std::process::Command;

use crate::command_line::minutes_of;
use crate::failure::Failure;
use crate::stage::{Stages, cargo};
use crate::{campaign, packages};

/// The commit whose build federations run with, until there is a release with a name. It is of
/// format level 6, and compares digests as this one does.
const PREVIOUS: &str = "a3deb2ad2581b77f4269a9cbe9f87b5f27668909";
/// How long the two go on together if nobody says otherwise.
const MINUTES: u32 = 10;

/// What to begin with, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skew {
    pub(crate) previous: String,
    pub(crate) minutes: u32,
}

impl Skew {
    pub(crate) fn parse(mut words: &[&str]) -> Result<Self, Failure> {
        let mut skew = Self {
            previous: PREVIOUS.to_owned(),
            minutes: MINUTES,
        };
        loop {
            match words {
                [] => return Ok(skew),
                ["--previous", commit, rest @ ..] => {
                    (*commit).clone_into(&mut skew.previous);
                    words = rest;
                }
                ["--minutes", minutes, rest @ ..] => {
                    skew.minutes = minutes_of(minutes)?;
                    words = rest;
                }
                _ => return Err(Failure::Usage(format!("unknown: {}", words.join(" ")))),
            }
        }
    }
}

/// Builds both, and replaces the one by the other under load.
pub(crate) fn run(root: &Path, skew: &Skew) -> Result<(), Failure> {
    let mut stages = Stages::new(root);
    stages.work("packages", || packages::ensure(root))?;
    let binary = campaign::binary(&mut stages)?;
    let workspace = crate::tidy::workspace::Workspace::load(root)?;
    let folder = workspace.target_directory.join("previous");
    let checkout = folder.join("source");
    if !checkout.exists() {
        let mut add = git();
        add.args(["worktree", "add", "--force", "--detach"]);
        stages.run("previous source", add.arg(&checkout).arg(&skew.previous))?;
    }
    let mut switch = git();
    switch.arg("-C").arg(&checkout);
    switch.args(["checkout", "--quiet", "--detach", &skew.previous]);
    stages.run("previous commit", &mut switch)?;
    let built = folder.join("target");
    let mut build = cargo();
    build.arg("build").arg("--bin").arg("weft");
    build
        .arg("--manifest-path")
        .arg(checkout.join("Cargo.toml"));
    build.arg("--target-dir").arg(&built);
    stages.run("previous build", &mut build)?;
    let mut test = campaign::real_test(&["skew"], &binary);
    test.env("WEFT_PREVIOUS_BIN", built.join("debug/weft"));
    test.env("WEFT_SKEW_MINUTES", skew.minutes.to_string());
    stages.finish("skew", &mut test)
}

fn git() -> Command {
    Command::new("git")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_any_order() {
        let skew = Skew::parse(&["--minutes", "2", "--previous", "v1"]).unwrap();
        assert_eq!((skew.previous.as_str(), skew.minutes), ("v1", 2));
        assert!(Skew::parse(&["--minutes", "soon"]).is_err());
        assert!(Skew::parse(&["--minutes", "0"]).is_err());
        assert!(Skew::parse(&["v1"]).is_err());
    }
}
