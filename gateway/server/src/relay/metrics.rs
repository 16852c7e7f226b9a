//! What the relay counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use weft_decide::Reason;

/// The counters of the relay. Clones share them.
#[derive(Clone)]
pub struct RelayMetrics {
    /// Connections that are open, in either direction.
    pub(super) open: IntGauge,
    /// Connections made.
    pub(super) connected: IntCounter,
    /// Bytes from TCP into tunnels.
    pub(super) bytes_out: IntCounter,
    /// Bytes from tunnels to TCP.
    pub(super) bytes_in: IntCounter,
    refused: IntCounterVec,
}

impl RelayMetrics {
    pub(super) fn new() -> Self {
        let refused = Opts::new(
            "weft_relay_refusals_total",
            "Connections that were not made",
        );
        Self {
            open: IntGauge::new(
                "weft_relay_connections",
                "Relayed connections that are open",
            )
            .expect(VALID),
            connected: counter("weft_relay_connections_total", "Relayed connections made"),
            bytes_out: counter("weft_relay_sent_bytes_total", "Bytes from TCP into tunnels"),
            bytes_in: counter(
                "weft_relay_received_bytes_total",
                "Bytes from tunnels to TCP",
            ),
            refused: IntCounterVec::new(refused, &["reason"]).expect(VALID),
        }
    }

    /// Adds them to a registry.
    ///
    /// # Errors
    /// The registry has metrics of the same names.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.open.clone()))?;
        registry.register(Box::new(self.connected.clone()))?;
        registry.register(Box::new(self.bytes_out.clone()))?;
        registry.register(Box::new(self.bytes_in.clone()))?;
        registry.register(Box::new(self.refused.clone()))
    }

    /// Relayed connections that are open now.
    pub fn open(&self) -> i64 {
        self.open.get()
    }

    /// Bytes taken from TCP into tunnels so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.get()
    }

    pub(super) fn refused(&self, reason: Reason) {
        self.refused.with_label_values(&[reason.label()]).inc();
    }

    /// Counts a connection as open until the returned value is dropped.
    pub(super) fn opened(&self) -> Open {
        self.connected.inc();
        self.open.inc();
        Open(self.open.clone())
    }
}

pub(super) struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect(VALID)
}

const VALID: &str = "metric names are constants that Prometheus allows";
