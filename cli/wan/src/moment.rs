//! A point in emulated time.

use std::ops::Add;
use std::time::Duration;

/// Monotonic time since the emulation began. Whoever drives the engine decides
/// what it means: a runtime's clock, or a simulator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The beginning of the emulation.
    pub const START: Self = Self(Duration::ZERO);

    /// The moment `elapsed` after the beginning.
    pub const fn after(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Time passed since the beginning.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` is in fact later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates at the end of time instead of panicking: specs come from users.
    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }
}
