//! Answers from what was observed: who calls whom, how often, how well.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tonic::Status;
use weft_model::{Carried, ClusterName, ServiceKey, SpiffeId, SpiffePath, code};
use weft_plan::traffic::{self, EdgeSum, Heard, RegionSum, ServiceSum, Sum, VersionSum};

use super::status::freshness;
use super::view::{
    EdgeView, HeardView, ObservedView, RegionTrafficView, ServiceTrafficView, SilentView, SumView,
    VersionTrafficView,
};
use crate::api::refusal;
use crate::hub::Hub;
use crate::observe::{Collected, collect};

/// What is asked of the windows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    /// The service whose versions are asked for.
    #[serde(default)]
    service: Option<String>,
    /// A cluster or region of the callers.
    #[serde(default)]
    from: Option<String>,
    /// How far back.
    window_ms: u64,
}

/// Sums by service.
pub(super) async fn services(
    hub: &Hub,
    arguments: &Value,
) -> Result<ObservedView<ServiceTrafficView>, Status> {
    let collected = gather(hub, arguments).await?;
    let sums = traffic::services(&collected.heard, &collected.regions);
    Ok(view(hub, &collected, sums.into_iter().map(service)))
}

/// Sums by region.
pub(super) async fn regions(
    hub: &Hub,
    arguments: &Value,
) -> Result<ObservedView<RegionTrafficView>, Status> {
    let collected = gather(hub, arguments).await?;
    let sums = traffic::regions(&collected.heard, &collected.regions);
    Ok(view(hub, &collected, sums.into_iter().map(region)))
}

/// Sums by caller and service.
pub(super) async fn edges(hub: &Hub, arguments: &Value) -> Result<ObservedView<EdgeView>, Status> {
    let collected = gather(hub, arguments).await?;
    let sums = traffic::edges(&collected.heard, &collected.regions);
    Ok(view(hub, &collected, sums.into_iter().map(edge)))
}

/// Sums by version of one service.
pub(super) async fn versions(
    hub: &Hub,
    arguments: &Value,
) -> Result<ObservedView<VersionTrafficView>, Status> {
    let named = asked(arguments)?.service.unwrap_or_default();
    let service: ServiceKey = named.parse().map_err(|error| {
        refusal(
            code::USAGE,
            format!("{named:?} is not namespace/name: {error}"),
        )
    })?;
    let collected = gather(hub, arguments).await?;
    let sums = collected.versions(&service);
    Ok(view(hub, &collected, sums.into_iter().map(version)))
}

fn asked(arguments: &Value) -> Result<Asked, Status> {
    serde_json::from_value(arguments.clone())
        .map_err(|error| refusal(code::USAGE, error.to_string()))
}

/// The windows of those clusters that are asked about.
async fn gather(hub: &Hub, arguments: &Value) -> Result<Collected, Status> {
    let asked = asked(arguments)?;
    let mut collected = collect(hub, Duration::from_millis(asked.window_ms)).await;
    if let Some(from) = asked.from {
        let is_meant = |cluster: &str, region: &str| from == cluster || from == region;
        let mut known = collected.regions.iter();
        if !known.any(|(cluster, region)| is_meant(cluster.as_str(), region.as_str())) {
            let what = format!("there is no cluster or region {from:?}");
            return Err(refusal(code::NO_SUCH_PLACE, what));
        }
        let regions = &collected.regions;
        let stays = |cluster: &ClusterName| {
            regions
                .get(cluster)
                .is_some_and(|region| is_meant(cluster.as_str(), region.as_str()))
        };
        collected.heard.retain(|heard| stays(&heard.cluster));
        collected.silent.retain(|silent| stays(&silent.cluster));
    }
    Ok(collected)
}

/// The answer with these rows, and with who told them.
pub(super) fn view<T>(
    hub: &Hub,
    collected: &Collected,
    items: impl Iterator<Item = T>,
) -> ObservedView<T> {
    let heard = collected.heard.iter().map(|heard: &Heard| HeardView {
        cluster: heard.cluster.to_string(),
        gateway: heard.gateway.to_string(),
        covered_ms: millis(heard.window.covered),
        age_ms: heard.window.age.map(millis),
    });
    let silent = collected.silent.iter().map(|silent| SilentView {
        cluster: silent.cluster.to_string(),
        gateway: silent.gateway.to_string(),
        why: silent.why.clone(),
    });
    let left_out = collected.heard.iter().map(|heard| heard.window.left_out);
    ObservedView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        heard: heard.collect(),
        silent: silent.collect(),
        left_out: left_out.fold(0, u64::saturating_add),
        items: items.collect(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A sum as it is shown.
pub(super) fn sum(sum: &Sum) -> SumView {
    let quantile = |q| {
        let time = sum.latencies.quantile(q);
        time.map(|time| time.as_micros() as f64 / 1000.0)
    };
    SumView {
        requests: sum.requests,
        rps: sum.rate,
        failures: sum.failures,
        unanswered: sum.unanswered,
        success: sum.success(),
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
        local: sum.local_share(),
        rerouted: sum.rerouted_share(),
    }
}

fn service(row: ServiceSum) -> ServiceTrafficView {
    ServiceTrafficView {
        service: row.service.to_string(),
        carried: match row.carried {
            Carried::Request => "request",
            Carried::Connection => "connection",
        }
        .into(),
        region: row.from.to_string(),
        sum: sum(&row.sum),
    }
}

fn region(row: RegionSum) -> RegionTrafficView {
    RegionTrafficView {
        from: row.from.to_string(),
        to: row.to.map(|region| region.to_string()),
        sum: sum(&row.sum),
    }
}

fn version(row: VersionSum) -> VersionTrafficView {
    VersionTrafficView {
        region: row.from.to_string(),
        cluster: row.cluster.to_string(),
        version: row.version.map(|version| version.to_string()),
        sum: sum(&row.sum),
    }
}

fn edge(row: EdgeSum) -> EdgeView {
    let (source, source_namespace) = named(&row.source);
    let no_tls_reason = no_tls(&row.source, &row.destination);
    EdgeView {
        source,
        source_namespace,
        source_identity: row.source.to_string(),
        source_cluster: row.from.to_string(),
        destination: row.service.name.to_string(),
        destination_namespace: row.service.namespace.to_string(),
        destination_identity: row.destination.to_string(),
        destination_cluster: row.to.to_string(),
        secured: no_tls_reason.is_none(),
        no_tls_reason,
        path: match row.from == row.to {
            true => "direct".into(),
            false => format!("{} → {}", row.from, row.to),
        },
        sum: sum(&row.sum),
    }
}

/// What a caller is called, and its namespace.
fn named(id: &SpiffeId) -> (String, Option<String>) {
    match &id.path {
        SpiffePath::Workload { namespace, account } => {
            (account.to_string(), Some(namespace.to_string()))
        }
        SpiffePath::Gateway(gateway) => (format!("gateway {gateway}"), None),
        _ => (id.to_string(), None),
    }
}

/// Why part of the way is not encrypted: between two sidecars all of it is.
fn no_tls(source: &SpiffeId, destination: &SpiffeId) -> Option<String> {
    let client = match &source.path {
        SpiffePath::Workload { .. } => None,
        _ => Some(format!(
            "the client has no sidecar and reaches {} in the clear",
            named(source).0
        )),
    };
    let server = match &destination.path {
        SpiffePath::StandIn { gateway, .. } => Some(format!(
            "the server has no sidecar and is reached by gateway {gateway} in the clear"
        )),
        _ => None,
    };
    match (client, server) {
        (None, None) => None,
        (Some(client), Some(server)) => Some(format!("{client}; {server}")),
        (one, other) => one.or(other),
    }
}
