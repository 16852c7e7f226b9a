//! Where a request would have gone by the records of a moment alone.

use std::time::Duration;

use weft_decide::{Backend, ServiceTable};
use weft_model::Federation;
use weft_plan::catalog::CatalogView;

use super::lanes::Possible;
use crate::hub::Hub;
use crate::scene::{Reach, Scene, service_table};

/// What decides along with the records, and is in no entry of the log.
pub(super) const NOT_RECORDED: &str = "by the records alone: endpoints, paths, clamps, and services that registration alone made are not recorded";

/// The table as the records of a state alone make it: without endpoints, paths and clamps.
pub(super) fn table(hub: &Hub, state: &Federation) -> ServiceTable {
    let scene = Scene {
        federation: state,
        catalog: &CatalogView::empty(hub.cluster().clone()),
        reach: &Reach::default(),
        silence: Duration::ZERO,
        clamps: &[],
        place: &hub.place(),
    };
    service_table(&scene, None)
}

/// What the records say of a backend without its endpoints.
pub(super) fn backend(backend: &Backend<'_>, possible: &[Possible]) -> String {
    let named = possible.iter().map(|it| &*it.named);
    let named: Vec<_> = named.filter(|named| !named.is_empty()).collect();
    let versions = match named.is_empty() {
        true => String::new(),
        false => format!(", {}", named.join(", ")),
    };
    let (key, port) = (backend.service.key(), backend.port.port.port);
    format!("{key} port {port}{versions}: its endpoints of then are not recorded")
}
