//! Resources as their authors write them: `apiVersion`, `kind`, `metadata`, `spec`.
//!
//! Unknown fields are errors. Field names follow MCS, Gateway API and Istio.
//! The same types give the JSON schema.

mod check;
mod cluster;
mod export;
mod health;
mod json;
mod policy;
mod release;
mod role;
mod route;
mod workload;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cluster::{
    ClusterRole, ClusterSpec, GatewayAddress, GatewayRole, RelayConsent, VirtualIpRanges,
};
pub use export::{DnsSpec, ExportSpec, ExportTo, OnStale, ServingIdentity};
pub use health::{GrpcProbe, HealthCheck, HttpProbe, Probe, TcpProbe};
pub use json::{Spec, spec_from_json, spec_to_json};
pub use policy::{
    ConnectionPool, HttpPool, LoadBalancer, OutlierDetection, RetryBudgetSpec, TargetRef, TcpPool,
    TrafficPolicySpec,
};
pub use release::{
    Audience, OnPartition, PauseStep, Places, ReleaseSpec, ReleaseStep, Stickiness, StickyBy,
    StickyMissing, Wave,
};
pub use role::{Role, RoleBindingSpec};
pub use route::{
    BackendRef, ExactMatch, HeaderMatch, HeaderModifier, HeaderValue, ParentRef, PathMatch,
    PathMatchType, PathModifier, QueryParamMatch, RefKind, RequestMirror, RequestRedirect,
    RouteFilter, RouteMatch, RouteRetry, RouteRule, RouteSpec, RouteTimeouts, UrlRewrite,
};
pub use workload::WorkloadEntrySpec;

use crate::{Namespace, ServiceName};

/// The version of the resource format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only one.
    #[default]
    #[serde(rename = "weft.dev/v1")]
    V1,
}

/// The kinds of resource. Those not enforced yet are refused by name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Kind {
    /// A member of the federation.
    Cluster,
    /// One cluster's offer of a service to others.
    ServiceExport,
    /// A server without a sidecar.
    WorkloadEntry,
    /// Who may operate the federation.
    RoleBinding,
    /// How requests to a service are answered.
    Route,
    /// How callers treat a service's endpoints.
    TrafficPolicy,
    /// How a service's traffic moves from one version to another.
    Release,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cluster => "Cluster",
            Self::ServiceExport => "ServiceExport",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::RoleBinding => "RoleBinding",
            Self::Route => "Route",
            Self::TrafficPolicy => "TrafficPolicy",
            Self::Release => "Release",
        })
    }
}

/// What a word in the place of a kind means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindName {
    /// A kind that is enforced.
    Enforced(Kind),
    /// A kind that weft will have: refused as not enforced yet, never ignored.
    NotYet(&'static str),
    /// No kind of weft's.
    Unknown,
}

impl KindName {
    const ENFORCED: [(&str, Kind); 7] = [
        ("Cluster", Kind::Cluster),
        ("ServiceExport", Kind::ServiceExport),
        ("WorkloadEntry", Kind::WorkloadEntry),
        ("RoleBinding", Kind::RoleBinding),
        ("Route", Kind::Route),
        ("TrafficPolicy", Kind::TrafficPolicy),
        ("Release", Kind::Release),
    ];
    const NOT_YET: [&str; 3] = ["AccessPolicy", "RedundancyPolicy", "ConcurrencyLimit"];

    /// Reads a kind as it stands in a resource, to the letter.
    pub fn parse(word: &str) -> Self {
        if let Some((_, kind)) = Self::ENFORCED.iter().find(|(name, _)| *name == word) {
            return Self::Enforced(*kind);
        }
        let later = Self::NOT_YET.into_iter().find(|name| *name == word);
        later.map_or(Self::Unknown, Self::NotYet)
    }

    /// Every name, the enforced ones first, for suggestions.
    pub fn all() -> impl Iterator<Item = &'static str> {
        let enforced = Self::ENFORCED.into_iter().map(|(name, _)| name);
        enforced.chain(Self::NOT_YET)
    }
}

impl Kind {
    /// Whether this is a field that resources of the kind will have, and weft does not enforce yet.
    pub fn has_later(self, field: &str) -> bool {
        self == Self::Release && ReleaseSpec::NOT_YET.contains(&field)
    }
}

/// Name, namespace and labels of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name: a DNS label.
    pub name: ServiceName,
    /// The namespace, for kinds that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A resource of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource<S> {
    /// The format's version.
    pub api_version: ApiVersion,
    /// The kind.
    pub kind: Kind,
    /// Its name.
    pub metadata: Metadata,
    /// What its author wants.
    pub spec: S,
    /// What a gateway says of it: printed by `get`, and ignored in what is applied.
    #[serde(default, skip_serializing)]
    pub status: Option<serde_json::Value>,
}

/// A member cluster.
pub type Cluster = Resource<ClusterSpec>;
/// One cluster's offer of a service.
pub type ServiceExport = Resource<ExportSpec>;
/// A server without a sidecar.
pub type WorkloadEntry = Resource<WorkloadEntrySpec>;
/// Who may operate the federation.
pub type RoleBinding = Resource<RoleBindingSpec>;
/// How requests to a service are answered.
pub type Route = Resource<RouteSpec>;
/// How a service's traffic moves from one version to another.
pub type Release = Resource<ReleaseSpec>;
/// How callers treat a service's endpoints.
pub type TrafficPolicy = Resource<TrafficPolicySpec>;
