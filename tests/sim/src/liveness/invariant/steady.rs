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
    /// Observer, its run, endpoint, and since when the endpoint is free: what was seen before it was
    /// last cut off is no claim.
    listed: BTreeSet<(usize, u8, EndpointId, u64)>,
    /// Of those shown ready, since when the endpoint is free and says what it says: who has not
    /// heard its newest word shows what the one before it said.
    ready: BTreeSet<(usize, u8, EndpointId, u64)>,
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
                let shown = observer.endpoints().iter().find(|e| e.id == process.id);
                let is_ready = shown.is_some_and(|e| e.health == Health::Ready);
                let key = |since| (observer.number, observer.run, process.id, since);
                let listed = key(process.free_since);
                let ready = key(process.free_since.max(process.changed));
                self.checked += usize::from(self.ready.contains(&ready));
                let less = self.listed.contains(&listed) && shown.is_none();
                let worse = self.ready.contains(&ready) && process.health == Health::Ready;
                if less || (worse && !is_ready) {
                    return Err(format!(
                        "{} of {} lives and was never cut off, {} shows {shown:?}",
                        process.id, sidecar.cluster, observer.name
                    ));
                }
                // What is shown to who has heard nothing since is doubt that is held back.
                let since = plane.unbroken_since(at, process, observer.number);
                if is_ready && since.is_some_and(|since| since + ON_ITS_WAY < plane.step) {
                    self.listed.insert(listed);
                    self.ready.insert(ready);
                }
            }
        }
        Ok(())
    }
}
