//! When writes succeeded: how long nobody could write.

use std::fmt;
use std::time::Duration;

/// Successful writes, by the time at which their client was told.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// (begun, told), nanoseconds on the clock of the history.
    writes: Vec<(u64, u64)>,
}

impl Timeline {
    /// Takes note of one.
    pub fn note(&mut self, begun: u64, told: u64) {
        self.writes.push((begun, told));
    }

    /// How long after `from` the first write succeeded that began after it; none if none did
    /// before `to`.
    pub fn first_after(&self, from: u64, to: u64) -> Option<Duration> {
        let since = self.writes.iter().filter(|(begun, _)| *begun >= from);
        let told = since.map(|(_, told)| *told).min()?;
        (told <= to).then(|| Duration::from_nanos(told - from))
    }

    /// The longest time between two successes from `from` to `to`.
    pub fn gap(&self, from: u64, to: u64) -> Duration {
        let within = self.writes.iter().map(|(_, told)| *told);
        let mut told: Vec<u64> = within.filter(|at| (from..to).contains(at)).collect();
        told.sort_unstable();
        let starts = std::iter::once(from).chain(told.iter().copied());
        let ends = told.iter().copied().chain([to]);
        let longest = starts.zip(ends).map(|(start, end)| end - start).max();
        Duration::from_nanos(longest.unwrap_or(to - from))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// Durations of one kind, as a line of a report.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<Duration>);

impl Series {
    pub(crate) fn note(&mut self, duration: Duration) {
        self.0.push(duration);
        self.0.sort_unstable();
    }

    /// The longest; zero if there are none.
    pub fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// The 99th percentile, by the nearest rank: of fewer than a hundred it is the longest.
    pub fn p99(&self) -> Duration {
        let rank = (self.0.len() * 99).div_ceil(100);
        self.0
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = self.0.get(self.0.len() / 2).copied().unwrap_or_default();
        write!(
            f,
            "median {:.2} s, longest {:.2} s of {}",
            median.as_secs_f64(),
            self.longest().as_secs_f64(),
            self.0.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_first_successes_are_those_of_writes_told() {
        let mut timeline = Timeline::default();
        for (begun, told) in [(5, 11), (12, 13), (14, 30), (31, 35)] {
            timeline.note(begun, told);
        }
        assert_eq!(timeline.gap(10, 40), Duration::from_nanos(17));
        assert_eq!(timeline.gap(10, 60), Duration::from_nanos(25));
        assert_eq!(timeline.gap(50, 60), Duration::from_nanos(10));
        // The one told at 11 had begun before.
        assert_eq!(timeline.first_after(10, 40), Some(Duration::from_nanos(3)));
        assert_eq!(timeline.first_after(14, 20), None);
    }

    #[test]
    fn the_99th_percentile_is_a_value_that_was_seen() {
        let mut series = Series::default();
        assert_eq!(series.p99(), Duration::ZERO);
        for seconds in (1..=50).rev() {
            series.note(Duration::from_secs(seconds));
        }
        assert_eq!(series.p99(), Duration::from_secs(50));
        for seconds in 51..=200 {
            series.note(Duration::from_secs(seconds));
        }
        assert_eq!(series.p99(), Duration::from_secs(198));
    }
}
