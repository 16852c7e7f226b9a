//! A gateway that reaches no other: what it says of itself.

use std::time::Duration;

use weft_model::ClusterName;
use weft_plan::catalog::Freshness;

use crate::hub::Hub;
use crate::outlook::isolated_since;

/// Sooner than this after its start, or after the last connection closed, a gateway has had no
/// time to dial. It is isolated all the same; only its log waits.
const SETTLE: Duration = Duration::from_secs(3);

/// How long this gateway has reached no other; none if it reaches one, or there is none.
pub(crate) fn lasting(hub: &Hub) -> Option<Duration> {
    let since = isolated_since(&hub.tunnels().paths())?;
    Some(since.elapsed())
}

/// How old what is known of a cluster's endpoints is; none if it is told as it changes.
pub(crate) fn endpoints_age(hub: &Hub, cluster: &ClusterName) -> Option<Duration> {
    let view = hub.catalog();
    match view.liveness(cluster)?.freshness {
        Freshness::Live => None,
        Freshness::Stale(since) => Some(hub.catalog_handle().now().since(since)),
    }
}

/// In words, with how old what it serves is; none while it is not isolated.
pub(crate) fn told(hub: &Hub) -> Option<String> {
    let alone = lasting(hub)?;
    let applied = hub.registry().applied();
    let serves = match hub.registry().state().domain() {
        None => "it knows nothing of the federation yet, and answers nothing".to_owned(),
        Some(_) => format!(
            "it serves what it last knew, index {}, {} old",
            applied.index,
            seconds(applied.age)
        ),
    };
    Some(format!(
        "isolated: {}/{} has reached no other gateway for {}; {serves}",
        hub.cluster(),
        hub.gateway(),
        seconds(alone),
    ))
}

/// `12 s`, whole.
pub(crate) fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs())
}

/// Says in the log when it begins and when it ends.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    said: bool,
}

impl Announcer {
    /// Looks once.
    pub(crate) fn look(&mut self, hub: &Hub) {
        match lasting(hub) {
            Some(alone) if alone >= SETTLE && !self.said => {
                self.said = true;
                if let Some(told) = told(hub) {
                    tracing::warn!(code = %weft_model::code::ISOLATED, "{told}");
                }
            }
            None if self.said => {
                self.said = false;
                tracing::info!("another gateway is reached: isolated no longer");
            }
            _ => {}
        }
    }
}
