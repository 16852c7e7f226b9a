//! One program that goes on beside the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::run::{end, shown};
use crate::signal;

/// How long it may take to end when it is asked to.
const END_WAIT: Duration = Duration::from_secs(20);

/// A running program. Dropping it stops it: politely, then by force.
#[derive(Debug)]
pub struct Background {
    child: Child,
    shown: String,
    log: PathBuf,
}

impl Background {
    /// Starts a command whose output goes to a file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let shown = shown(command);
        let output = File::create(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        Ok(Self {
            child,
            shown,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said.
    pub fn said(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The error of its having ended, if it has.
    ///
    /// # Errors
    /// It has ended; with all that it said.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended: {status}\n{}", self.shown, self.said()),
        }
    }

    /// Waits for its end; its exit code.
    ///
    /// # Errors
    /// It did not end within a while, and was killed.
    pub fn wait(&mut self) -> Result<Option<i32>> {
        self.wait_within(END_WAIT)
    }

    /// [`wait`](Self::wait) with another deadline.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_within(&mut self, wait: Duration) -> Result<Option<i32>> {
        Ok(end(&mut self.child, wait)
            .with_context(|| self.shown.clone())?
            .code())
    }

    /// Sends a signal by name, and waits for its end.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn stop(&mut self, name: &str) -> Result<Option<i32>> {
        signal(self.pid(), name)?;
        self.wait()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _killed_otherwise = self.stop("TERM");
        }
    }
}
