//! Resources as their authors write them: `apiVersion`, `kind`, `metadata`, `spec`.
//!
//! Unknown fields are errors. Field names follow MCS, Gateway API and Istio.
//! The same types give the JSON schema.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration;
use crate::{
    ClusterName, GatewayName, Namespace, PortName, RegionName, ServiceAccount, ServiceName,
    ServicePort, ServiceType, UserName, Version, ZoneName,
};

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
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cluster => "Cluster",
            Self::ServiceExport => "ServiceExport",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::RoleBinding => "RoleBinding",
        })
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
}

/// A member cluster.
pub type Cluster = Resource<ClusterSpec>;
/// One cluster's offer of a service.
pub type ServiceExport = Resource<ExportSpec>;
/// A server without a sidecar.
pub type WorkloadEntry = Resource<WorkloadEntrySpec>;
/// Who may operate the federation.
pub type RoleBinding = Resource<RoleBindingSpec>;

/// Whether a cluster's gateways may vote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClusterRole {
    /// Eligible: trusted with the log.
    Voter,
    /// Holds a replica, has no vote.
    #[default]
    Member,
}

/// Whether a cluster carries traffic between two others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RelayConsent {
    /// It does, within its quota.
    Allow,
    /// It does not.
    #[default]
    Deny,
}

/// Where a cluster answers for services, one address per virtual-IP index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualIpRanges {
    /// IPv4 range; its first address plus the index is a service's virtual IP.
    #[schemars(with = "String")]
    pub ipv4: ipnet::Ipv4Net,
    /// IPv6 range; without one, AAAA questions get NODATA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ipv6: Option<ipnet::Ipv6Net>,
}

/// How other gateways reach a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayAddress {
    /// The gateway's name.
    pub name: GatewayName,
    /// Its tunnel address (UDP); none if it can only dial out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub tunnel: Option<SocketAddr>,
    /// Its API address (TCP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub api: Option<SocketAddr>,
}

/// What an administrator says of a member cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// Its region.
    pub region: RegionName,
    /// Whether its gateways may vote.
    #[serde(default)]
    pub role: ClusterRole,
    /// Whether it relays between two others.
    #[serde(default)]
    pub relay: RelayConsent,
    /// Takes no new traffic from other clusters while set.
    #[serde(default)]
    pub drain: bool,
    /// Namespaces it may export from; empty means all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub namespaces: BTreeSet<Namespace>,
    /// Its virtual-IP ranges.
    #[serde(rename = "virtualIPs")]
    pub virtual_ips: VirtualIpRanges,
}

/// Which clusters may use an exported service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExportTo {
    /// No other cluster.
    #[default]
    Nobody,
    /// Every member.
    Everyone,
    /// The named ones.
    Clusters(BTreeSet<ClusterName>),
}

impl ExportTo {
    /// Whether `cluster` may use the service.
    pub fn admits(&self, cluster: &ClusterName) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everyone => true,
            Self::Clusters(named) => named.contains(cluster),
        }
    }
}

impl Serialize for ExportTo {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nobody => to.collect_seq::<[&str; 0]>([]),
            Self::Everyone => to.collect_seq(["*"]),
            Self::Clusters(named) => to.collect_seq(named),
        }
    }
}

impl<'de> Deserialize<'de> for ExportTo {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        if names.iter().any(|name| name == "*") {
            return match names.len() {
                1 => Ok(Self::Everyone),
                _ => Err(serde::de::Error::custom(
                    "'*' stands alone: it already means every cluster",
                )),
            };
        }
        let named: BTreeSet<ClusterName> = names
            .into_iter()
            .map(|name| name.parse().map_err(serde::de::Error::custom))
            .collect::<Result<_, _>>()?;
        Ok(if named.is_empty() {
            Self::Nobody
        } else {
            Self::Clusters(named)
        })
    }
}

impl JsonSchema for ExportTo {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ExportTo".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "array", "items": { "type": "string" } })
    }
}

/// What to do with a cluster's endpoints once its lease has lapsed.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnStale {
    /// Go on with the last known set while a tunnel is up.
    #[default]
    Serve,
    /// Start nothing new, finish what runs.
    Drain,
    /// Stop at once.
    Fail,
}

/// DNS settings of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsSpec {
    /// TTL of address answers. Lower: clients notice changes sooner and ask more often. Default 5s.
    #[serde(with = "duration", default = "default_ttl")]
    #[schemars(with = "String")]
    pub ttl: Duration,
}

impl Default for DnsSpec {
    fn default() -> Self {
        Self { ttl: default_ttl() }
    }
}

fn default_ttl() -> Duration {
    Duration::from_secs(5)
}

/// An exported service, as its cluster offers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportSpec {
    /// One virtual IP, or headless.
    #[serde(default, rename = "type")]
    pub service_type: ServiceType,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// `["*"]`, or names of clusters; left out: nobody.
    #[serde(default)]
    pub export_to: ExportTo,
    /// Who may serve it, as `ns/<namespace>/sa/<account>`; left out: `ns/<namespace>/sa/<service>`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub identities: BTreeSet<ServingIdentity>,
    /// What a lapsed lease means for its endpoints.
    #[serde(default)]
    pub on_stale: OnStale,
    /// DNS settings.
    #[serde(default)]
    pub dns: DnsSpec,
}

/// An identity relative to a cluster's trust domain: `ns/<namespace>/sa/<account>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServingIdentity {
    /// The namespace.
    pub namespace: Namespace,
    /// The service account.
    pub account: ServiceAccount,
}

impl TryFrom<String> for ServingIdentity {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>()[..] {
            ["ns", namespace, "sa", account] => Ok(Self {
                namespace: namespace.parse().map_err(|e| format!("{e}"))?,
                account: account.parse().map_err(|e| format!("{e}"))?,
            }),
            _ => Err(format!(
                "{text:?} is not of the form ns/<namespace>/sa/<account>"
            )),
        }
    }
}

impl From<ServingIdentity> for String {
    fn from(id: ServingIdentity) -> String {
        format!("ns/{}/sa/{}", id.namespace, id.account)
    }
}

impl JsonSchema for ServingIdentity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ServingIdentity".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^ns/[^/]+/sa/[^/]+$" })
    }
}

/// GET of `path` answers 200 to 399.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// The port.
    pub port: NonZeroU16,
    /// The path.
    pub path: String,
}

/// `grpc.health.v1.Health/Check` answers SERVING.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrpcProbe {
    /// The port.
    pub port: NonZeroU16,
    /// The service asked for; empty asks for the whole server.
    #[serde(default)]
    pub service: String,
}

/// A TCP connection is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {
    /// The port.
    pub port: NonZeroU16,
}

/// A health check: exactly one probe, how often, and how many results turn the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// Probe by HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// Probe by gRPC health checking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcProbe>,
    /// Probe by connecting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Time between probes. Default 2s.
    #[serde(with = "duration", default = "default_interval")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// Time after which a probe has failed. Default 1s.
    #[serde(with = "duration", default = "default_timeout")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Failures in a row that make it not ready. Default 2.
    #[serde(default = "default_failures")]
    pub failures: u32,
    /// Successes in a row that make it ready again. Default 1.
    #[serde(default = "default_successes")]
    pub successes: u32,
}

fn default_interval() -> Duration {
    Duration::from_secs(2)
}
fn default_timeout() -> Duration {
    Duration::from_secs(1)
}
fn default_failures() -> u32 {
    2
}
fn default_successes() -> u32 {
    1
}

/// A server without a sidecar: its cluster's gateway fronts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadEntrySpec {
    /// The service it belongs to, in the entry's namespace.
    pub service: ServiceName,
    /// Its address inside the cluster.
    #[schemars(with = "String")]
    pub address: IpAddr,
    /// The server's own port for each named port of the service.
    pub ports: BTreeMap<PortName, NonZeroU16>,
    /// Its service account; left out: the service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccount>,
    /// Its version label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// Share of traffic beside its peers. Default 100.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Its health checks; without any it counts as ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HealthCheck>,
}

fn default_weight() -> u32 {
    100
}

/// What an operator may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything.
    Viewer,
    /// Also change exports, entries and drains.
    Operator,
    /// Also change members, tokens and roles.
    Admin,
}

/// Gives a role to operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleBindingSpec {
    /// The role.
    pub role: Role,
    /// The operators who have it.
    pub users: BTreeSet<UserName>,
}
