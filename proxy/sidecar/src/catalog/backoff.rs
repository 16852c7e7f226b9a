//! Pauses between attempts to reach a gateway.

use std::time::Duration;

use rand::Rng;

const FIRST: Duration = Duration::from_millis(100);
/// A restarted gateway waits three times as long for its sidecars before it
/// takes their silence for absence.
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles with every failure, up to a bound; chance spreads a crowd that lost
/// the same gateway.
#[derive(Debug, Clone)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The next pause: between half and all of the present length.
    pub(super) fn next(&mut self, chance: &mut impl Rng) -> Duration {
        let pause = self.0.mul_f64(chance.random_range(0.5..=1.0));
        self.0 = (self.0 * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut chance = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        for step in 0..20 {
            let pause = backoff.next(&mut chance);
            let length = (FIRST * 2u32.pow(step.min(10))).min(LONGEST);
            assert!(
                (length / 2..=length).contains(&pause),
                "{pause:?} of {length:?}"
            );
        }
    }
}
