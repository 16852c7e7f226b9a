//! What the catalog wants an operator to know.

use weft_model::{ClusterName, ServiceKey};

/// Something an operator should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// Too many endpoints of a service vanished at once without their owners' word: held.
    ShrinkHeld {
        /// Whose.
        cluster: ClusterName,
        /// The service.
        service: ServiceKey,
        /// How many nobody attests.
        doubted: usize,
        /// Of how many.
        total: usize,
    },
    /// It is over: they came back, were withdrawn, or their absence was confirmed by time.
    ShrinkSettled {
        /// Whose.
        cluster: ClusterName,
        /// The service.
        service: ServiceKey,
    },
}
