//! Without faults all gateways come to see the same: what lives, as it says of itself, and the
//! same weights.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{EndpointId, Health};

use super::super::plane::Plane;
use super::super::release::key;
use super::weight::effective;

/// What still lacks; none once all agree.
pub(crate) fn lack(plane: &Plane) -> Option<String> {
    let living: BTreeSet<(EndpointId, u64, Health)> = plane
        .sidecars
        .iter()
        .filter_map(|sidecar| sidecar.process.as_ref())
        .map(|process| (process.id, process.sequence, process.health))
        .collect();
    let mut weights = BTreeMap::new();
    let mut hashes = BTreeSet::new();
    for gateway in plane.gateways.iter().filter(|gateway| gateway.member) {
        let name = &gateway.name;
        let shown: BTreeSet<_> = gateway
            .endpoints()
            .iter()
            .map(|e| (e.id, e.sequence, e.health))
            .collect();
        if shown != living {
            let more: Vec<_> = shown.difference(&living).collect();
            let less: Vec<_> = living.difference(&shown).collect();
            return Some(format!(
                "{name} to see what lives: it has {more:?} and misses {less:?}"
            ));
        }
        hashes.insert(gateway.view.as_ref().map(|view| view.hash().0));
        let Some(record) = gateway.federation.release(&key()) else {
            return Some(format!("the release at {name}"));
        };
        let weight = effective(gateway, record, gateway.clamps.of(&key()));
        let known = *weights.entry(gateway.region).or_insert(weight);
        if known != weight {
            return Some(format!(
                "one weight in {}: {known:?} and {weight:?}",
                gateway.region
            ));
        }
    }
    (hashes.len() != 1).then(|| format!("one hash of what is seen, there are {hashes:?}"))
}
