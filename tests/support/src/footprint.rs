//! What processes hold of the machine, over time: memory and descriptors.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What one process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory, in bytes, with the pages of the program file that it happened to touch.
    pub resident: u64,
    /// The part of it that is the process's own, in bytes: heap and stacks. What a process leaks
    /// is in here; pages of files are bounded by the files, and shared.
    pub anonymous: u64,
    /// Open file descriptors.
    pub descriptors: usize,
}

impl Footprint {
    /// Of a process that runs.
    ///
    /// # Errors
    /// It does not.
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            resident: bytes(&status, "VmRSS:")?,
            anonymous: bytes(&status, "RssAnon:")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }
}

/// A line of `/proc/PID/status` that is in kB (proc(5)).
fn bytes(status: &str, field: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: u64 = kibibytes.context("a process has memory")?.parse()?;
    Ok(kibibytes << 10)
}

/// Footprints of processes by name, looked at again and again.
#[derive(Debug, Clone)]
pub struct History {
    begun: Instant,
    series: BTreeMap<String, Series>,
}

/// One process, for as long as it was the same one.
#[derive(Debug, Clone)]
struct Series {
    pid: u32,
    samples: Vec<(Duration, Footprint)>,
}

/// What became of one process's footprint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// At the first look.
    pub first: Footprint,
    /// At the last one.
    pub last: Footprint,
    /// The most descriptors seen.
    pub descriptors_max: usize,
    /// How much anonymous memory grew, bytes per ten minutes: the slope of the line of
    /// least squares.
    pub slope: f64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            series: BTreeMap::new(),
        }
    }
}

impl History {
    /// Looks at all of them. One that has another id than before begins anew; one that
    /// just ended is passed over.
    pub fn look(&mut self, processes: &BTreeMap<String, u32>) {
        let at = self.begun.elapsed();
        for (name, pid) in processes {
            let Ok(footprint) = Footprint::of(*pid) else {
                continue;
            };
            let series = self.series.entry(name.clone()).or_insert(Series {
                pid: *pid,
                samples: Vec::new(),
            });
            if series.pid != *pid {
                series.pid = *pid;
                series.samples.clear();
            }
            series.samples.push((at, footprint));
        }
    }

    /// What became of each, by name, since the process began or was first looked at.
    pub fn trends(&self) -> BTreeMap<&str, Trend> {
        let series = self.series.iter();
        let trends = series.filter_map(|(name, series)| {
            let trend = Trend::of(&series.samples)?;
            Some((name.as_str(), trend))
        });
        trends.collect()
    }
}

impl Trend {
    fn of(samples: &[(Duration, Footprint)]) -> Option<Self> {
        let ((_, first), (_, last)) = (samples.first()?, samples.last()?);
        let points = samples.iter();
        let points: Vec<(f64, f64)> = points
            .map(|(at, seen)| (at.as_secs_f64(), seen.anonymous as f64))
            .collect();
        let descriptors = samples.iter().map(|(_, seen)| seen.descriptors);
        Some(Self {
            first: *first,
            last: *last,
            descriptors_max: descriptors.max()?,
            slope: slope(&points) * 600.0,
        })
    }
}

/// Of the line of least squares; 0 for a single point.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let together: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    if spread == 0.0 {
        0.0
    } else {
        together / spread
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<32} {:>9} {:>9} {:>9} {:>9} {:>11} {:>5} {:>5} {:>5}",
            "process", "RSS MiB", "then", "own MiB", "then", "per 10 min", "fds", "most", "then"
        )?;
        let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
        for (name, trend) in self.trends() {
            writeln!(
                f,
                "{name:<32} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>+11.2} {:>5} {:>5} {:>5}",
                mebibytes(trend.first.resident as f64),
                mebibytes(trend.last.resident as f64),
                mebibytes(trend.first.anonymous as f64),
                mebibytes(trend.last.anonymous as f64),
                mebibytes(trend.slope),
                trend.first.descriptors,
                trend.descriptors_max,
                trend.last.descriptors,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_something() {
        let before = Footprint::of(std::process::id()).unwrap();
        let _file = fs::File::open("/proc/self/status").unwrap();
        let after = Footprint::of(std::process::id()).unwrap();
        assert!(after.resident > 1 << 20);
        assert!(after.anonymous > 0 && after.anonymous < after.resident);
        assert!(after.descriptors > before.descriptors);
    }

    #[test]
    fn a_slope_is_the_growth_and_not_the_noise() {
        let points: Vec<_> = (0..100)
            .map(|n| {
                let noise = if n % 2 == 0 { 5.0 } else { -5.0 };
                (f64::from(n), 3.0 * f64::from(n) + noise)
            })
            .collect();
        assert!((slope(&points) - 3.0).abs() < 0.01);
        assert!(slope(&[(1.0, 7.0)]).abs() < f64::EPSILON);
    }

    #[test]
    fn another_process_of_the_same_name_begins_anew() {
        let own = std::process::id();
        let mut history = History::default();
        history.look(&[("it".to_owned(), 1)].into());
        history.look(&[("it".to_owned(), own), ("gone".to_owned(), u32::MAX)].into());
        assert_eq!(history.series["it"].pid, own);
        assert_eq!(history.trends().len(), 1);
    }
}
