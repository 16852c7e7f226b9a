//! Processes by their ids. Inside [`isolated`](crate::isolated()) all there are belong to the test.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Result, bail};

use crate::run::{command, run};
use crate::{SOON, eventually};

/// Sends a signal by name: `TERM`, `INT`.
///
/// # Errors
/// There is no such process.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    run(&mut command([
        "sh",
        "-c",
        "kill -s \"$0\" \"$1\"",
        name,
        &pid.to_string(),
    ]))?
    .ok()?;
    Ok(())
}

/// Kills a process, as if its machine had lost power.
///
/// # Errors
/// There is no such process.
pub fn kill(pid: u32) -> Result<()> {
    signal(pid, "KILL")
}

/// Every process that has not ended, by id, with its command line.
///
/// # Errors
/// `/proc` cannot be read.
pub fn all_processes() -> Result<BTreeMap<u32, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // One that ends while we look has ended.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // After the name in parentheses comes the state; Z has ended and was not waited for.
        if stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        {
            let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            found.insert(pid, line.replace('\0', " ").trim_end().to_owned());
        }
    }
    Ok(found)
}

/// Waits until none of these processes is left.
///
/// # Errors
/// Some are, after a minute.
pub fn wait_until_gone(pids: &[u32]) -> Result<()> {
    eventually("processes end", SOON, || {
        let mut left = all_processes()?;
        left.retain(|pid, _| pids.contains(pid));
        if left.is_empty() {
            Ok(())
        } else {
            bail!("still there: {left:?}")
        }
    })
}
