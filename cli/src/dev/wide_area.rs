//! The emulated network between regions, on a thread of its own, so that what else
//! this process does delays no packet.

use tokio::sync::oneshot;
use weft_model::{ClusterName, code};
use weft_wan::Wan;
use weft_wan::relay::{
    BindError, ControlError, Origin, Pair, Relay, RelayConfig, RelayHandle, SiteId,
};

use super::plan::Plan;
use super::ports;
use crate::problem::Problem;

/// Same seed, same network.
const SEED: u64 = 1;

/// The running network.
#[derive(Debug)]
pub(super) struct WideArea {
    relay: RelayHandle,
}

impl WideArea {
    /// Starts it; none if the plan's gateways reach each other directly.
    pub(super) async fn start(plan: &Plan) -> Result<Option<Self>, Problem> {
        if plan.gateways().all(|gateway| gateway.front.is_none()) {
            return Ok(None);
        }
        let config = config(plan);
        let (bound_out, bound) = oneshot::channel();
        std::thread::Builder::new()
            .name("weft-wan".into())
            .spawn(move || serve(config, bound_out))
            .map_err(|error| failed("its thread", &error))?;
        match bound.await {
            Ok(Ok(relay)) => Ok(Some(Self { relay })),
            Ok(Err(problem)) => Err(problem),
            Err(gone) => Err(failed("its thread", &gone)),
        }
    }

    /// Cuts both directions between two clusters.
    pub(super) async fn cut(
        &self,
        plan: &Plan,
        a: &ClusterName,
        b: &ClusterName,
    ) -> Result<(), Problem> {
        for pair in pairs(plan, a, b) {
            self.relay.cut_link(&pair).await.map_err(refused)?;
        }
        Ok(())
    }

    /// Ends every cut between two clusters.
    pub(super) async fn heal(
        &self,
        plan: &Plan,
        a: &ClusterName,
        b: &ClusterName,
    ) -> Result<(), Problem> {
        for pair in pairs(plan, a, b) {
            self.relay.heal_link(&pair).await.map_err(refused)?;
        }
        Ok(())
    }

    /// Ends it, and waits until its sockets are closed.
    pub(super) async fn stop(&self) {
        let _ended_before = self.relay.shutdown().await;
    }
}

fn serve(config: RelayConfig, bound: oneshot::Sender<Result<RelayHandle, Problem>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return drop(bound.send(Err(failed("its runtime", &error)))),
    };
    runtime.block_on(async {
        match Relay::bind(config) {
            Err(error) => drop(bound.send(Err(unbound(error)))),
            Ok((handle, relay)) => {
                if bound.send(Ok(handle)).is_ok()
                    && let Err(error) = relay.run().await
                {
                    tracing::error!(%error, "the emulated network ended");
                }
            }
        }
    });
}

/// One site and one front per gateway, and a link for each ordered pair of them.
fn config(plan: &Plan) -> RelayConfig {
    let wan = Wan::default_regions();
    let mut config = RelayConfig::new(SEED);
    for gateway in plan.gateways() {
        let id = gateway.id();
        config = config.site(id.as_str(), gateway.tunnel);
        if let Some(front) = gateway.front {
            config = config.front(front, id.as_str(), Origin::ByAddress);
        }
    }
    for from in &plan.clusters {
        for to in &plan.clusters {
            let Some(spec) = wan.spec(from.region.as_str(), to.region.as_str()) else {
                continue;
            };
            for pair in pairs_between(from, to) {
                config.links.insert(pair, spec);
            }
        }
    }
    config
}

/// Every ordered pair of gateways, one of each cluster.
fn pairs(plan: &Plan, a: &ClusterName, b: &ClusterName) -> Vec<Pair> {
    let (Some(a), Some(b)) = (plan.cluster(a), plan.cluster(b)) else {
        return Vec::new();
    };
    pairs_between(a, b)
        .into_iter()
        .flat_map(|pair| [pair.reverse(), pair])
        .collect()
}

fn pairs_between(from: &super::plan::ClusterPlan, to: &super::plan::ClusterPlan) -> Vec<Pair> {
    let ends = from
        .gateways
        .iter()
        .flat_map(|a| to.gateways.iter().map(move |b| (a.id(), b.id())));
    ends.filter(|(a, b)| a != b)
        .map(|(a, b)| Pair::new(SiteId::from(a.as_str()), SiteId::from(b.as_str())))
        .collect()
}

fn unbound(error: BindError) -> Problem {
    match error {
        BindError::Listen { listen, source } => {
            ports::taken(listen, "UDP", "the emulated network", &source)
        }
        BindError::Config(error) => failed("its plan", &error),
    }
}

fn failed(part: &str, error: &dyn std::error::Error) -> Problem {
    Problem::new(
        code::PROCESS_FAILED,
        format!("the emulated network cannot start: {part}"),
    )
    .detail(error)
    .next("Go on without it: weft dev --wan off.")
}

fn refused(error: ControlError) -> Problem {
    Problem::new(code::REFUSED, "the emulated network refused").detail(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::options::Options;
    use super::*;

    #[test]
    fn every_pair_of_gateways_has_the_link_of_its_regions() {
        let config = config(&Plan::new(&Options::default()));
        assert_eq!(config.sites.len(), 4);
        assert_eq!(config.fronts.len(), 4);
        assert_eq!(config.links.len(), 12);
        let delay = |a: &str, b: &str| config.links[&Pair::new(a, b)].delay;
        assert_eq!(
            delay("us-east-1/gw-2", "eu-west-1/gw-1"),
            Duration::from_millis(40)
        );
        assert_eq!(
            delay("ap-south-1/gw-1", "us-east-1/gw-1"),
            Duration::from_millis(90)
        );
        assert_eq!(delay("us-east-1/gw-1", "us-east-1/gw-2"), Duration::ZERO);
    }

    #[test]
    fn a_cut_takes_every_gateway_both_ways() {
        let plan = Plan::new(&Options::default());
        let (us, eu) = (&plan.clusters[0].name, &plan.clusters[1].name);
        assert_eq!(pairs(&plan, us, eu).len(), 4);
    }
}
