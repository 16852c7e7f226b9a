//! What tunnels count. Handles are kept, so that counting is one atomic add.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The counters of all tunnels of a process.
#[derive(Clone)]
pub struct TunnelMetrics {
    /// Connections established, after the hello.
    pub(super) connected: IntCounter,
    /// Dials that failed.
    pub(super) dials_failed: IntCounter,
    /// Connections refused or given up by this side, by reason.
    pub(super) refused: IntCounterVec,
    /// Raft messages dropped because a peer was slow or away.
    pub(super) raft_dropped: IntCounter,
    /// Streams opened by peers and accepted.
    pub(super) streams: IntCounterVec,
    /// Detours that this gateway refused to carry or to take in, by reason.
    pub(super) detours_refused: IntCounterVec,
    /// Bytes carried between two other clusters.
    pub(super) detoured: IntCounter,
    /// Links that are up.
    pub(super) links: IntGauge,
}

impl TunnelMetrics {
    pub(super) fn new() -> Self {
        Self {
            connected: counter("weft_tunnel_connections_total", "Connections established"),
            dials_failed: counter("weft_tunnel_dial_failures_total", "Dials that failed"),
            refused: labelled(
                "weft_tunnel_refusals_total",
                "Connections that this gateway refused",
                "reason",
            ),
            raft_dropped: counter(
                "weft_tunnel_raft_messages_dropped_total",
                "Raft messages dropped because a peer was slow or away",
            ),
            streams: labelled(
                "weft_tunnel_streams_total",
                "Streams opened by peers",
                "kind",
            ),
            detours_refused: labelled(
                "weft_tunnel_detours_refused_total",
                "Connections that were not carried, or not taken in, through a third cluster",
                "reason",
            ),
            detoured: counter(
                "weft_tunnel_detoured_bytes_total",
                "Bytes carried between two other clusters",
            ),
            links: IntGauge::new("weft_tunnel_connections", "Connections that are up")
                .expect(VALID),
        }
    }

    /// Adds them to a registry.
    ///
    /// # Errors
    /// The registry has metrics of the same names.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.connected.clone()))?;
        registry.register(Box::new(self.dials_failed.clone()))?;
        registry.register(Box::new(self.refused.clone()))?;
        registry.register(Box::new(self.raft_dropped.clone()))?;
        registry.register(Box::new(self.streams.clone()))?;
        registry.register(Box::new(self.links.clone()))
    }

    /// Raft messages dropped so far.
    pub fn raft_dropped(&self) -> u64 {
        self.raft_dropped.get()
    }

    /// Connections established so far.
    pub fn connected(&self) -> u64 {
        self.connected.get()
    }
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect(VALID)
}

fn labelled(name: &str, help: &str, label: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), &[label]).expect(VALID)
}

const VALID: &str = "metric names are constants that Prometheus allows";
