//! What `weft netcheck`, `weft top tunnels` and `weft ping` are answered with.

use serde::{Deserialize, Serialize};

use super::Freshness;

/// `weft netcheck`: the network as one gateway sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetcheckView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh intent is.
    pub freshness: Freshness,
    /// Who looked.
    pub cluster: String,
    /// Its gateway.
    pub gateway: String,
    /// This side.
    pub local: LocalView,
    /// The other gateways.
    pub peers: Vec<PeerView>,
}

/// The gateway's own socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalView {
    /// Where it listens, UDP.
    pub listen: String,
    /// Bytes that its socket may hold for it.
    pub receive_buffer: u64,
    /// Bytes that its socket may hold for the network.
    pub send_buffer: u64,
    /// Whether the kernel cuts one large write into datagrams.
    pub gso: bool,
    /// Whether the kernel hands over several datagrams at once.
    pub gro: bool,
}

/// One other gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// Its cluster.
    pub cluster: String,
    /// Its region.
    pub region: String,
    /// Its name.
    pub gateway: String,
    /// `up`, `through eu-west-1`, `silent`, `draining` or `down`.
    pub path: String,
    /// For how long that has been so.
    pub lasting_ms: u64,
    /// QUIC packets sent to it.
    pub sent: u64,
    /// The share of them that were lost, 0 to 1; none of none.
    pub loss: Option<f64>,
    /// Data connections in use.
    pub data_connections: u64,
    /// The control connection, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionView>,
    /// How far its clock is ahead, while it answers and was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockView>,
}

/// One QUIC connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionView {
    /// The peer's UDP address.
    pub address: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// `here` or `there`.
    pub dialled: String,
    /// Smoothed round-trip time.
    pub rtt_us: u64,
    /// The largest UDP payload that the path is known to carry.
    pub mtu: u16,
    /// The congestion window, in bytes.
    pub congestion_window: u64,
    /// How often packets of the size in use stopped arriving.
    pub black_holes: u64,
    /// What the handshake took, with the hello.
    pub handshake_us: u64,
}

/// A peer's wall clock, against this gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockView {
    /// Milliseconds it is ahead; negative if it is behind.
    pub ahead_ms: f64,
    /// How far off that may be.
    pub margin_ms: f64,
}

/// A row of `weft top tunnels`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelView {
    /// Who looked.
    pub from_cluster: String,
    /// Its gateway.
    pub from_gateway: String,
    /// Whom at.
    pub to: PeerView,
}

/// `weft ping`: one connection, step by step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PingView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// The service.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// From which gateway, `cluster/gateway`.
    pub from: String,
    /// The endpoint picked.
    pub endpoint: String,
    /// Its cluster.
    pub cluster: String,
    /// Its version label.
    pub version: Option<String>,
    /// The identity that it has to prove.
    pub identity: String,
    /// The steps, in order; after one that failed there is none.
    pub steps: Vec<PingStepView>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PingStepView {
    /// `tunnel`, `relay`, `sidecar`, `handshake` or `app`.
    pub hop: String,
    /// Between which ends.
    pub what: String,
    /// What it took; none if it failed.
    pub us: Option<u64>,
    /// Why it failed, as `WEFT-4003`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}
