//! How a service's traffic moves from one version to another: place by place, step by step.
//!
//! Nothing here acts by itself: each weight holds until somebody promotes. What would act, analysis
//! and timers, is no field here, and is refused by name ([`ReleaseSpec::NOT_YET`]).

mod check;
mod places;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RouteMatch;
use crate::{ClusterName, Namespace, Percent, RegionName, ServiceKey, ServiceName, Version};
use crate::{Stage, WaveName};

pub use places::Places;

/// A service's way from one version to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseSpec {
    /// The service, in the release's namespace.
    pub service: ServiceName,
    /// The version that serves now: endpoints with this version label.
    pub stable: Version,
    /// The version that is to serve: endpoints with this version label.
    pub canary: Version,
    /// Who may meet the canary at all. Left out: everyone, each request drawn by itself.
    #[serde(default, skip_serializing_if = "Audience::is_everyone")]
    pub audience: Audience,
    /// One after the other: which callers, and in which steps.
    pub waves: Vec<Wave>,
    /// Always `Hold`: an advance is a committed entry, so what cannot be seen does not advance.
    #[serde(default)]
    pub on_partition: OnPartition,
}

/// Who may meet the canary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audience {
    /// A request may if it satisfies one of these; left out: every request may.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RouteMatch>,
    /// What keeps a client with the version it met. Left out: each request is drawn by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<Stickiness>,
}

/// What keeps a client with the version it met: once it meets the canary it goes on meeting it as
/// the weight grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stickiness {
    /// Always `Header`.
    pub by: StickyBy,
    /// The header field whose value tells clients apart.
    pub name: String,
    /// Always `Stable`: what requests without the field meet.
    #[serde(default)]
    pub missing: StickyMissing,
}

/// What tells clients apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StickyBy {
    /// The first value of a header field.
    Header,
}

/// What requests meet that nothing tells apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StickyMissing {
    /// The stable version.
    #[default]
    Stable,
}

/// What happens to a place that cannot be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnPartition {
    /// It keeps the weight that it has.
    #[default]
    Hold,
}

/// Callers that move together. A caller is in the first wave that names its cluster or region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wave {
    /// Its name, unique in the release.
    pub name: WaveName,
    /// Callers' regions, or `["*"]`.
    #[serde(default, skip_serializing_if = "Places::is_empty")]
    pub regions: Places<RegionName>,
    /// Callers' clusters, or `["*"]`.
    #[serde(default, skip_serializing_if = "Places::is_empty")]
    pub clusters: Places<ClusterName>,
    /// How its weight grows.
    pub steps: Vec<ReleaseStep>,
}

/// One step of a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReleaseStep {
    /// The canary's share of the requests of its audience; holds until somebody promotes.
    SetWeight(Percent),
    /// Says that the weight before it holds, as it does anyway.
    Pause(PauseStep),
}

/// A pause until somebody promotes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseStep {}

impl Audience {
    /// Whether nobody is kept out and no client told apart.
    pub fn is_everyone(&self) -> bool {
        self.matches.is_empty() && self.stickiness.is_none()
    }
}

impl Wave {
    /// Whether it names this place.
    pub fn holds(&self, cluster: &ClusterName, region: &RegionName) -> bool {
        self.clusters.holds(cluster) || self.regions.holds(region)
    }

    /// The weights of its steps, in order.
    pub fn weights(&self) -> impl Iterator<Item = Percent> {
        self.steps.iter().filter_map(|step| match step {
            ReleaseStep::SetWeight(weight) => Some(*weight),
            ReleaseStep::Pause(_) => None,
        })
    }
}

impl ReleaseSpec {
    /// Fields that weft will have and does not enforce yet.
    pub const NOT_YET: [&str; 5] = [
        "analysis",
        "bake",
        "duration",
        "onFailure",
        "progressDeadline",
    ];

    /// The service meant, for a release of `namespace`.
    pub fn key(&self, namespace: &Namespace) -> ServiceKey {
        ServiceKey::new(namespace.clone(), self.service.clone())
    }

    /// Every stage in order, from 1: its wave and the weight that it sets there.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, &Wave, Percent)> {
        let weights = self
            .waves
            .iter()
            .flat_map(|wave| wave.weights().map(move |weight| (wave, weight)));
        (1..)
            .zip(weights)
            .map(|(number, (wave, weight))| (Stage(number), wave, weight))
    }

    /// The last stage.
    pub fn last_stage(&self) -> Stage {
        self.stages().last().map_or(Stage(0), |(stage, _, _)| stage)
    }

    /// The wave that a caller in this place belongs to.
    pub fn wave_of(&self, cluster: &ClusterName, region: &RegionName) -> Option<&Wave> {
        self.waves.iter().find(|wave| wave.holds(cluster, region))
    }

    /// The wave of this name.
    pub fn wave(&self, name: &WaveName) -> Option<&Wave> {
        self.waves.iter().find(|wave| wave.name == *name)
    }
}
