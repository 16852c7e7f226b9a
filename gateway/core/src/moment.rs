//! Monotonic time as an argument.

use std::time::Duration;

/// Time since some start that the shell chose; never goes back.
///
/// Not wall-clock time: it measures and expires within one process and is
/// never compared between two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// This moment and `span` more; stops at the end of the range.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long ago `earlier` was; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
