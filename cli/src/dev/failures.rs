//! Breaking the federation on purpose, and mending it.

use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use tokio::time::Instant;
use weft_model::{ClusterName, code};

use super::federation::{Federation, app_of, sidecar_of};
use super::load::Since;
use crate::problem::Problem;

/// Time without a failed request after which traffic counts as settled.
const CALM: Duration = Duration::from_secs(2);
/// How long a command waits for that.
const CALM_WAIT: Duration = Duration::from_secs(20);
/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long healing waits before it looks whether more has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Federation {
    /// Pulls a cluster's plug: SIGKILL to all its processes. Returns what the other
    /// regions' customers saw of it.
    pub(super) async fn break_cluster(&self, cluster: &ClusterName) -> Result<String, Problem> {
        self.known(cluster)?;
        self.broken.borrow_mut().clusters.insert(cluster.clone());
        self.load.pause(cluster, true);
        let moment = Instant::now();
        self.kill_cluster(cluster).await;
        let seen = self.settle(moment).await;
        Ok(format!(
            "{cluster} is off: every process of it was killed\n{seen}"
        ))
    }

    /// Cuts the network between two clusters.
    pub(super) async fn break_link(
        &self,
        a: &ClusterName,
        b: &ClusterName,
    ) -> Result<String, Problem> {
        self.known(a)?;
        self.known(b)?;
        let Some(wide_area) = &self.wide_area else {
            return Err(
                Problem::new(code::REFUSED, "there is no emulated network to cut")
                    .detail("this federation runs with --wan off"),
            );
        };
        if a == b {
            return Err(Problem::new(
                code::USAGE,
                format!("{a} has no link to itself"),
            ));
        }
        let moment = Instant::now();
        wide_area.cut(&self.plan, a, b).await?;
        let link = if a < b {
            (a.clone(), b.clone())
        } else {
            (b.clone(), a.clone())
        };
        self.broken.borrow_mut().links.insert(link);
        let seen = self.settle(moment).await;
        Ok(format!("{a} and {b} cannot reach each other\n{seen}"))
    }

    /// Mends everything: joins cut links, and starts every process that has ended
    /// with the state it left. Returns once all are ready and have found each other.
    pub(super) async fn heal(&self, wait: Duration) -> Result<String, Problem> {
        let links = self.broken.borrow().links.clone();
        if let Some(wide_area) = &self.wide_area {
            for (a, b) in &links {
                wide_area.heal(&self.plan, a, b).await?;
            }
        }
        self.broken.borrow_mut().links.clear();
        let restarted = self.mend(wait).await?;
        let clusters = std::mem::take(&mut self.broken.borrow_mut().clusters);
        clusters
            .iter()
            .for_each(|cluster| self.load.pause(cluster, false));
        Ok(format!(
            "{} links joined, {} processes started again",
            links.len(),
            restarted,
        ))
    }

    /// Starts what has ended until everything is there again; how many it started. A process
    /// that was killed a moment ago may be known to have ended a moment later.
    async fn mend(&self, wait: Duration) -> Result<usize, Problem> {
        let deadline = Instant::now() + wait;
        let mut restarted = 0;
        loop {
            let ended = self.ended();
            restarted += ended.len();
            self.restart(&ended).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            match self.until_whole(left.min(LOOK_AGAIN)).await {
                Ok(()) => return Ok(restarted),
                Err(missing) if Instant::now() >= deadline => return Err(missing),
                Err(_) => {}
            }
        }
    }

    async fn restart(&self, ended: &[String]) -> Result<(), Problem> {
        let has_ended = |id: &String| ended.contains(id);
        let gateways = self
            .plan
            .gateways()
            .filter(|gateway| has_ended(&gateway.id()));
        let sidecars = self
            .plan
            .workloads()
            .filter(|workload| has_ended(&sidecar_of(workload)));
        for app in self
            .plan
            .workloads()
            .filter(|workload| has_ended(&app_of(workload)))
        {
            self.start_app(app)?;
        }
        let gateways = try_join_all(gateways.map(|gateway| async move {
            self.start_gateway(gateway)?;
            self.until_ready(&gateway.id(), gateway.console).await
        }));
        let sidecars = try_join_all(sidecars.map(|workload| async move {
            self.start_sidecar(workload)?;
            self.until_ready(&sidecar_of(workload), workload.admin)
                .await
        }));
        try_join(gateways, sidecars).await.map(drop)
    }

    /// Waits until no customer has met a failure for a while, or for so long that it
    /// will not come.
    async fn settle(&self, moment: Instant) -> String {
        loop {
            let (seen, passed) = (self.load.since(moment), moment.elapsed());
            let calm = passed - seen.last_failure.unwrap_or_default();
            if calm >= CALM || passed >= CALM_WAIT {
                return describe(&seen, calm >= CALM);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn known(&self, cluster: &ClusterName) -> Result<(), Problem> {
        if self.plan.cluster(cluster).is_some() {
            return Ok(());
        }
        let names: Vec<&str> = self
            .plan
            .clusters
            .iter()
            .map(|known| known.name.as_str())
            .collect();
        Err(
            Problem::new(code::USAGE, format!("there is no cluster {cluster}"))
                .next(format!("Name one of {}.", names.join(", "))),
        )
    }
}

/// `traffic elsewhere moved in 1.4 s: 3 of 41 requests failed`.
fn describe(seen: &Since, settled: bool) -> String {
    let Since {
        visits,
        failed,
        last_failure,
    } = seen;
    match last_failure {
        None => format!("traffic elsewhere went on: none of {visits} requests failed"),
        Some(last) if settled => format!(
            "traffic elsewhere moved in {:.1} s: {failed} of {visits} requests failed",
            last.as_secs_f32()
        ),
        Some(_) => format!("traffic elsewhere still fails: {failed} of {visits} requests so far"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_said_in_one_line() {
        let seen = Since {
            visits: 41,
            failed: 3,
            last_failure: Some(Duration::from_millis(1440)),
        };
        assert_eq!(
            describe(&seen, true),
            "traffic elsewhere moved in 1.4 s: 3 of 41 requests failed"
        );
        assert_eq!(
            describe(&seen, false),
            "traffic elsewhere still fails: 3 of 41 requests so far"
        );
        assert_eq!(
            describe(
                &Since {
                    visits: 40,
                    ..Since::default()
                },
                true
            ),
            "traffic elsewhere went on: none of 40 requests failed"
        );
    }
}
