//! Monotonic time as an argument.

use std::time::Duration;

/// Time since some start that the shell chose; never goes back.
///
/// Not wall-clock time: use it to measure and to expire within one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(Duration);

impl Tick {
    /// The moment `elapsed` after the start.
    pub fn at(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// This moment and `span` more; stops at the end of the range.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long ago `earlier` was; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
