//! Releases: how they stand, what they would do, and the one thing that a gateway does alone.

mod explain;
mod show;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tonic::Status;
use weft_model::{
    Clamp, ClampId, ClusterName, Federation, Health, Namespace, ReleaseRecord, ReleaseSpec,
    ServiceKey, ServiceName, UserName, Version, code,
};
use weft_plan::release::{self, ABORTED, CallerPlace, Serving};

use super::history::Past;
use super::status::freshness;
use super::view::{ClampView, Freshness, ListView, ReleasePlanView, ReleaseView};
use crate::api::refusal;
use crate::clamps::ClampError;
use crate::hub::Hub;
use crate::observe::collect;

pub(super) use explain::{explain, who};
use show::{clamp_view, findings, plan_places, view};

/// Which release is meant.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    /// Its name.
    name: ServiceName,
    /// Its namespace; without one the name must be unique.
    #[serde(default)]
    namespace: Option<Namespace>,
    /// A cluster or region of callers.
    #[serde(default)]
    from: Option<String>,
    /// What tells a client apart.
    #[serde(default)]
    client: Option<String>,
    /// How far back its traffic is asked for; left out: not at all, which needs no other gateway.
    #[serde(default)]
    window_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct AskedSpec {
    release: ServiceKey,
    spec: ReleaseSpec,
}

/// Releases of a namespace, or all.
pub(super) fn list(
    hub: &Hub,
    arguments: &Value,
    past: Option<&Federation>,
) -> ListView<ReleaseView> {
    let now = hub.registry().state();
    let state = past.unwrap_or(&now);
    let shown = |key: &ServiceKey, record: &ReleaseRecord| match past {
        Some(state) => show::past(hub, state, key, record),
        None => view(hub, state, key, record),
    };
    let namespace = arguments.get("namespace").and_then(Value::as_str);
    let wanted = |key: &ServiceKey| namespace.is_none_or(|it| it == key.namespace.as_str());
    let releases = state.releases().filter(|(key, _)| wanted(key));
    ListView {
        api_version: "weft.dev/v1".into(),
        freshness: Freshness {
            applied_index: state.applied().0,
            ..freshness(hub)
        },
        items: releases.map(|(key, record)| shown(key, record)).collect(),
    }
}

/// Those under way, and those that a clamp lowers.
pub(super) fn under_way(hub: &Hub) -> Vec<ReleaseView> {
    let mut releases = list(hub, &Value::Null, None).items;
    releases.retain(|release| release.under_way || !release.clamps.is_empty());
    releases
}

/// One release as it stood.
pub(super) fn one(hub: &Hub, arguments: &Value, past: &Past) -> Result<ReleaseView, Status> {
    let (key, record) = named(&past.state, &asked(arguments)?)?;
    Ok(ReleaseView {
        as_of: Some(past.view()),
        ..show::past(hub, &past.state, &key, &record)
    })
}

/// One release, with what its versions did if that is asked for.
pub(super) async fn with_traffic(hub: &Hub, arguments: &Value) -> Result<ReleaseView, Status> {
    let asked = asked(arguments)?;
    let (_, record) = named(&hub.registry().state(), &asked)?;
    let collected = match asked.window_ms {
        Some(window) => {
            let window = Duration::from_millis(window);
            let span = release::figures_span(&record, hub.now(), window);
            Some((span, collect(hub, span).await))
        }
        None => None,
    };
    // The others had time to answer: the release is looked at after that.
    let state = hub.registry().state();
    let (key, record) = named(&state, &asked)?;
    let traffic = collected
        .map(|(span, collected)| traffic::view(hub, &state, (&key, &record), span, &collected));
    Ok(ReleaseView {
        traffic,
        ..view(hub, &state, &key, &record)
    })
}

/// What starting a release would do.
pub(super) fn plan(hub: &Hub, arguments: &Value) -> Result<ReleasePlanView, Status> {
    let AskedSpec { release, spec } = read(arguments)?;
    let state = hub.registry().state();
    let service = spec.key(&release.namespace);
    let known = state.service(&service);
    let ports = known
        .map(|service| service.ports.clone())
        .unwrap_or_default();
    let serving = serving(hub, &service);
    let forecast = release::forecast(&spec, places(&state), &serving, &ports);
    let same = state.release(&release);
    let other = state
        .release_for(&service)
        .filter(|(key, _)| **key != release);
    Ok(ReleasePlanView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        name: release.to_string(),
        service: service.to_string(),
        places: plan_places(hub, &forecast),
        findings: findings(hub, &forecast),
        same: same.map(|record| view(hub, &state, &release, record)),
        same_spec: same.and_then(|record| serde_json::to_value(&record.spec).ok()),
        other: other.map(|(key, record)| view(hub, &state, key, record)),
    })
}

/// Lowers the release to nothing for the callers of this gateway's region, without the log.
pub(super) async fn clamp(
    hub: &Hub,
    user: UserName,
    arguments: &Value,
) -> Result<ClampView, Status> {
    let asked = asked(arguments)?;
    let own = &hub.config().region;
    let region = asked.from.as_deref().unwrap_or_default();
    if region != own.as_str() {
        let what = format!(
            "{}/{} is in {own}, not in {region:?}",
            hub.cluster(),
            hub.gateway()
        );
        return Err(refusal(code::CLAMP_REGION, what));
    }
    let state = hub.registry().state();
    let (key, record) = named(&state, &asked)?;
    if let Some(since) = record.superseded {
        let what = format!("release {key} is history since index {since}: it decides nothing");
        return Err(refusal(code::RELEASE_SUPERSEDED, what));
    }
    let clamp = Clamp {
        id: ClampId(rand::random()),
        release: key,
        run: record.created,
        region: own.clone(),
        cluster: hub.cluster().clone(),
        gateway: hub.gateway().clone(),
        weight: ABORTED,
        made: hub.now(),
        by: user,
    };
    let made = hub.clamp_keeper().make(clamp, &state).await;
    let made = made.map_err(|error| match &error {
        ClampError::Refused(_) => refusal(code::CLAMPS_FULL, error.to_string()),
        ClampError::Unkept { source, .. } => {
            tracing::warn!(%error, why = %source, "clamped");
            let (cluster, gateway) = (hub.cluster(), hub.gateway());
            let what = format!(
                "callers in {own} meet the canary no more, but {cluster}/{gateway} would forget that \
                 in a restart: {error} ({source})"
            );
            refusal(code::CLAMP_NOT_KEPT, what)
        }
    })?;
    tracing::warn!(release = %made.release, region = %made.region, by = %made.by, id = %made.id, "clamped");
    Ok(clamp_view(&made))
}

fn asked(arguments: &Value) -> Result<Asked, Status> {
    read(arguments)
}

fn read<T: serde::de::DeserializeOwned>(arguments: &Value) -> Result<T, Status> {
    serde_json::from_value(arguments.clone())
        .map_err(|error| refusal(code::USAGE, error.to_string()))
}

fn named(state: &Federation, asked: &Asked) -> Result<(ServiceKey, Arc<ReleaseRecord>), Status> {
    let is_meant = |key: &ServiceKey| {
        let namespace = asked.namespace.as_ref();
        key.name == asked.name && namespace.is_none_or(|it| *it == key.namespace)
    };
    let mut found: Vec<_> = state.releases().filter(|(key, _)| is_meant(key)).collect();
    match (found.pop(), found.is_empty()) {
        (Some((key, record)), true) => Ok((key.clone(), Arc::clone(record))),
        (Some((last, _)), false) => {
            let names = found.iter().map(|(key, _)| *key).chain([last]);
            let names: Vec<String> = names.map(ToString::to_string).collect();
            let what = format!("{} could be {}: give -n", asked.name, names.join(" or "));
            Err(refusal(code::USAGE, what))
        }
        (None, _) => {
            let what = format!("there is no release {}", asked.name);
            Err(refusal(code::RELEASE_UNKNOWN, what))
        }
    }
}

/// The clusters of the federation, with their regions.
fn places(state: &Federation) -> Vec<CallerPlace> {
    let clusters = state.clusters();
    let places = clusters.map(|(cluster, member)| CallerPlace {
        cluster: cluster.clone(),
        region: member.spec.region.clone(),
    });
    places.collect()
}

/// The clusters that a cluster's or region's name stands for.
fn callers(state: &Federation, from: &str) -> Result<Vec<CallerPlace>, Status> {
    let meant =
        |place: &CallerPlace| place.cluster.as_str() == from || place.region.as_str() == from;
    let callers: Vec<CallerPlace> = places(state).into_iter().filter(meant).collect();
    match callers.is_empty() {
        true => Err(refusal(
            code::USAGE,
            format!("there is no cluster or region {from:?}"),
        )),
        false => Ok(callers),
    }
}

/// The clamps for a release, those that no longer count too.
fn clamps(hub: &Hub, key: &ServiceKey) -> Vec<Clamp> {
    hub.clamp_keeper().known().of(key).cloned().collect()
}

/// What serves a service now, as this gateway knows.
fn serving(hub: &Hub, service: &ServiceKey) -> Vec<Serving> {
    let catalog = hub.catalog();
    let endpoints = catalog.service(service).map(|known| &known.endpoints[..]);
    let mut counts: BTreeMap<(ClusterName, Option<Version>), (u32, u32)> = BTreeMap::new();
    for endpoint in endpoints.unwrap_or_default() {
        let at = (endpoint.cluster.clone(), endpoint.version.clone());
        let (ready, total) = counts.entry(at).or_default();
        *ready += u32::from(endpoint.health == Health::Ready);
        *total += 1;
    }
    let serving = counts.into_iter();
    serving
        .map(|((cluster, version), (ready, total))| Serving {
            cluster,
            version,
            ready,
            total,
        })
        .collect()
}
