//! `weft dev status`: what runs where. Fields are only ever added.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::contexts;
use super::federation::{Federation, Phase, app_of, sidecar_of};
use super::plan::{ClusterPlan, GatewayPlan, WorkloadPlan};

/// The whole federation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DevStatus {
    pub(crate) api_version: String,
    /// Every process is up, and every region serves.
    pub(crate) ready: bool,
    /// Milliseconds from the start to that.
    pub(crate) ready_after_ms: Option<u64>,
    /// The process that runs it.
    pub(crate) pid: u32,
    pub(crate) dir: PathBuf,
    pub(crate) logs: PathBuf,
    /// The context of the admin commands.
    pub(crate) context: String,
    pub(crate) clusters: Vec<ClusterStatus>,
    /// Links that are cut, each by its two clusters.
    pub(crate) cut: Vec<(String, String)>,
    pub(crate) load: Vec<LoadStatus>,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterStatus {
    pub(crate) name: String,
    pub(crate) region: String,
    /// Whether its plug was pulled.
    pub(crate) broken: bool,
    #[serde(rename = "virtualIPs")]
    pub(crate) virtual_ips: String,
    pub(crate) gateways: Vec<GatewayStatus>,
    pub(crate) workloads: Vec<WorkloadStatus>,
}

/// A gateway; addresses are `host:port`, and `pid` is null while it does not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayStatus {
    pub(crate) name: String,
    pub(crate) pid: Option<u32>,
    /// UDP.
    pub(crate) tunnel: String,
    pub(crate) api: String,
    pub(crate) relay: String,
    pub(crate) dns: String,
    pub(crate) console: String,
}

/// A workload; addresses are `host:port`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkloadStatus {
    /// `namespace/name`.
    pub(crate) service: String,
    pub(crate) version: String,
    /// The sample's own process.
    pub(crate) pid: Option<u32>,
    /// Its sidecar's process.
    pub(crate) sidecar_pid: Option<u32>,
    /// Where the sample itself listens.
    pub(crate) address: String,
    /// The sidecar's HTTP proxy for it.
    pub(crate) outbound: String,
    /// Where the sidecar listens for peers.
    pub(crate) inbound: String,
    /// The sidecar's health and metrics.
    pub(crate) admin: String,
}

/// The customers of one region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadStatus {
    pub(crate) region: String,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    /// Median of the last hundred answers, microseconds.
    pub(crate) median_us: Option<u64>,
}

impl Federation {
    /// What runs where, now.
    pub(super) fn status(&self) -> DevStatus {
        let ready_after_ms = match self.phase.get() {
            Phase::Ready { after } => Some(after.as_millis() as u64),
            Phase::Starting | Phase::Stopping => None,
        };
        let broken = self.broken.borrow();
        let cut = broken
            .links
            .iter()
            .map(|(a, b)| (a.to_string(), b.to_string()));
        let load = self.load.recent().into_iter().map(|figures| LoadStatus {
            region: figures.region.to_string(),
            ok: figures.ok,
            failed: figures.failed,
            median_us: figures.median.map(|median| median.as_micros() as u64),
        });
        DevStatus {
            api_version: "weft.dev/v1".to_owned(),
            ready: ready_after_ms.is_some(),
            ready_after_ms,
            pid: std::process::id(),
            dir: self.folder.root().to_owned(),
            logs: self.folder.logs(),
            context: contexts::NAME.to_owned(),
            clusters: self
                .plan
                .clusters
                .iter()
                .map(|cluster| self.cluster_status(cluster))
                .collect(),
            cut: cut.collect(),
            load: load.collect(),
        }
    }

    fn cluster_status(&self, cluster: &ClusterPlan) -> ClusterStatus {
        ClusterStatus {
            name: cluster.name.to_string(),
            region: cluster.region.to_string(),
            broken: self.broken.borrow().clusters.contains(&cluster.name),
            virtual_ips: cluster.virtual_ips.to_string(),
            gateways: cluster
                .gateways
                .iter()
                .map(|gateway| self.gateway_status(gateway))
                .collect(),
            workloads: cluster
                .workloads
                .iter()
                .map(|workload| self.workload_status(workload))
                .collect(),
        }
    }

    fn gateway_status(&self, gateway: &GatewayPlan) -> GatewayStatus {
        GatewayStatus {
            name: gateway.name.to_string(),
            pid: self.pid(&gateway.id()),
            tunnel: gateway.tunnel.to_string(),
            api: gateway.api.to_string(),
            relay: gateway.relay.to_string(),
            dns: gateway.dns.to_string(),
            console: gateway.console.to_string(),
        }
    }

    fn workload_status(&self, workload: &WorkloadPlan) -> WorkloadStatus {
        WorkloadStatus {
            service: workload.service.to_string(),
            version: workload.version.to_string(),
            pid: self.pid(&app_of(workload)),
            sidecar_pid: self.pid(&sidecar_of(workload)),
            address: workload.app.to_string(),
            outbound: workload.outbound.to_string(),
            inbound: workload.inbound.to_string(),
            admin: workload.admin.to_string(),
        }
    }
}
