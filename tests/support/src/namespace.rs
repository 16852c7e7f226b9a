//! Networks of a test's own: namespaces, joined by wires of a wide-area network.
//!
//! A [`Namespace`] is a machine as its network sees it: interfaces, routes, firewall,
//! resolver and hosts file. It is held by a process, so it needs no name in a shared
//! folder and is gone with the test.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{Ran, command, run};
use crate::{Background, SOON, eventually};

/// A network and mount namespace. Dropping it ends it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    holder: Background,
    scratch: PathBuf,
}

impl Namespace {
    /// Makes one, with loopback up. Its files go to a folder of its name in `scratch`.
    ///
    /// # Errors
    /// Outside of [`isolated`](crate::isolated()), or if the kernel refuses.
    pub fn new(name: &str, scratch: &Path) -> Result<Self> {
        let scratch = scratch.join(name);
        fs::create_dir_all(&scratch)?;
        let hold = ["unshare", "--net", "--mount", "sleep", "infinity"];
        let holder = Background::start(&mut command(hold), &scratch.join("holder.log"))?;
        let mut namespace = Self {
            name: name.to_owned(),
            holder,
            scratch,
        };
        let own = fs::read_link("/proc/self/ns/mnt")?;
        eventually("a namespace is there", SOON, || {
            namespace.holder.still_runs()?;
            let path = format!("/proc/{}/ns/mnt", namespace.holder.pid());
            // Mounts come after the network, so this one tells that both are there.
            if fs::read_link(path)? == own {
                bail!("not yet");
            }
            Ok(())
        })?;
        namespace.sh("ip link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process that holds it, for `ip link set … netns PID`.
    pub fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// Its folder for files.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A command that will run in it, from words. It is given as the arguments of
    /// nsenter, which execs it: further arguments and the environment are its own.
    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let pid = self.pid().to_string();
        let mut enter = command(["nsenter", "--net", "--mount", "--target", &pid]);
        enter
            .arg(format!("--wd={}", self.scratch.display()))
            .arg("--")
            .args(words);
        enter
    }

    /// A command that is given, as one that will run in it.
    pub fn enclose(&self, command: &Command) -> Command {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let mut inside = self.command(words);
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        inside
    }

    /// Runs a program in it to its end.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Result<Ran> {
        run(&mut self.command(words))
    }

    /// Runs lines of shell in it, each of which must succeed; what they print.
    ///
    /// # Errors
    /// One failed; with what it said.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.run(["sh", "-ec", script])?
            .ok()
            .with_context(|| format!("in {}", self.name))
    }

    /// Replaces one of its files, such as `/etc/hosts`, as its own programs see it.
    ///
    /// # Errors
    /// It is not there to be replaced.
    pub fn replace(&self, path: &str, text: &str) -> Result<()> {
        let real = fs::canonicalize(path)?;
        let name = real.file_name().context("a file")?;
        let own = self.scratch.join(name);
        fs::write(&own, text)?;
        let (own, real) = (own.display(), real.display());
        self.sh(&format!("mount --bind '{own}' '{real}'"))?;
        Ok(())
    }

    /// Joins it to another by a cable: a pair of interfaces, named for the far ends.
    ///
    /// # Errors
    /// The kernel refuses; a name is taken.
    pub fn cable(&self, other: &Self) -> Result<()> {
        let (near, far) = (&other.name, &self.name);
        let peer = other.pid();
        self.sh(&format!(
            "ip link add '{near}' type veth peer name '{far}' netns {peer}; ip link set dev '{near}' up"
        ))?;
        other.sh(&format!("ip link set dev '{far}' up"))?;
        Ok(())
    }
}
