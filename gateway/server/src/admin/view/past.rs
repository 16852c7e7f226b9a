//! What `weft status --as-of` is answered with: what the log had recorded, and no more.

use serde::{Deserialize, Serialize};

use super::{Freshness, ReleaseView};

/// A moment of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MomentView {
    /// The last log position that counts.
    pub index: u64,
    /// As was asked, or when the leader took the last entry, milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// `weft status --as-of`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastStatusView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// The federation's domain.
    pub federation: String,
    /// Who answered: what is visible to this cluster is told.
    pub cluster: String,
    /// Its gateway.
    pub gateway: String,
    /// How fresh.
    pub freshness: Freshness,
    /// The moment.
    pub as_of: MomentView,
    /// The format level in force.
    pub format: u32,
    /// The members.
    pub clusters: Vec<PastClusterView>,
    /// Their gateways.
    pub gateways: Vec<PastGatewayView>,
    /// Services exported to this cluster.
    pub services: Vec<PastServiceView>,
    /// Releases under way.
    pub releases: Vec<ReleaseView>,
    /// What `weft status` tells of now and nobody can tell of then, in words.
    pub not_recorded: Vec<String>,
}

/// One member cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastClusterView {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// `voter`, `member` or `witness`.
    pub role: String,
    /// `held` or `lapsed`, as recorded.
    pub lease: String,
    /// Its gateways.
    pub gateways: Vec<String>,
    /// Takes no new traffic.
    pub drain: bool,
    /// API addresses of its gateways.
    pub api: Vec<String>,
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastGatewayView {
    /// Its node id.
    pub node: u64,
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub gateway: String,
    /// `member` or `follower`.
    pub role: String,
    /// The highest format level that it said it understands.
    pub format: u32,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastServiceView {
    /// `namespace/name`.
    pub name: String,
    /// `ClusterSetIP` or `Headless`.
    #[serde(rename = "type")]
    pub service_type: String,
    /// `80/http`.
    pub ports: Vec<String>,
    /// Its virtual IPs here.
    pub virtual_ips: Vec<String>,
    /// Clusters that exported it.
    pub exporters: Vec<String>,
    /// MCS conflict reasons.
    pub conflicts: Vec<String>,
}
