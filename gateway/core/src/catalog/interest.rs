//! Which services' endpoints somebody wants.

use std::collections::BTreeSet;

use weft_model::ServiceKey;

/// The services whose endpoints a sidecar, or another cluster's gateway, wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// All that it may see.
    Everything,
    /// The named ones.
    Services(BTreeSet<ServiceKey>),
}

impl Default for Interest {
    fn default() -> Self {
        Self::Services(BTreeSet::new())
    }
}

impl Interest {
    /// Whether it covers `service`.
    pub fn covers(&self, service: &ServiceKey) -> bool {
        match self {
            Self::Everything => true,
            Self::Services(named) => named.contains(service),
        }
    }

    /// Wants what `other` wants as well.
    pub fn widen(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Everything, _) => {}
            (_, Self::Everything) => *self = Self::Everything,
            (Self::Services(mine), Self::Services(theirs)) => mine.extend(theirs.iter().cloned()),
        }
    }
}
