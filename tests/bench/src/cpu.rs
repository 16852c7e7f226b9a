//! Processor time of processes and of the machine.

use std::fs;

use anyhow::{Context, Result};

/// Processor time of some processes, in nanoseconds, by the scheduler's own count: the ticks of
/// `/proc/PID/stat` are samples of 4 ms.
pub(crate) fn of(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread that ended meanwhile has little to tell.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let first = text.split_whitespace().next();
            sum += first.context("a time")?.parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// All processors since the machine started, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    idle: u64,
    all: u64,
}

impl Machine {
    pub(crate) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().context("a line")?;
        let fields = line.split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>()?;
        // idle, and waiting for a disk
        let idle = ticks.iter().skip(3).take(2).sum();
        Ok(Self {
            idle,
            all: ticks.iter().sum(),
        })
    }

    /// The share of all processors that was busy since then, 0 to 1.
    pub(crate) fn busy_since(self, then: Self) -> f64 {
        let all = self.all.saturating_sub(then.all).max(1);
        let idle = self.idle.saturating_sub(then.idle);
        1.0 - idle as f64 / all as f64
    }
}
