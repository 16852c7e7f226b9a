//! Gateways that restart, and streams between gateways that break, take nothing away: who heard of an
//! endpoint and shows it ready goes on to, as long as it lives and reaches whatever gateways of its cluster run.
//! A gateway that has just started would otherwise attest to the absence of those that had no
//! time yet to come back.

use std::collections::BTreeSet;

use weft_model::{EndpointId, Health};

use super::super::gateway::Gateway;
use super::super::plane::Plane;
use super::kept::ON_ITS_WAY;

/// Steps for which the way to its gateways must have been free: the longest session grace,
/// pause and patience that an earlier cut can still have consequences after.
const FREE: u64 = 4 * 60;

#[derive(Debug, Default)]
pub(crate) struct Steady {
    /// Observer, its run, endpoint, and since when the endpoint is free and says what it says: what
    /// was seen before it was last cut off, or of an earlier word, is no claim.
    seen: BTreeSet<(usize, u8, EndpointId, u64)>,
    /// How often there was something to check.
    pub(crate) checked: usize,
}

impl Steady {
    pub(crate) fn check(&mut self, plane: &Plane) -> Result<(), String> {
        for (at, sidecar) in plane.sidecars.iter().enumerate() {
            let Some(process) = &sidecar.process else {
                continue;
            };
            let free = plane.is_free(at) && process.free_since + FREE < plane.step;
            if !free || process.changed + FREE >= plane.step {
                continue;
            }
            let knows = |g: &&Gateway| g.catalog.is_some() && plane.knows(g, sidecar.cluster);
            for observer in plane.gateways.iter().filter(knows) {
                let shown = observer.endpoints();
                let ready = |e: &&std::sync::Arc<weft_model::Endpoint>| {
                    e.id == process.id && e.health == Health::Ready
                };
                let key = (
                    observer.number,
                    observer.run,
                    process.id,
                    process.free_since.max(process.changed),
                );
                self.checked += usize::from(self.seen.contains(&key));
                if shown.iter().any(|e| ready(&e)) {
                    // What is shown to who has heard nothing since is doubt that is held back.
                    let since = plane.unbroken_since(at, process, observer.number);
                    if since.is_some_and(|since| since + ON_ITS_WAY < plane.step) {
                        self.seen.insert(key);
                    }
                } else if process.health == Health::Ready && self.seen.contains(&key) {
                    return Err(format!(
                        "{} of {} lives and was never cut off, {} shows it no longer",
                        process.id, sidecar.cluster, observer.name
                    ));
                }
            }
        }
        Ok(())
    }
}
