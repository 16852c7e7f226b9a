//! What a release's versions did, as callers' sidecars reported it.

use std::time::Duration;

use weft_model::{Federation, ReleaseRecord, ServiceKey};
use weft_plan::release;

use super::super::observe;
use super::super::view::{PlaceTrafficView, ReleaseTrafficView};
use super::{clamps, places};
use crate::hub::Hub;
use crate::observe::Collected;

/// Place by place, of the last `span`; of no time at all there are no figures.
pub(super) fn view(
    hub: &Hub,
    state: &Federation,
    (key, record): (&ServiceKey, &ReleaseRecord),
    span: Duration,
    collected: &Collected,
) -> ReleaseTrafficView {
    let rows = release::report(key, record, places(state), &clamps(hub, key)).rows;
    let figures = release::figures(
        &record.spec,
        &record.spec.key(&key.namespace),
        &rows,
        &collected.heard,
        &collected.regions,
    );
    let known = if span.is_zero() { 0 } else { rows.len() };
    let places = rows.iter().zip(&figures).take(known);
    let places = places.map(|(row, figures)| PlaceTrafficView {
        wave: row.wave.as_ref().map(ToString::to_string),
        region: row.region.to_string(),
        canary: observe::sum(&figures.canary),
        stable: observe::sum(&figures.stable),
    });
    ReleaseTrafficView {
        window_ms: u64::try_from(span.as_millis()).unwrap_or(u64::MAX),
        observed: observe::view(hub, collected, places),
    }
}
