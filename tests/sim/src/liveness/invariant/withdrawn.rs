//! What its owner ended does not come back.

use std::collections::BTreeSet;

use weft_model::EndpointId;

use super::super::plane::Plane;

#[derive(Debug, Default)]
pub(crate) struct Withdrawn {
    /// By their owners.
    ended: BTreeSet<EndpointId>,
    /// Observer, its run, endpoint: it was there, and is not any more.
    gone: BTreeSet<(usize, u8, EndpointId)>,
    there: BTreeSet<(usize, u8, EndpointId)>,
}

impl Withdrawn {
    pub(crate) fn note(&mut self, id: EndpointId) {
        self.ended.insert(id);
    }

    pub(crate) fn check(&mut self, plane: &Plane) -> Result<(), String> {
        for observer in plane.gateways.iter().filter(|g| g.catalog.is_some()) {
            let shown: BTreeSet<EndpointId> = observer.endpoints().iter().map(|e| e.id).collect();
            for id in &self.ended {
                let key = (observer.number, observer.run, *id);
                match shown.contains(id) {
                    true if self.gone.contains(&key) => {
                        return Err(format!(
                            "{id} was withdrawn, {} shows it again",
                            observer.name
                        ));
                    }
                    true => {
                        self.there.insert(key);
                    }
                    false if self.there.contains(&key) => {
                        self.gone.insert(key);
                    }
                    false => {}
                }
            }
        }
        Ok(())
    }

    /// How many were seen to go.
    pub(crate) fn count(&self) -> usize {
        self.gone.len()
    }
}
