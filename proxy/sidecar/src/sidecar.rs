//! The running sidecar: data plane and admin port under one handle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin::Admin;
use crate::capture::Forwarder;
use crate::config::Config;
use crate::data_plane::{Addresses, DataPlane, Sources, StartError};
use crate::local::LocalEndpoint;
use crate::metrics::Metrics;

/// A sidecar whose identity and table come from `Sources`, which the control
/// side keeps up to date. The admin port runs on the runtime that started it,
/// never on a worker.
pub struct Sidecar {
    plane: DataPlane,
    admin: JoinHandle<()>,
    admin_address: SocketAddr,
    /// Captured DNS; none if it is not captured.
    dns: Option<Forwarder>,
}

impl Sidecar {
    /// Binds every address, then serves. Call it inside the control runtime.
    pub fn start(
        config: &Config,
        endpoints: Arc<[LocalEndpoint]>,
        sources: &Sources,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let bind = |source| StartError::Bind {
            what: "the admin port",
            address: config.admin,
            source,
        };
        let listener = std::net::TcpListener::bind(config.admin).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let listener = TcpListener::from_std(listener).map_err(bind)?;
        let admin_address = listener.local_addr().map_err(bind)?;
        let plane = DataPlane::start(config, endpoints, sources, metrics)?;
        let dns = config.capture.as_ref().map(Forwarder::start).transpose()?;
        let admin = Admin {
            tables: sources.tables.clone(),
            metrics: metrics.clone(),
            drain: plane.draining(),
        };
        Ok(Self {
            admin: tokio::spawn(admin.serve(listener)),
            plane,
            admin_address,
            dns: dns.flatten(),
        })
    }

    /// Where the data plane listens.
    pub fn addresses(&self) -> &Addresses {
        self.plane.addresses()
    }

    /// Where the admin port listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin_address
    }

    /// Drains the data plane ([`DataPlane::shutdown`]), then closes the admin port.
    pub async fn shutdown(self, deadline: Duration) {
        self.plane.shutdown(deadline).await;
        // To the last: what drains may still ask for names.
        drop(self.dns);
        self.admin.abort();
    }
}
