//! An endpoint that lives is listed, as its owner says, by every gateway that its word has an
//! unbroken way to.

use super::super::gateway::Gateway;
use super::super::plane::Plane;

/// Steps that a word may take on its way while no stream stalls: turns that one skips, and words
/// before it.
pub(super) const ON_ITS_WAY: u64 = 24;

#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// How often there was something to check.
    pub(crate) checked: usize,
}

impl Kept {
    pub(crate) fn check(&mut self, plane: &Plane) -> Result<(), String> {
        for (at, sidecar) in plane.sidecars.iter().enumerate() {
            let Some(process) = &sidecar.process else {
                continue;
            };
            let knows = |g: &&Gateway| g.catalog.is_some() && plane.knows(g, sidecar.cluster);
            for observer in plane.gateways.iter().filter(knows) {
                let since = plane.unbroken_since(at, process, observer.number);
                let ripe = since.is_some_and(|since| since + ON_ITS_WAY < plane.step);
                if !ripe || process.changed + ON_ITS_WAY >= plane.step {
                    continue;
                }
                self.checked += 1;
                let shown = observer.endpoints();
                let shown = shown.iter().find(|e| e.id == process.id);
                if shown
                    .is_none_or(|e| (e.sequence, e.health) != (process.sequence, process.health))
                {
                    return Err(format!(
                        "{} of {} lives, {} shows {shown:?}",
                        process.id, sidecar.cluster, observer.name
                    ));
                }
            }
        }
        Ok(())
    }
}
