//! Releases as they are shown.

use weft_model::{
    Clamp, ClusterName, Federation, ReleaseRecord, ReleaseSpec, ServiceKey, Stage, code,
};
use weft_plan::catalog::Freshness as Heard;
use weft_plan::release::{self, Finding, Forecast, PlaceRow, RowState};

use super::super::status::{freshness, problem};
use super::super::view::{
    ClampView, PlanPlaceView, ProblemView, ReleaseChangeView, ReleasePlaceView, ReleaseView,
    StageView,
};
use super::{clamps, places};
use crate::hub::Hub;

/// How long ago the last gateway of any of `clusters` was heard; none if one is heard now.
fn unseen(hub: &Hub, clusters: &[ClusterName]) -> Option<u64> {
    let (catalog, now) = (hub.catalog(), hub.catalog_handle().now());
    let silences = clusters.iter().map(|cluster| {
        let heard = catalog.liveness(cluster).map(|liveness| liveness.freshness);
        match heard {
            _ if cluster == hub.cluster() => None,
            Some(Heard::Live) => None,
            Some(Heard::Stale(since)) => Some(now.0.saturating_sub(since.0)),
            // Never, since this gateway started.
            None => Some(now.0),
        }
    });
    let silences: Option<Vec<_>> = silences.collect();
    let least = silences?.into_iter().min()?;
    Some(u64::try_from(least.as_millis()).unwrap_or(u64::MAX))
}

/// A release as it stood: by the log alone, since clamps and silences of that time are not known.
pub(super) fn past(
    hub: &Hub,
    state: &Federation,
    key: &ServiceKey,
    record: &ReleaseRecord,
) -> ReleaseView {
    let mut view = view_with(hub, state, key, record, Vec::new());
    view.freshness.applied_index = state.applied().0;
    for place in &mut view.places {
        place.unseen_ms = None;
    }
    view
}

/// A release as it stands, place by place.
pub(super) fn view(
    hub: &Hub,
    state: &Federation,
    key: &ServiceKey,
    record: &ReleaseRecord,
) -> ReleaseView {
    view_with(hub, state, key, record, clamps(hub, key))
}

fn view_with(
    hub: &Hub,
    state: &Federation,
    key: &ServiceKey,
    record: &ReleaseRecord,
    clamps: Vec<Clamp>,
) -> ReleaseView {
    let report = release::report(key, record, places(state), &clamps);
    let counts = clamps.iter().filter(|clamp| record.heeds(key, clamp));
    let ReleaseSpec { stable, canary, .. } = &record.spec;
    ReleaseView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        as_of: None,
        name: key.to_string(),
        service: record.spec.key(&key.namespace).to_string(),
        stable: stable.to_string(),
        canary: canary.to_string(),
        audience: audience(&record.spec),
        phase: record.phase.to_string(),
        under_way: record.phase.is_under_way(),
        run: record.created.0,
        generation: record.generation.0,
        superseded: record.superseded.map(|index| index.0),
        stage: record.stage.0,
        stages: stages(record, &report.rows),
        next: report.next.map(|Stage(next)| next),
        places: report.rows.iter().map(|row| place(hub, row)).collect(),
        clamps: counts.map(clamp_view).collect(),
        history: history(record),
        traffic: None,
    }
}

fn stages(record: &ReleaseRecord, rows: &[PlaceRow]) -> Vec<StageView> {
    let stages = record.spec.stages().map(|(stage, wave, weight)| {
        let of = || {
            rows.iter()
                .filter(|row| row.wave.as_ref() == Some(&wave.name))
        };
        StageView {
            stage: stage.0,
            wave: wave.name.to_string(),
            percent: weight.value(),
            regions: of().map(|row| row.region.to_string()).collect(),
            clusters: of()
                .flat_map(|row| row.clusters.iter().map(ToString::to_string))
                .collect(),
            cut: record.cut.contains(&wave.name),
        }
    });
    stages.collect()
}

fn place(hub: &Hub, row: &PlaceRow) -> ReleasePlaceView {
    ReleasePlaceView {
        wave: row.wave.as_ref().map(ToString::to_string),
        region: row.region.to_string(),
        clusters: row.clusters.iter().map(ToString::to_string).collect(),
        state: match row.state {
            RowState::Waiting => "waiting",
            RowState::Active => "active",
            RowState::Done => "done",
            RowState::Aborted => "aborted",
            RowState::Outside => "outside",
        }
        .into(),
        step: row.step,
        steps: row.steps,
        percent: f64::from(row.weight.value()) / 100.0,
        why: row.why.to_string(),
        unseen_ms: unseen(hub, &row.clusters),
    }
}

pub(super) fn plan_places(hub: &Hub, forecast: &Forecast) -> Vec<PlanPlaceView> {
    let places = forecast.rows.iter().map(|row| PlanPlaceView {
        wave: row.wave.as_ref().map(ToString::to_string),
        region: row.region.to_string(),
        clusters: row.clusters.iter().map(ToString::to_string).collect(),
        stages: row
            .stages
            .iter()
            .map(|(stage, weight)| (stage.0, weight.value()))
            .collect(),
        stable_ready: row.ready.stable,
        canary_ready: row.ready.canary,
        unseen_ms: unseen(hub, &row.clusters),
    });
    places.collect()
}

pub(super) fn findings(hub: &Hub, forecast: &Forecast) -> Vec<ProblemView> {
    let of_forecast = forecast.findings.iter().map(|finding| {
        let severity = if finding.is_fault() { "fail" } else { "warn" };
        let code = match finding {
            Finding::NoVersion(_) | Finding::NoStable(_) => code::RELEASE_VERSION,
            Finding::NoCanary(_) | Finding::NobodyIn(_) | Finding::Elsewhere(..) => {
                code::RELEASE_THIN
            }
            Finding::Starved(..) => code::RELEASE_STARVED,
            Finding::Opaque(_) => code::RELEASE_AUDIENCE,
        };
        problem(severity, code, finding.to_string())
    });
    let dark = forecast
        .rows
        .iter()
        .filter(|row| row.wave.is_some())
        .filter_map(|row| {
            let silence = unseen(hub, &row.clusters)? / 1000;
            let region = &row.region;
            let what = format!(
                "{region} is not visible for {silence} s: what is ready there may be otherwise"
            );
            Some(problem("warn", code::RELEASE_UNSEEN, what))
        });
    of_forecast.chain(dark).collect()
}

/// Who may meet the canary.
fn audience(spec: &ReleaseSpec) -> String {
    let who = match spec.audience.matches.len() {
        0 => "every request".to_owned(),
        1 => "requests that satisfy a condition".to_owned(),
        several => format!("requests that satisfy one of {several} conditions"),
    };
    match &spec.audience.stickiness {
        Some(sticky) => format!("{who}, a client by its header {}", sticky.name),
        None => format!("{who}, each drawn by itself"),
    }
}

pub(super) fn clamp_view(clamp: &Clamp) -> ClampView {
    ClampView {
        id: clamp.id.to_string(),
        release: clamp.release.to_string(),
        run: clamp.run.0,
        region: clamp.region.to_string(),
        percent: clamp.weight.value(),
        cluster: clamp.cluster.to_string(),
        gateway: clamp.gateway.to_string(),
        by: clamp.by.to_string(),
        made_ms: clamp.made.0,
    }
}

fn history(record: &ReleaseRecord) -> Vec<ReleaseChangeView> {
    let changes = record.history.iter().zip(release::stages_after(record));
    let views = changes.map(|(change, stage)| ReleaseChangeView {
        index: change.index.0,
        time_ms: change.time.0,
        by: change.by.to_string(),
        what: change.what.to_string(),
        stage: stage.map(|stage| stage.0),
    });
    views.collect()
}
