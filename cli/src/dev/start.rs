//! How the federation comes up: everything as early as what it needs allows.
//!
//! ```text
//! samples                                    need nobody
//! found us-east-1/gw-1 ─ ready ─┬─ its exports, its sidecars
//!                               ├─ admit us-east-1/gw-2
//!                               ├─ admit eu-west-1/gw-1 ─ ready ── its exports, its sidecars
//!                               └─ admit ap-south-1/gw-1 ─ …
//! all ready ─ a customer is served in every region
//! ```

use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use weft_model::code;

use super::contexts;
use super::federation::{Federation, sidecar_of};
use super::files;
use super::plan::{ClusterPlan, GatewayPlan, WorkloadPlan};
use crate::problem::Problem;

/// How long the first customers may wait.
const SERVED_WAIT: Duration = Duration::from_secs(60);

impl Federation {
    /// Brings everything up, and returns once every region serves. `kept` is a
    /// federation that was founded before.
    pub(super) async fn bring_up(&self, kept: bool) -> Result<(), Problem> {
        self.write_files()?;
        self.plan
            .workloads()
            .try_for_each(|workload| self.start_app(workload))?;
        if kept {
            self.resume().await?;
        } else {
            self.found().await?;
            self.folder.mark(&self.options)?;
        }
        self.note("everyone is ready", "federation");
        let served = tokio::time::timeout(SERVED_WAIT, self.load.until_served()).await;
        served.map_err(|_| {
            Problem::new(
                code::PROCESS_FAILED,
                "the sample shop does not answer in every region",
            )
            .detail(format!(
                "every process is ready; logs: {}",
                self.folder.logs().display()
            ))
        })
    }

    fn write_files(&self) -> Result<(), Problem> {
        self.folder.make(&self.folder.logs())?;
        self.folder
            .write(&self.folder.sample_release(), files::RELEASE)?;
        for cluster in &self.plan.clusters {
            self.folder.write(
                &self.folder.exports(&cluster.name),
                &files::exports(cluster),
            )?;
            for gateway in &cluster.gateways {
                let folder = self.folder.gateway(gateway);
                let text = files::gateway(cluster, gateway, &folder.join("state"));
                self.folder.write(&folder.join("gateway.yaml"), &text)?;
            }
            for workload in &cluster.workloads {
                let folder = self.folder.workload(workload);
                let (state, token) = (folder.join("state"), folder.join("token"));
                let text = files::sidecar(cluster, workload, &state, &token);
                self.folder.write(&folder.join("sidecar.yaml"), &text)?;
            }
        }
        Ok(())
    }

    async fn found(&self) -> Result<(), Problem> {
        let founder = self.plan.founder();
        let config = self.folder.gateway(founder).join("gateway.yaml");
        self.admin.found(&config, &self.plan.domain).await?;
        contexts::select()?;
        self.note("founded", &founder.id());
        self.run_gateway(founder).await?;
        try_join_all(
            self.plan
                .clusters
                .iter()
                .map(|cluster| self.bring_up_cluster(cluster)),
        )
        .await?;
        Ok(())
    }

    /// A cluster's first gateway, then all else in it at once.
    async fn bring_up_cluster(&self, cluster: &ClusterPlan) -> Result<(), Problem> {
        let mut gateways = cluster.gateways.iter();
        if let Some(first) = gateways.next()
            && first.id() != self.plan.founder().id()
        {
            self.admit(cluster, first).await?;
        }
        let further = try_join_all(gateways.map(|gateway| self.admit(cluster, gateway)));
        let exports = self.folder.exports(&cluster.name);
        let exports = self.admin.apply(&cluster.name, &exports);
        let sidecars = try_join_all(
            cluster
                .workloads
                .iter()
                .map(|workload| self.enrol(workload)),
        );
        try_join(try_join(further, sidecars), exports).await?;
        Ok(())
    }

    /// Makes a gateway a member, as its operator would, and starts it.
    async fn admit(&self, cluster: &ClusterPlan, gateway: &GatewayPlan) -> Result<(), Problem> {
        let token = self
            .admin
            .join_token(&cluster.name, &cluster.region)
            .await?;
        let config = self.folder.gateway(gateway).join("gateway.yaml");
        self.admin
            .join(&self.plan.founder().api.to_string(), &token, &config)
            .await?;
        self.note("joined", &gateway.id());
        self.run_gateway(gateway).await
    }

    async fn run_gateway(&self, gateway: &GatewayPlan) -> Result<(), Problem> {
        self.start_gateway(gateway)?;
        self.until_ready(&gateway.id(), gateway.console).await?;
        self.note("ready", &gateway.id());
        Ok(())
    }

    /// Gives a sidecar the token for its first identity, and starts it.
    async fn enrol(&self, workload: &WorkloadPlan) -> Result<(), Problem> {
        let token = self
            .admin
            .workload_token(&workload.cluster, &workload.service)
            .await?;
        let path = self.folder.workload(workload).join("token");
        self.folder.write(&path, &(token + "\n"))?;
        self.note("token", &workload.id());
        self.run_sidecar(workload).await
    }

    async fn run_sidecar(&self, workload: &WorkloadPlan) -> Result<(), Problem> {
        self.start_sidecar(workload)?;
        self.until_ready(&sidecar_of(workload), workload.admin)
            .await?;
        self.note("ready", &workload.id());
        Ok(())
    }

    /// For whoever asks where the time goes: `weft -v dev`.
    fn note(&self, what: &'static str, who: &str) {
        let after = self.begun.elapsed().as_millis() as u64;
        tracing::debug!(after_ms = after, who, "{what}");
    }

    /// Starts what a kept folder holds: everyone is a member and has an identity.
    async fn resume(&self) -> Result<(), Problem> {
        contexts::select()?;
        let gateways = self
            .plan
            .gateways()
            .map(|gateway| self.run_gateway(gateway));
        let sidecars = self
            .plan
            .workloads()
            .map(|workload| self.run_sidecar(workload));
        try_join(try_join_all(gateways), try_join_all(sidecars)).await?;
        Ok(())
    }
}
