//! The filters of a live tap, over events that were written before.

use weft_gateway::admin::view::TapEventView;
use weft_model::{ClusterName, ServiceKey, TapFilter, TapSubject, code};

use super::Tap;
use crate::problem::Problem;

/// What `weft tap` was asked for, as one reads a file by it.
pub(super) struct Filter<'a> {
    asked: &'a Tap,
    core: TapFilter,
}

impl<'a> Filter<'a> {
    pub(super) fn of(asked: &'a Tap) -> Result<Self, Problem> {
        let service = asked.service.as_ref().map(|named| {
            named.parse::<ServiceKey>().map_err(|error| {
                let what = format!("{named:?} is not NAMESPACE/NAME: {error}");
                Problem::new(code::USAGE, what)
            })
        });
        Ok(Self {
            core: TapFilter {
                service: service.transpose()?,
                clusters: None,
                status: asked.status,
                method: asked.method.clone(),
                path: asked.path.clone(),
            },
            asked,
        })
    }

    /// Whether the live tap would have shown it. Regions are those of the time it was seen.
    pub(super) fn admits(&self, event: &TapEventView) -> bool {
        let service = event.service.as_deref().and_then(|key| key.parse().ok());
        let cluster = event.destination_cluster.as_deref();
        let cluster = cluster.and_then(|name| ClusterName::new(name).ok());
        let subject = TapSubject {
            service: service.as_ref(),
            cluster: cluster.as_ref(),
            status: event.status,
            method: &event.method,
            path: &event.path,
        };
        let is_at = |wanted: &Option<String>, cluster: Option<&str>, region: Option<&str>| {
            let wanted = wanted.as_deref();
            wanted.is_none() || wanted == cluster || wanted == region
        };
        let (cluster, region) = (
            event.destination_cluster.as_deref(),
            event.destination_region.as_deref(),
        );
        self.core.matches(&subject)
            && is_at(&self.asked.to, cluster, region)
            && is_at(&self.asked.region, cluster, region)
            && is_at(
                &self.asked.from,
                Some(&event.source_cluster),
                Some(&event.source_region),
            )
    }
}
