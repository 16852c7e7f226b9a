//! What a tunnel needs to know, and the QUIC transport that follows from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use weft_identity::{BundleSource, SvidSource};
use weft_model::{GatewayName, NodeId};

use super::through::Relaying;
use crate::workers::Workers;

/// Everything [`Tunnels::start`](super::Tunnels::start) is given.
pub struct TunnelConfig {
    /// What it takes to go through a third cluster, and to be one; without it, neither.
    pub relaying: Option<Relaying>,
    /// The UDP address that peers dial; every worker listens on it.
    pub bind: SocketAddr,
    /// This gateway's Raft id.
    pub node: NodeId,
    /// This gateway's name, for its peers' logs.
    pub gateway: GatewayName,
    /// The threads to run on.
    pub workers: Workers,
    /// Who this gateway is; read at every handshake, so that a rotation needs no restart.
    pub svid: SvidSource,
    /// Whom it trusts, by trust domain; read at every handshake.
    pub bundles: BundleSource,
    /// Sizes and times.
    pub tuning: Tuning,
}

/// Sizes and times of the QUIC transport.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Bytes that a peer may have in flight on one stream. Default 2 MiB: one
    /// stream fills 100 Mbit/s at 160 ms. Memory per slow reader rises with it.
    pub stream_window: u32,
    /// Bytes that a peer may have in flight on one connection, and that we keep
    /// for retransmission. Default 16 MiB, which bounds a connection's memory.
    pub connection_window: u32,
    /// Streams that a peer may have open on one connection. Default 4096.
    pub streams_max: u32,
    /// How long a silent connection is kept. Default 10 s.
    pub idle: Duration,
    /// The largest UDP payload that path discovery tries, in bytes. Default
    /// 1452 (Ethernet, IPv6). At most [`MTU_MAX`]; larger values are lowered to it.
    pub mtu_max: u16,
    /// Bytes of each UDP socket's kernel buffers. Default 4 MiB: at the
    /// system's usual 208 KiB a burst loses thousands of packets.
    pub socket_buffer: usize,
    /// How a sender reacts to loss.
    pub congestion: Congestion,
}

/// The congestion controller of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Congestion {
    /// RFC 9438. The default: fair to other traffic, and understood. It takes
    /// random loss for congestion, so a lossy long path carries little.
    #[default]
    Cubic,
    /// BBR as quinn has it: fills lossy long paths, but is marked experimental
    /// there and is not fair to CUBIC on shallow queues.
    Bbr,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            stream_window: 2 << 20,
            connection_window: 16 << 20,
            streams_max: 4096,
            idle: Duration::from_secs(10),
            mtu_max: 1452,
            socket_buffer: 4 << 20,
            congestion: Congestion::default(),
        }
    }
}

impl Tuning {
    /// The transport of both sides. Until the peer's hello has been judged it may
    /// open one stream, the one that carries the hello.
    pub(super) fn transport(&self) -> Arc<TransportConfig> {
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(1))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .receive_window(VarInt::from_u32(self.connection_window))
            .send_window(u64::from(self.connection_window))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(self.idle_timeout()))
            .keep_alive_interval(Some(KEEP_ALIVE))
            .initial_mtu(1200)
            .mtu_discovery_config(Some(self.mtu_discovery()));
        if self.congestion == Congestion::Bbr {
            transport
                .congestion_controller_factory(Arc::new(quinn::congestion::BbrConfig::default()));
        }
        Arc::new(transport)
    }

    fn idle_timeout(&self) -> IdleTimeout {
        let millis = u32::try_from(self.idle.as_millis()).unwrap_or(u32::MAX);
        IdleTimeout::from(VarInt::from_u32(millis))
    }

    fn mtu_discovery(&self) -> MtuDiscoveryConfig {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(self.mtu_max.clamp(1200, MTU_MAX));
        discovery
    }
}

/// The highest [`Tuning::mtu_max`]: the kernel takes ten segments at a time, and
/// ten larger ones exceed a UDP datagram, which quinn notices only as loss.
pub const MTU_MAX: u16 = 6500;

/// How often an idle connection is probed. Well under [`SILENCE`], so that one
/// lost probe and its retransmission fit in between.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// After this long without a datagram a path is suspected: a second connection
/// is dialled beside the first, because the first one's probes back off and
/// would take seconds to notice that the path has healed.
pub(super) const SILENCE: Duration = Duration::from_secs(3);
