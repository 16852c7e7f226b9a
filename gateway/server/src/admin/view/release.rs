//! What `weft release` is answered with.

use serde::{Deserialize, Serialize};

use super::{Freshness, MomentView, ObservedView, ProblemView, SumView};

/// `weft release status`: a release as it stands, place by place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh.
    pub freshness: Freshness,
    /// The moment that it is shown as of, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<MomentView>,
    /// `namespace/name`.
    pub name: String,
    /// `namespace/name` of its service.
    pub service: String,
    /// The version that served.
    pub stable: String,
    /// The version that is to serve.
    pub canary: String,
    /// Who may meet the canary, in words.
    pub audience: String,
    /// `Progressing`, `Paused`, `Completed`, `Aborted` or `RolledBack`.
    pub phase: String,
    /// Whether it can still be moved on.
    pub under_way: bool,
    /// Where in the log this run began.
    pub run: u64,
    /// Where in the log it last changed.
    pub generation: u64,
    /// Where in the log a later release of the service began; this one is history then.
    pub superseded: Option<u64>,
    /// The last stage taken, from 1.
    pub stage: u16,
    /// Every stage in order.
    pub stages: Vec<StageView>,
    /// The stage that the next promotion takes; none if that completes the release, or if there
    /// is none.
    pub next: Option<u16>,
    /// Wave by wave, region by region; callers of no wave come last.
    pub places: Vec<ReleasePlaceView>,
    /// Clamps of this run that count.
    pub clamps: Vec<ClampView>,
    /// What was done, oldest first.
    pub history: Vec<ReleaseChangeView>,
    /// What its versions did, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<ReleaseTrafficView>,
}

/// What the versions of a release did of late.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseTrafficView {
    /// How far back it goes, milliseconds: as was asked for, but not to before the release. Each
    /// gateway says how far its answer goes.
    pub window_ms: u64,
    /// The places of [`ReleaseView::places`], none if the release has just begun, and who told.
    #[serde(flatten)]
    pub observed: ObservedView<PlaceTrafficView>,
}

/// What callers of one region that are in one wave met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceTrafficView {
    /// Their wave; none if no wave names them.
    pub wave: Option<String>,
    /// Their region.
    pub region: String,
    /// What the canary answered.
    pub canary: SumView,
    /// What the stable version answered.
    pub stable: SumView,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageView {
    /// Its number, from 1.
    pub stage: u16,
    /// The wave that it moves.
    pub wave: String,
    /// What it gives the canary there, percent.
    pub percent: u8,
    /// The regions of its callers.
    pub regions: Vec<String>,
    /// Their clusters.
    pub clusters: Vec<String>,
    /// Whether its wave was aborted: it is passed over.
    pub cut: bool,
}

/// Callers of one region that are in one wave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleasePlaceView {
    /// Their wave; none if no wave names them.
    pub wave: Option<String>,
    /// Their region.
    pub region: String,
    /// Their clusters.
    pub clusters: Vec<String>,
    /// `waiting`, `active`, `done`, `aborted` or `outside`.
    pub state: String,
    /// How many of the wave's stages were taken.
    pub step: u16,
    /// How many it has.
    pub steps: u16,
    /// What the canary gets there, percent.
    pub percent: f64,
    /// Why so much.
    pub why: String,
    /// Milliseconds since the last of its gateways was heard; none while one is. What is told of
    /// such a place is what the log gives it, not what it is known to do.
    pub unseen_ms: Option<u64>,
}

/// A clamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClampView {
    /// Its id, in hexadecimal.
    pub id: String,
    /// The release.
    pub release: String,
    /// The run that it lowers.
    pub run: u64,
    /// Whose callers.
    pub region: String,
    /// The most that the canary may get there, percent.
    pub percent: u8,
    /// The cluster of the gateway that made it.
    pub cluster: String,
    /// That gateway.
    pub gateway: String,
    /// The operator.
    pub by: String,
    /// When, by that gateway's clock, milliseconds since the Unix epoch.
    pub made_ms: u64,
}

/// One thing that was done with a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseChangeView {
    /// Where in the log.
    pub index: u64,
    /// When, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The operator.
    pub by: String,
    /// What, in words.
    pub what: String,
    /// The stage that it was at then; none if what says so is forgotten.
    #[serde(default)]
    pub stage: Option<u16>,
}

/// `weft release plan`: what starting one would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleasePlanView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh.
    pub freshness: Freshness,
    /// `namespace/name`.
    pub name: String,
    /// `namespace/name` of its service.
    pub service: String,
    /// Wave by wave, region by region; callers of no wave come last.
    pub places: Vec<PlanPlaceView>,
    /// What is amiss, the worst first.
    pub findings: Vec<ProblemView>,
    /// The release of that name, if there is one.
    pub same: Option<ReleaseView>,
    /// Its spec.
    pub same_spec: Option<serde_json::Value>,
    /// Another release of the service that is in effect.
    pub other: Option<ReleaseView>,
}

/// What would happen to the callers of one region that are in one wave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanPlaceView {
    /// Their wave; none if no wave names them.
    pub wave: Option<String>,
    /// Their region.
    pub region: String,
    /// Their clusters.
    pub clusters: Vec<String>,
    /// The stages that move them: number and percent.
    pub stages: Vec<(u16, u8)>,
    /// Stable endpoints in their region that take new work.
    pub stable_ready: u32,
    /// Canary endpoints in their region that take new work.
    pub canary_ready: u32,
    /// As in [`ReleasePlaceView::unseen_ms`].
    pub unseen_ms: Option<u64>,
}
