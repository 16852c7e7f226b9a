//! What a stand-in counts beside the forwarding itself.

use prometheus::{IntCounter, IntGauge, Registry};

/// Series of the stand-in. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct StandInMetrics {
    listeners: IntGauge,
    unbound: IntGauge,
    fronted: IntGauge,
    refused: IntCounter,
}

impl StandInMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let refused = IntCounter::new(
            "weft_stand_in_refused_total",
            "Connections reset because every worker was full",
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self {
            listeners: gauge(
                "weft_stand_in_listeners",
                "Addresses and ports answered on for clients without a sidecar",
            )?,
            unbound: gauge(
                "weft_stand_in_unbound",
                "Addresses and ports that should be answered on but could not be bound",
            )?,
            fronted: gauge(
                "weft_stand_in_fronted_servers",
                "Servers without a sidecar that are fronted",
            )?,
            refused,
        })
    }

    pub(super) fn listening(&self, open: usize, unbound: usize) {
        self.listeners.set(number(open));
        self.unbound.set(number(unbound));
    }

    pub(super) fn fronting(&self, servers: usize) {
        self.fronted.set(number(servers));
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
