//! Replaces the zones that are served, never by older ones.

use std::sync::Arc;

use arc_swap::ArcSwap;
use weft_plan::dns::{Generation, Zones};

/// Where listeners take their zones from.
pub type ZonesSource = Arc<ArcSwap<Zones>>;

/// What became of zones handed to [`publish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// They are served from now on.
    Served,
    /// They are older than those served, which stay.
    Older {
        /// What is served.
        served: Generation,
    },
}

/// Serves `zones` from now on, unless they are older than what is served.
///
/// Safe from several threads: whichever order they come in, no answer goes back.
pub fn publish(source: &ZonesSource, zones: Arc<Zones>) -> Published {
    let mut served = source.load_full();
    loop {
        if !zones.generation().may_follow(served.generation()) {
            return Published::Older {
                served: served.generation(),
            };
        }
        let before = source.compare_and_swap(&served, Arc::clone(&zones));
        if Arc::ptr_eq(&before, &served) {
            return Published::Served;
        }
        served = Arc::clone(&before);
    }
}
