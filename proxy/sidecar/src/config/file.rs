//! The file's form. Unknown fields are errors; every field says its default,
//! and what rises and falls when you turn it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::duration;
use weft_model::{
    ApiVersion, AppProtocol, HealthCheck, Hostname, Namespace, PortName, ServiceAccount,
    ServiceKey, ServiceName, Version, ZoneName,
};

use super::CaptureSpec;
use crate::http::Timeouts;

/// `kind: SidecarConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SidecarConfig {
    /// The format's version.
    pub api_version: ApiVersion,
    /// The kind.
    pub kind: SidecarKind,
    /// The settings.
    pub spec: SidecarSpec,
}

/// The one kind this file may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SidecarKind {
    /// A sidecar's configuration.
    #[default]
    SidecarConfig,
}

/// A sidecar's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SidecarSpec {
    /// Whose sidecar it is: decides its identity.
    pub workload: WorkloadSpec,
    /// Availability zone. Endpoints of the same zone are preferred. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// API addresses of this cluster's gateways, `host:port`. All are used at once.
    pub gateways: Vec<String>,
    /// The token for the first identity. Not needed once `stateDir` holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<EnrolmentSource>,
    /// Where keys and the last snapshot are kept.
    pub state_dir: PathBuf,
    /// Data-plane threads. More: more throughput, more memory and connections.
    /// Default: one per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<NonZeroUsize>,
    /// HTTP proxy for the app. Default 127.0.0.1:15001.
    #[serde(default = "default_outbound")]
    #[schemars(with = "String")]
    pub outbound: SocketAddr,
    /// Inner mTLS from peers.
    #[serde(default)]
    pub inbound: InboundSpec,
    /// Metrics, health and the table as JSON. Default 127.0.0.1:15020.
    #[serde(default = "default_admin")]
    #[schemars(with = "String")]
    pub admin: SocketAddr,
    /// Local ports, each for one service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamSpec>,
    /// How long HTTP waits.
    #[serde(default)]
    pub http: HttpSpec,
    /// What the workload serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceFile>,
    /// Take connections that programs make to virtual IPs, without their knowing. Needs
    /// `weft capture on`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureSpec>,
}

/// A workload's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadSpec {
    /// Its namespace; its services are in it.
    pub namespace: Namespace,
    /// Its service account.
    pub service_account: ServiceAccount,
}

/// Exactly one of the two.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrolmentSource {
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A file that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

impl std::fmt::Debug for EnrolmentSource {
    /// Never shows the token: configurations are logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolmentSource")
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("token_file", &self.token_file)
            .finish()
    }
}

/// Where peers reach this sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InboundSpec {
    /// Default 0.0.0.0:15006.
    #[serde(default = "default_inbound")]
    #[schemars(with = "String")]
    pub bind: SocketAddr,
    /// The address peers dial. Default: `bind`, if that names one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub advertised: Option<SocketAddr>,
}

impl Default for InboundSpec {
    fn default() -> Self {
        Self {
            bind: default_inbound(),
            advertised: None,
        }
    }
}

/// Longest times of HTTP connections, of apps and of peers alike. gRPC calls,
/// upgraded connections and tunnels may be quiet as long as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpSpec {
    /// For a request's head, from its first byte. Shorter frees connections of slow
    /// clients sooner. Default 10s.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub head_timeout: Duration,
    /// For the next request on a connection. Longer: fewer connections are made anew,
    /// more are open. Default 10m.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// For the next piece of a request's body. Default 60s.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub body_timeout: Duration,
    /// From the end of a request to the beginning of its answer. Shorter: a silent app
    /// is given up sooner, long work fails. Default 5m.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub answer_timeout: Duration,
    /// For a client to take the next piece of an answer. Default 60s.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub send_timeout: Duration,
}

impl Default for HttpSpec {
    fn default() -> Self {
        let Timeouts {
            head,
            idle,
            body,
            answer,
            send,
        } = Timeouts::default();
        Self {
            head_timeout: head,
            idle_timeout: idle,
            body_timeout: body,
            answer_timeout: answer,
            send_timeout: send,
        }
    }
}

/// A local port for one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamSpec {
    /// The service, `namespace/name`.
    #[schemars(with = "String")]
    pub service: ServiceKey,
    /// Its port.
    pub port: NonZeroU16,
    /// Where the app connects.
    #[schemars(with = "String")]
    pub bind: SocketAddr,
}

/// A service of the workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceFile {
    /// Its name in the workload's namespace.
    pub name: ServiceName,
    /// Version label; releases choose by it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Host name for headless answers. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// Share of traffic beside its peers; 0 takes none. Default 100.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Where the app listens. Default 127.0.0.1.
    #[serde(default = "default_app_address")]
    #[schemars(with = "String")]
    pub app_address: IpAddr,
    /// Its ports.
    pub ports: Vec<PortFile>,
    /// Health checks, against the app's own ports. Without any it counts as ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HealthCheck>,
}

/// A port of a service of the workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortFile {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PortName>,
    /// The service's port, which clients ask for.
    pub port: NonZeroU16,
    /// The app's own port. Default: `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_port: Option<NonZeroU16>,
    /// What the app speaks on it. Default tcp.
    #[serde(default)]
    pub protocol: AppProtocol,
}

const fn default_outbound() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15001)
}
const fn default_inbound() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 15006)
}
const fn default_admin() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15020)
}
const fn default_weight() -> u32 {
    100
}
const fn default_app_address() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}
