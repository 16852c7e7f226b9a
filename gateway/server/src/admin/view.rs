//! What the admin API answers with: JSON documents that a gateway writes and the
//! CLI reads. Fields are only ever added.

mod history;
mod observe;
mod past;
mod paths;
mod release;
mod tap;

pub use history::{AuthorCount, FaultView, HistoryView, RevertView, RevisionView, TrailView};
pub use observe::{
    EdgeView, HeardView, ObservedView, RegionTrafficView, ServiceTrafficView, SilentView, SumView,
    VersionTrafficView,
};
pub use past::{MomentView, PastClusterView, PastGatewayView, PastServiceView, PastStatusView};
pub use paths::{
    ClockView, ConnectionView, LocalView, NetcheckView, PeerView, PingStepView, PingView,
    TunnelView,
};
pub use release::{
    ClampView, PlaceTrafficView, PlanPlaceView, ReleaseChangeView, ReleasePlaceView,
    ReleasePlanView, ReleaseTrafficView, ReleaseView, StageView,
};
pub use tap::{TapEndView, TapEventView, TapHeaderView, TapLine};

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
    /// Releases under way.
    #[serde(default)]
    pub releases: Vec<ReleaseView>,
    /// When this gateway's certificate ends, milliseconds since the Unix epoch.
    pub certificate_expires_ms: u64,
    /// The disk under this gateway's log.
    #[serde(default)]
    pub disk: DiskView,
    /// Set while the gateway reaches no other: it serves what it last knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<IsolationView>,
    /// What is wrong, worst first.
    pub problems: Vec<ProblemView>,
}

/// A gateway that reaches no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolationView {
    /// For how long, in milliseconds; at most since it started.
    pub for_ms: u64,
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
    /// Where the registry was last founded anew after a lost majority; left out if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<u64>,
    /// Where a majority had another state than the gateway that answers; left out unless it is fenced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced: Option<u64>,
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
    /// `self`, `up`, `through eu-west-1` or `down`, as the gateway that answers sees it.
    pub path: String,
    /// Round-trip time, microseconds.
    pub rtt_us: Option<u64>,
    /// How old what is known of its endpoints is, milliseconds; left out while it is told as it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints_age_ms: Option<u64>,
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

/// `weft events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventsView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh.
    pub freshness: Freshness,
    /// The moment that it ends with, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<MomentView>,
    /// Where the registry was last founded anew, if it ever was: an index from there on that was
    /// given out before says nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<u64>,
    /// The gateway that answered keeps what the log says after this index.
    pub kept_after: u64,
    /// What is shown begins after this index.
    #[serde(default)]
    pub from_after: u64,
    /// And was looked for up to this one.
    #[serde(default)]
    pub read: u64,
    /// Whether more was asked for than is kept.
    #[serde(default)]
    pub cut: bool,
    /// Oldest first.
    pub items: Vec<EventView>,
}

/// One entry of the log that changed something or was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Its position.
    pub index: u64,
    /// The leader's clock when it took the entry, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Who signed it: `operator ana`, `gateway eu-west-1/gw-1`.
    pub author: String,
    /// The operator on whose order a gateway signed it.
    pub by_order_of: Option<String>,
    /// What it asks for: `put export`.
    pub command: String,
    /// The record that it is about.
    pub record: Option<RecordView>,
    /// Everything that changed, derived records too.
    pub changes: Vec<ChangeView>,
    /// Why nothing changed.
    pub refused: Option<String>,
    /// Whether the author is proved; not so if the signature is why it was refused.
    pub proven: bool,
}

/// One record's change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeView {
    /// `put`, `deleted`, `lease lapsed`, `lease returned` or `format level 2`.
    pub change: String,
    /// The record; none for the federation as a whole.
    pub record: Option<RecordView>,
}

/// A record by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordView {
    /// In lower case: `serviceexport`, `gateway`.
    pub kind: String,
    /// `namespace/name`, or the name of what is in no namespace.
    pub name: String,
    /// Whose it is, for what one cluster owns.
    pub cluster: Option<String>,
}
