//! Durations counted in fixed log-linear buckets, so that counts of many places add up.
//!
//! Eight buckets an octave from 64 µs to 67 s, one below and one above. A quantile read from
//! them is at most 7 % off: half a bucket's width. The numbers are on wires: they never change.

use std::time::Duration;

/// How many buckets there are.
pub const BUCKETS: usize = 2 + OCTAVES * PER_OCTAVE;

/// Buckets an octave. More: finer quantiles, longer reports.
const PER_OCTAVE: usize = 8;
/// The first octave begins at 2^6 µs: shorter than any hop between processes.
const FIRST: u32 = 6;
const OCTAVES: usize = 20;

/// The bucket of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LatencyBucket(u8);

impl LatencyBucket {
    /// The bucket that `latency` falls into.
    pub fn of(latency: Duration) -> Self {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let Some(exponent) = micros.checked_ilog2().filter(|e| *e >= FIRST) else {
            return Self(0);
        };
        let octave = (exponent - FIRST) as usize;
        if octave >= OCTAVES {
            return Self((BUCKETS - 1) as u8);
        }
        let within = (micros >> (exponent - 3)) as usize % PER_OCTAVE;
        Self((1 + octave * PER_OCTAVE + within) as u8)
    }

    /// The bucket of that number; none above the last.
    pub fn new(number: u32) -> Option<Self> {
        let known = usize::try_from(number).is_ok_and(|number| number < BUCKETS);
        known.then_some(Self(number as u8))
    }

    /// Its number, from 0.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// The shortest duration that falls into it.
    fn begin(self) -> u64 {
        match self.number().checked_sub(1) {
            None => 0,
            Some(place) => {
                let octave = (place / PER_OCTAVE) as u32;
                let within = (place % PER_OCTAVE) as u64;
                (PER_OCTAVE as u64 + within) << (octave + FIRST - 3)
            }
        }
    }

    /// A duration that stands for all of it: its middle.
    pub fn middle(self) -> Duration {
        let begin = self.begin();
        let end = Self(self.0 + 1).begin();
        Duration::from_micros(begin + (end - begin) / 2)
    }
}

/// Counts by bucket; buckets without any are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies {
    counts: Vec<(LatencyBucket, u64)>,
}

impl Latencies {
    /// Counts one duration.
    pub fn record(&mut self, latency: Duration) {
        self.add(LatencyBucket::of(latency), 1);
    }

    /// Adds `count` durations of one bucket.
    pub fn add(&mut self, bucket: LatencyBucket, count: u64) {
        if count == 0 {
            return;
        }
        match self.counts.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(place) => self.counts[place].1 = self.counts[place].1.saturating_add(count),
            Err(place) => self.counts.insert(place, (bucket, count)),
        }
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            self.add(*bucket, *count);
        }
    }

    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        let counts = self.counts.iter().map(|(_, count)| *count);
        counts.fold(0, u64::saturating_add)
    }

    /// Buckets with their counts, in order.
    pub fn buckets(&self) -> impl Iterator<Item = (LatencyBucket, u64)> + '_ {
        self.counts.iter().copied()
    }

    /// The duration that the share `q` of all, 0 to 1, does not exceed; none of none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total = self.total();
        let rank = ((total as f64 * q).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0u64;
        let found = self.counts.iter().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        found.map(|(bucket, _)| bucket.middle())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for number in 0..BUCKETS as u32 {
            let bucket = LatencyBucket::new(number).unwrap();
            assert_eq!(LatencyBucket::of(micros(bucket.begin())), bucket);
            if number > 0 {
                let before = LatencyBucket::new(number - 1).unwrap();
                assert_eq!(LatencyBucket::of(micros(bucket.begin() - 1)), before);
            }
        }
        assert_eq!(LatencyBucket::new(BUCKETS as u32), None);
        assert_eq!(LatencyBucket::of(Duration::MAX).number(), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_table() {
        let check = |millis: &[u64], q: f64, expect: Option<u64>| {
            let mut latencies = Latencies::default();
            millis
                .iter()
                .for_each(|m| latencies.record(Duration::from_millis(*m)));
            let bucket = expect.map(|m| LatencyBucket::of(Duration::from_millis(m)).middle());
            assert_eq!(latencies.quantile(q), bucket, "{millis:?} {q}");
        };
        check(&[], 0.5, None);
        check(&[7], 0.0, Some(7));
        check(&[7], 1.0, Some(7));
        check(&[1, 10, 100, 1000], 0.5, Some(10));
        check(&[1, 10, 100, 1000], 0.51, Some(100));
        check(&[1, 10, 100, 1000], 0.99, Some(1000));
    }

    proptest! {
        #[test]
        fn the_middle_is_near(value in 64u64..67_000_000) {
            let middle = LatencyBucket::of(micros(value)).middle().as_micros() as f64;
            let off = (middle - value as f64).abs() / value as f64;
            prop_assert!(off <= 0.07, "{value} µs stands as {middle} µs");
        }

        #[test]
        fn what_is_merged_is_what_was_recorded(
            left in prop::collection::vec(0u64..100_000_000, 0..50),
            right in prop::collection::vec(0u64..100_000_000, 0..50),
        ) {
            let of = |values: &[u64]| {
                let mut latencies = Latencies::default();
                values.iter().for_each(|v| latencies.record(micros(*v)));
                latencies
            };
            let mut merged = of(&left);
            merged.merge(&of(&right));
            prop_assert_eq!(&merged, &of(&[left.clone(), right.clone()].concat()));
            prop_assert_eq!(merged.total(), (left.len() + right.len()) as u64);
        }
    }
}
