//! Seeded randomness whose values are part of the contract.
//!
//! `rand` reserves the right to change what `StdRng` and `SmallRng` return from
//! one release to the next. A seed printed by a failing test must replay after
//! an upgrade, so the generator is fixed here: SplitMix64 (Steele, Lea and
//! Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).

use std::time::Duration;

use crate::spec::SpecError;

/// 53 bits: every numerator below it is exact in an `f64`.
const DENOMINATOR: u64 = 1 << 53;
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// How likely something is, from never to always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u64);

impl Probability {
    /// Cannot happen.
    pub const NEVER: Self = Self(0);
    /// Always happens.
    pub const ALWAYS: Self = Self(DENOMINATOR);

    /// A probability from a fraction in `0.0..=1.0`.
    ///
    /// # Errors
    /// [`SpecError::Probability`] outside that range, and for NaN.
    pub fn new(fraction: f64) -> Result<Self, SpecError> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(SpecError::Probability { fraction });
        }
        Ok(Self((fraction * DENOMINATOR as f64).round() as u64))
    }

    /// The fraction in `0.0..=1.0`.
    pub fn fraction(self) -> f64 {
        self.0 as f64 / DENOMINATOR as f64
    }
}

/// What a stream of chance decides. Each kind has a stream of its own, so that
/// turning one impairment on does not change what the others do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Loss = 1,
    Jitter = 2,
    Reorder = 3,
    Duplicate = 4,
}

/// One stream of random values.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64, stream: Stream) -> Self {
        Self {
            state: mix(seed ^ mix((stream as u64).wrapping_mul(GOLDEN_GAMMA))),
        }
    }

    /// Draws exactly one value, whatever the probability.
    pub(crate) fn happens(&mut self, probability: Probability) -> bool {
        (self.next() >> 11) < probability.0
    }

    /// Uniform in `0..=range`. Draws exactly one value.
    pub(crate) fn up_to(&mut self, range: Duration) -> Duration {
        let span = u64::try_from(range.as_nanos())
            .unwrap_or(u64::MAX - 1)
            .min(u64::MAX - 1)
            + 1;
        // Multiply-shift: the bias is below span / 2^64, far under a nanosecond.
        Duration::from_nanos(((u128::from(self.next()) * u128::from(span)) >> 64) as u64)
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        let mut chance = Chance { state: 0 };
        let drawn = [chance.next(), chance.next(), chance.next()];
        assert_eq!(
            drawn,
            [
                0xe220_a839_7b1d_cdaf,
                0x6e78_9e6a_a1b9_65f4,
                0x06c4_5d18_8009_454f
            ]
        );
    }

    #[test]
    fn the_ends_of_the_range_are_certain() {
        let mut chance = Chance::new(7, Stream::Loss);
        assert!((0..10_000).all(|_| chance.happens(Probability::ALWAYS)));
        assert!((0..10_000).all(|_| !chance.happens(Probability::NEVER)));
        assert!((0..10_000).all(|_| chance.up_to(Duration::ZERO) == Duration::ZERO));
    }

    #[test]
    fn fractions_outside_zero_to_one_are_refused() {
        for fraction in [-0.1, 1.000_1, f64::NAN, f64::INFINITY] {
            assert!(matches!(
                Probability::new(fraction),
                Err(SpecError::Probability { .. })
            ));
        }
        assert_eq!(Probability::new(0.25).unwrap().fraction(), 0.25);
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let mut loss = Chance::new(1, Stream::Loss);
        let mut jitter = Chance::new(1, Stream::Jitter);
        assert_ne!(loss.next(), jitter.next());
    }
}
