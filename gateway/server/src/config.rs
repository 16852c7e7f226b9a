//! `gateway.yaml`: kind `GatewayConfig`, checked once, then handed down in narrow parts.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::{
    ApiVersion, ClusterName, GatewayName, GatewayRole, HostPort, RegionName, VirtualIpRanges,
    ZoneName, duration,
};
use weft_proxy::capture::{Rules, Table};

/// The file as its author writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayConfigFile {
    /// The format's version.
    pub api_version: ApiVersion,
    /// Always `GatewayConfig`.
    pub kind: GatewayConfigKind,
    /// The gateway's name.
    pub metadata: GatewayMetadata,
    /// Everything else.
    pub spec: GatewayConfig,
}

/// The one kind of this file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GatewayConfigKind {
    /// It.
    #[default]
    GatewayConfig,
}

/// The gateway's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayMetadata {
    /// Its name within its cluster.
    pub name: GatewayName,
}

/// What a gateway needs to know before it can ask anybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayConfig {
    /// The cluster it belongs to.
    pub cluster: ClusterName,
    /// The cluster's region; needed by `init` and `join`.
    pub region: RegionName,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// `member`: it keeps the log on its disk, and votes if its cluster's role lets it. `follower`:
    /// it has no vote and keeps no log, and is no cluster's first gateway. Settled when it joins.
    /// Default `member`.
    #[serde(default)]
    pub role: GatewayRole,
    /// Has a follower that is told to stop leave the federation: it drains, then its record goes,
    /// and its folder is of no more use. Default false.
    #[serde(default)]
    pub leave_on_stop: bool,
    /// Where it keeps its log, identity and last known catalog; a follower only its identity.
    pub state_dir: PathBuf,
    /// The file with the key that encrypts private keys in `stateDir`; made on first use.
    /// Default: `key` beside the state folder's own files. Keep it on another disk if you can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The one UDP port between gateways.
    #[serde(default = "tunnel_default")]
    pub tunnel: ListenPublic,
    /// The gRPC API.
    #[serde(default = "api_default")]
    pub api: ListenPublic,
    /// Where this cluster's sidecars bring connections for other clusters.
    #[serde(default = "relay_default")]
    pub relay: ListenAdvertise,
    /// DNS.
    #[serde(default)]
    pub dns: DnsConfig,
    /// Console, metrics and health.
    #[serde(default = "console_default")]
    pub console: Listen,
    /// Where this cluster answers for services.
    #[serde(default = "virtual_ips_default", rename = "virtualIPs")]
    pub virtual_ips: VirtualIpRanges,
    /// Standing in for sidecars that are not there.
    #[serde(default)]
    pub stand_in: StandInConfig,
    /// Lifetimes of identities.
    #[serde(default)]
    pub identity: IdentityConfig,
    /// Data-plane threads; 0 is one per core. More: more throughput, more memory.
    #[serde(default)]
    pub workers: usize,
    /// How long a stopping gateway waits for running connections. Default 10s.
    #[serde(with = "duration", default = "drain_default")]
    #[schemars(with = "String")]
    pub drain: Duration,
}

/// An address to listen on, and what others reach it by, be they in other networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenPublic {
    /// Listen here. `[::]` is every address of both families.
    #[schemars(with = "String")]
    pub bind: SocketAddr,
    /// Others reach it here: an address, or a name that is resolved at each dial and may
    /// have addresses of both families. Left out: the same as `bind`, unless that is unspecified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub advertise: Option<HostPort>,
}

impl ListenPublic {
    /// What others use; none if nothing sensible is known.
    pub fn advertised(&self) -> Option<HostPort> {
        let bound = || (!self.bind.ip().is_unspecified()).then(|| self.bind.into());
        self.advertise.clone().or_else(bound)
    }
}

/// An address to listen on, and the one others in the cluster use if it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenAdvertise {
    /// Listen here.
    #[schemars(with = "String")]
    pub bind: SocketAddr,
    /// Others reach it here; left out: the same, unless `bind` is unspecified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub advertise: Option<SocketAddr>,
}

impl ListenAdvertise {
    /// The address others use; none if nothing sensible is known.
    pub fn advertised(&self) -> Option<SocketAddr> {
        self.advertise
            .or_else(|| (!self.bind.ip().is_unspecified()).then_some(self.bind))
    }
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listen {
    /// Listen here.
    #[schemars(with = "String")]
    pub bind: SocketAddr,
}

/// The gateway's DNS service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsConfig {
    /// Listen here, UDP and TCP.
    #[serde(default = "dns_bind_default")]
    #[schemars(with = "String")]
    pub bind: SocketAddr,
    /// Our own zone beside `clusterset.local`.
    #[serde(default = "zone_default")]
    pub zone: String,
    /// Resolvers that are asked for every other name; none: such questions are refused.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub upstreams: Vec<SocketAddr>,
    /// Answer AAAA questions from the IPv6 range. Off where virtual IPs are IPv4 only.
    #[serde(default)]
    pub aaaa: bool,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            bind: dns_bind_default(),
            zone: zone_default(),
            upstreams: Vec::new(),
            aaaa: false,
        }
    }
}

/// Standing in for sidecars that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StandInConfig {
    /// Answer on the cluster's virtual IPs, for clients without a sidecar.
    #[serde(default = "yes")]
    pub clients: bool,
    /// Answer for all of them on one port, to which `weft capture on --gateway` has the kernel
    /// redirect connections. Default: a listener for each address and port, without any rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<StandInCapture>,
    /// Where connections for servers without a sidecar arrive (inner mTLS).
    #[serde(default = "stand_in_default")]
    pub inbound: ListenAdvertise,
}

impl Default for StandInConfig {
    fn default() -> Self {
        Self {
            clients: true,
            capture: None,
            inbound: stand_in_default(),
        }
    }
}

/// One listener for all virtual IPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StandInCapture {
    /// On every address of the machine; a connection that nothing redirected is refused.
    /// Default 15003.
    #[serde(default = "capture_port_default")]
    pub port: NonZeroU16,
}

/// Lifetimes of identities. Shorter: a stolen key is worth less, and renewal works more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityConfig {
    /// Of leaf certificates, renewed at half. Default 24h.
    #[serde(with = "duration", default = "leaf_default")]
    #[schemars(with = "String")]
    pub leaf_lifetime: Duration,
    /// Of the cluster's CA. Default 8760h, a year.
    #[serde(with = "duration", default = "ca_default")]
    #[schemars(with = "String")]
    pub ca_lifetime: Duration,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            leaf_lifetime: leaf_default(),
            ca_lifetime: ca_default(),
        }
    }
}

const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
const ANY_OF_BOTH: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn listen(ip: IpAddr, port: u16) -> ListenAdvertise {
    ListenAdvertise {
        bind: SocketAddr::new(ip, port),
        advertise: None,
    }
}
fn public(port: u16) -> ListenPublic {
    ListenPublic {
        bind: SocketAddr::new(ANY_OF_BOTH, port),
        advertise: None,
    }
}
fn tunnel_default() -> ListenPublic {
    public(7443)
}
fn api_default() -> ListenPublic {
    public(7444)
}
fn relay_default() -> ListenAdvertise {
    listen(ANY, 7445)
}
fn stand_in_default() -> ListenAdvertise {
    listen(ANY, 7446)
}
const CAPTURE_PORT: NonZeroU16 = NonZeroU16::new(15003).unwrap();

const fn capture_port_default() -> NonZeroU16 {
    CAPTURE_PORT
}
fn console_default() -> Listen {
    Listen {
        bind: SocketAddr::new(LOOPBACK, 7480),
    }
}
fn dns_bind_default() -> SocketAddr {
    SocketAddr::new(LOOPBACK, 8653)
}
fn zone_default() -> String {
    "weft.internal".into()
}
fn virtual_ips_default() -> VirtualIpRanges {
    VirtualIpRanges {
        ipv4: ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(240, 0, 0, 0), 16),
        ipv6: None,
    }
}
fn yes() -> bool {
    true
}
fn leaf_default() -> Duration {
    Duration::from_secs(24 * 3600)
}
fn ca_default() -> Duration {
    Duration::from_secs(365 * 24 * 3600)
}
fn drain_default() -> Duration {
    Duration::from_secs(10)
}

impl GatewayConfig {
    /// Data-plane threads.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            stated => stated,
        }
    }

    /// What the kernel has to redirect to `standIn.capture`, if there is one.
    pub fn capture_rules(&self) -> Option<Rules> {
        let capture = self.stand_in.capture?;
        let VirtualIpRanges { ipv4, ipv6 } = self.virtual_ips;
        let ranges = [Some(ipv4.into()), ipv6.map(Into::into)];
        Some(Rules {
            table: Table::Gateway,
            exempt: BTreeSet::new(),
            ranges: ranges.into_iter().flatten().collect(),
            port: capture.port,
            dns: None,
        })
    }

    /// The file whose key encrypts private keys.
    pub fn key_path(&self) -> PathBuf {
        self.key_file
            .clone()
            .unwrap_or_else(|| self.state_dir.join("key"))
    }
}
