//! What `weft top` and `weft edges` are answered with.

use serde::{Deserialize, Serialize};

use super::Freshness;

/// Sums over the windows of many gateways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedView<T> {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh intent is.
    pub freshness: Freshness,
    /// Who told what its sources reported.
    pub heard: Vec<HeardView>,
    /// Who did not answer: callers there are missing.
    pub silent: Vec<SilentView>,
    /// Requests that are in no row, for want of room.
    pub left_out: u64,
    /// The rows.
    pub items: Vec<T>,
}

/// A gateway that answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeardView {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub gateway: String,
    /// How far back its answer goes, milliseconds.
    pub covered_ms: u64,
    /// Milliseconds since its newest report; none if nothing was ever reported.
    pub age_ms: Option<u64>,
}

/// A gateway that did not answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilentView {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub gateway: String,
    /// Why not.
    pub why: String,
}

/// Requests added up. Shares are from 0 to 1, and none of no requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SumView {
    /// How many.
    pub requests: u64,
    /// A second.
    pub rps: f64,
    /// Those that failed: answered 5xx, or by nobody.
    pub failures: u64,
    /// Those that nobody answered.
    pub unanswered: u64,
    /// The share that did not fail.
    pub success: Option<f64>,
    /// Milliseconds that half of the answers took at most.
    pub p50_ms: Option<f64>,
    /// That 95 in 100 took at most.
    pub p95_ms: Option<f64>,
    /// That 99 in 100 took at most.
    pub p99_ms: Option<f64>,
    /// The share answered in the caller's region.
    pub local: Option<f64>,
    /// The share that went to another endpoint than the first one chosen.
    pub rerouted: Option<f64>,
}

/// A row of `weft top services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTrafficView {
    /// `namespace/name`.
    pub service: String,
    /// `request`, or `connection` for opaque ones.
    pub carried: String,
    /// The callers' region.
    pub region: String,
    /// The sum.
    #[serde(flatten)]
    pub sum: SumView,
}

/// A row of `weft top regions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionTrafficView {
    /// The callers' region.
    pub from: String,
    /// Where they were answered; none if nobody did.
    pub to: Option<String>,
    /// The sum.
    #[serde(flatten)]
    pub sum: SumView,
}

/// One version of a service, as callers of a region met it in a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionTrafficView {
    /// The callers' region.
    pub region: String,
    /// Who served them.
    pub cluster: String,
    /// The version; none of endpoints that have none.
    pub version: Option<String>,
    /// The sum.
    #[serde(flatten)]
    pub sum: SumView,
}

/// A row of `weft edges`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeView {
    /// The caller: its service account, or the gateway that stands in for it.
    pub source: String,
    /// Its namespace; none of a gateway.
    pub source_namespace: Option<String>,
    /// Its SPIFFE id.
    pub source_identity: String,
    /// Its cluster.
    pub source_cluster: String,
    /// The service called.
    pub destination: String,
    /// Its namespace.
    pub destination_namespace: String,
    /// The SPIFFE id that answered.
    pub destination_identity: String,
    /// In which cluster.
    pub destination_cluster: String,
    /// Whether it is mutual TLS from one workload's sidecar to the other's.
    pub secured: bool,
    /// Which part is not, and why.
    #[serde(rename = "no_tls_reason", skip_serializing_if = "Option::is_none")]
    pub no_tls_reason: Option<String>,
    /// `direct` within a cluster, otherwise between which clusters the tunnel runs.
    pub path: String,
    /// The sum.
    #[serde(flatten)]
    pub sum: SumView,
}
