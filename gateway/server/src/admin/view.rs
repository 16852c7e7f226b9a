//! What the admin API answers with: JSON documents that a gateway writes and the
//! CLI reads. Fields are only ever added.

use serde::{Deserialize, Serialize};

/// How fresh an answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Freshness {
    /// The last log position applied by the gateway that answered.
    pub applied_index: u64,
    /// Milliseconds since it last heard from the leader.
    pub age_ms: u64,
}

/// `weft status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// The federation's domain.
    pub federation: String,
    /// Who answered.
    pub cluster: String,
    /// Its region.
    pub region: String,
    /// Its gateway.
    pub gateway: String,
    /// How fresh.
    pub freshness: Freshness,
    /// The consensus.
    pub raft: RaftView,
    /// The members, as this gateway sees them.
    pub clusters: Vec<ClusterView>,
    /// Services it may see.
    pub services: Vec<ServiceView>,
    /// When this gateway's certificate ends, milliseconds since the Unix epoch.
    pub certificate_expires_ms: u64,
    /// The disk under this gateway's log.
    #[serde(default)]
    pub disk: DiskView,
    /// What is wrong, worst first.
    pub problems: Vec<ProblemView>,
}

/// The disk under a gateway's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskView {
    /// Bytes left on it, if the file system says.
    pub free_bytes: Option<u64>,
    /// Whether the gateway refuses writes for want of room.
    pub read_only: bool,
}

/// `weft raft members`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RaftView {
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// The highest position known to be committed.
    pub commit: u64,
    /// All gateways.
    pub members: Vec<RaftMemberView>,
}

/// One gateway in the consensus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RaftMemberView {
    /// Its id.
    pub node: u64,
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub gateway: String,
    /// `leader`, `voter` or `learner`.
    pub role: String,
    /// Whether the gateway that answers reaches it; itself it does.
    pub reachable: bool,
    /// Round-trip time to it, microseconds.
    pub rtt_us: Option<u64>,
}

/// One member cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// `voter` or `member`.
    pub role: String,
    /// `held`, `lapsed` or `unknown`.
    pub lease: String,
    /// `self`, `up` or `down`, as the gateway that answers sees it.
    pub path: String,
    /// Round-trip time, microseconds.
    pub rtt_us: Option<u64>,
    /// Its gateways.
    pub gateways: Vec<String>,
    /// Takes no new traffic.
    pub drain: bool,
    /// API addresses of its gateways.
    pub api: Vec<String>,
    /// Its CA certificates, PEM.
    pub bundle: String,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// `namespace/name`.
    pub name: String,
    /// `ClusterSetIP`, `Headless`, or `Local` if it is not exported.
    #[serde(rename = "type")]
    pub service_type: String,
    /// `80/http`.
    pub ports: Vec<String>,
    /// Its virtual IPs here.
    pub virtual_ips: Vec<String>,
    /// Clusters that export it.
    pub exporters: Vec<String>,
    /// Ready endpoints by cluster.
    pub ready: Vec<(String, u32)>,
    /// MCS conflict reasons.
    pub conflicts: Vec<String>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Its id.
    pub id: String,
    /// Its service.
    pub service: String,
    /// Its cluster.
    pub cluster: String,
    /// Its zone.
    pub zone: Option<String>,
    /// Its version label.
    pub version: Option<String>,
    /// `ready`, `not-ready` or `draining`.
    pub health: String,
    /// Its weight.
    pub weight: u32,
    /// Where its sidecar listens; only inside its cluster.
    pub address: Option<String>,
    /// Its SPIFFE id.
    pub identity: String,
    /// Whether the gateway that answers would send it new work, and why not.
    pub verdict: String,
}

/// Something wrong, with its way out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProblemView {
    /// `fail` or `warn`.
    pub severity: String,
    /// `WEFT-3002`.
    pub code: String,
    /// What.
    pub what: String,
    /// What to do.
    pub next: String,
}

/// A list of things, with its freshness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListView<T> {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh.
    pub freshness: Freshness,
    /// The things.
    pub items: Vec<T>,
}

/// `weft dns explain`, `weft route explain`: steps and a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplanationView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh.
    pub freshness: Freshness,
    /// What was asked.
    pub question: String,
    /// What was considered, in order.
    pub steps: Vec<StepView>,
    /// The outcome in a line.
    pub result: String,
    /// The code if the outcome is a refusal.
    pub code: Option<String>,
}

/// One step of an explanation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// `chosen`, `refused` or `fact`.
    pub verdict: String,
    /// What was looked at.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// A sidecar's session with this gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyView {
    /// Its SPIFFE id.
    pub identity: String,
    /// Endpoints it registered.
    pub endpoints: u32,
}
