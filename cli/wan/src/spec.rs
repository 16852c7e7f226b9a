//! What one direction of a link does to packets.

use std::num::NonZeroU64;
use std::time::Duration;

use thiserror::Error;

use crate::chance::Probability;

/// One direction of a link. The default is a perfect link: no delay, no loss,
/// no limit.
///
/// A packet meets, in this order: a cut, the MTU, the bottleneck, the lossy
/// wire, the delay. A packet lost on the wire has used the bottleneck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSpec {
    /// Time from leaving the bottleneck to arriving.
    pub delay: Duration,
    /// Delay that varies from packet to packet, on top of `delay`.
    pub jitter: Jitter,
    /// Packets that are lost on the wire.
    pub loss: Loss,
    /// Packets held back so that later ones overtake them.
    pub reorder: Option<Reorder>,
    /// Packets that arrive twice, each copy with jitter of its own.
    pub duplicate: Probability,
    /// A rate limit with a queue in front of it.
    pub bottleneck: Option<Bottleneck>,
    /// Largest packet in bytes; larger ones vanish without a word, as on a path
    /// whose routers send no "packet too big".
    pub mtu: Option<usize>,
}

impl LinkSpec {
    /// A link that does nothing but delay.
    pub fn with_delay(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }
}

/// Delay that varies: uniform in `0..=range`, added to the base delay, which
/// therefore stays a floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jitter {
    /// The most that is added.
    pub range: Duration,
    /// Whether a packet with little jitter may pass one with more.
    pub overtaking: Overtaking,
}

/// Whether jitter may change the order of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overtaking {
    /// A packet waits for the one before it, as in the queues that cause most
    /// real jitter. Densely sent packets therefore see delays nearer the top of
    /// the range.
    #[default]
    Forbidden,
    /// Each packet is delayed on its own, as by a path over parallel links.
    /// Transports read the resulting disorder as loss.
    Allowed,
}

/// Which packets are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each packet by itself with this probability.
    Independent(Probability),
    /// In bursts.
    Bursts(GilbertElliott),
}

/// The Gilbert–Elliott model: two states with a loss probability each, and a
/// chance to change state before each packet (Elliott, "Estimates of error
/// rates for codes on burst-noise channels", BSTJ 42, 1963).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GilbertElliott {
    /// Chance per packet to go from the good state to the bad one.
    pub good_to_bad: Probability,
    /// Chance per packet to go back.
    pub bad_to_good: Probability,
    /// Loss in the good state.
    pub loss_good: Probability,
    /// Loss in the bad state.
    pub loss_bad: Probability,
}

impl GilbertElliott {
    /// The simple Gilbert model, which loses everything in the bad state and
    /// nothing in the good one, from the two figures people measure: the share
    /// of packets lost, and how many are lost in a row on average.
    ///
    /// # Errors
    /// [`SpecError::Bursts`] if no such model exists: a mean burst below one
    /// packet, a loss of 1, or bursts so short that the good state would be left
    /// more than once per packet.
    pub fn from_bursts(loss: Probability, burst_packets_mean: f64) -> Result<Self, SpecError> {
        let share = loss.fraction();
        let impossible = SpecError::Bursts {
            loss: share,
            burst_packets_mean,
        };
        if !(burst_packets_mean >= 1.0 && share < 1.0) {
            return Err(impossible);
        }
        let bad_to_good = 1.0 / burst_packets_mean;
        let Ok(good_to_bad) = Probability::new(bad_to_good * share / (1.0 - share)) else {
            return Err(impossible);
        };
        Ok(Self {
            good_to_bad,
            bad_to_good: Probability::new(bad_to_good)?,
            loss_good: Probability::NEVER,
            loss_bad: Probability::ALWAYS,
        })
    }

    /// The share of packets lost in the long run, in `0.0..=1.0`.
    pub fn loss_mean(&self) -> f64 {
        let (enter, leave) = (self.good_to_bad.fraction(), self.bad_to_good.fraction());
        if enter + leave == 0.0 {
            // Never leaves the state it starts in.
            return self.loss_good.fraction();
        }
        (self.loss_good.fraction() * leave + self.loss_bad.fraction() * enter) / (enter + leave)
    }
}

/// Packets that arrive later than their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// How likely a packet is held back.
    pub probability: Probability,
    /// For how long; packets sent within that time overtake it.
    pub hold: Duration,
}

/// A transmitter of limited rate and the drop-tail queue in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// How fast packets leave.
    pub rate: Rate,
    /// Most bytes that wait, the packet being sent included. An idle
    /// transmitter takes a packet of any size.
    pub queue_bytes_max: u64,
}

/// A rate in bits per second; never zero (to stop a link, cut it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// A rate in bits per second.
    ///
    /// # Errors
    /// [`SpecError::RateZero`] for zero.
    pub fn from_bits_per_second(bits: u64) -> Result<Self, SpecError> {
        NonZeroU64::new(bits).map(Self).ok_or(SpecError::RateZero)
    }

    /// Bits per second.
    pub fn bits_per_second(self) -> u64 {
        self.0.get()
    }

    /// How long `bytes` take, rounded up to a nanosecond so that the rate is
    /// never exceeded.
    pub fn time_to_send(self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 8 * 1_000_000_000).div_ceil(u128::from(self.0.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A figure that describes no link.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SpecError {
    /// Outside `0.0..=1.0`.
    #[error("a probability lies between 0 and 1, not at {fraction}")]
    Probability {
        /// What was given.
        fraction: f64,
    },
    /// No two-state model has these figures.
    #[error("no loss of {loss} comes in bursts of {burst_packets_mean} packets on average")]
    Bursts {
        /// The share asked for.
        loss: f64,
        /// The mean burst asked for.
        burst_packets_mean: f64,
    },
    /// A link of rate zero.
    #[error("a rate of 0 bit/s sends nothing; cut the link instead")]
    RateZero,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_the_loss_that_was_asked_for() {
        for (loss, burst) in [(0.01, 4.0), (0.1, 1.5), (0.3, 20.0), (0.0, 1.0)] {
            let model =
                GilbertElliott::from_bursts(Probability::new(loss).unwrap(), burst).unwrap();
            assert!((model.loss_mean() - loss).abs() < 1e-9, "{model:?}");
        }
    }

    #[test]
    fn impossible_bursts_are_refused() {
        for (loss, burst) in [(0.01, 0.9), (1.0, 3.0), (0.9, 2.0), (0.1, f64::NAN)] {
            let model = GilbertElliott::from_bursts(Probability::new(loss).unwrap(), burst);
            assert!(
                matches!(model, Err(SpecError::Bursts { .. })),
                "{loss} {burst}"
            );
        }
    }

    #[test]
    fn sending_takes_bits_over_rate_rounded_up() {
        let time = |bits, bytes| {
            Rate::from_bits_per_second(bits)
                .unwrap()
                .time_to_send(bytes)
        };
        assert_eq!(time(8_000_000, 1_000), Duration::from_millis(1));
        assert_eq!(time(3_000_000_000, 1), Duration::from_nanos(3));
        assert_eq!(time(1, u64::MAX), Duration::from_nanos(u64::MAX));
        assert_eq!(Rate::from_bits_per_second(0), Err(SpecError::RateZero));
    }
}
