//! Whether the federation is whole: every gateway sees every other, and every workload.
//!
//! Read from the gateways' own metrics, as an operator's monitoring would.

use std::time::Duration;

use tokio::time::Instant;
use weft_model::code;

use super::federation::Federation;
use super::http;
use super::plan::{GatewayPlan, Plan};
use crate::problem::Problem;

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

impl Federation {
    /// Waits until each gateway reaches all others, has a session with each sidecar of
    /// its cluster, and knows each endpoint there once.
    ///
    /// # Errors
    /// `wait` has passed: with what is missing.
    pub(super) async fn until_whole(&self, wait: Duration) -> Result<(), Problem> {
        let deadline = Instant::now() + wait;
        let gateways: Vec<&GatewayPlan> = self.plan.gateways().collect();
        for gateway in gateways {
            loop {
                let missing = match http::metrics(gateway.console).await {
                    Ok(metrics) => missing(&self.plan, gateway, &metrics),
                    Err(error) => Some(format!("it does not answer: {error}")),
                };
                let Some(missing) = missing else { break };
                if Instant::now() >= deadline {
                    return Err(overdue(gateway, &missing));
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(())
    }
}

fn overdue(gateway: &GatewayPlan, missing: &str) -> Problem {
    let what = format!("{} is not whole yet: {missing}", gateway.id());
    Problem::new(code::WAIT_OVER, what)
        .detail("every process runs and is ready")
        .next("It may still come: weft status; wait longer: weft dev heal --wait 5m")
}

/// The first thing that a gateway lacks, by its metrics.
fn missing(plan: &Plan, gateway: &GatewayPlan, metrics: &str) -> Option<String> {
    let others = plan.gateways().filter(|other| other.id() != gateway.id());
    for other in others {
        let series = format!(
            "weft_tunnel_up{{cluster=\"{}\",gateway=\"{}\"}}",
            other.cluster, other.name
        );
        if sum(metrics, &series) != 1 {
            return Some(format!("no tunnel to {}", other.id()));
        }
    }
    let cluster = plan.cluster(&gateway.cluster)?;
    for service in cluster.services() {
        let planned = cluster.workloads.iter().filter(|w| w.service == *service);
        let planned = planned.count() as u64;
        let prefix = format!(
            "weft_endpoints{{cluster=\"{}\",service=\"{service}\",",
            cluster.name
        );
        let known = sum(metrics, &prefix);
        if known != planned {
            return Some(format!("{known} of {planned} endpoints of {service}"));
        }
    }
    let (open, planned) = (
        sum(metrics, "weft_catalog_sessions"),
        cluster.workloads.len(),
    );
    if open < planned as u64 {
        return Some(format!("sessions with {open} of {planned} sidecars"));
    }
    None
}

/// The sum of all series that begin so.
fn sum(metrics: &str, prefix: &str) -> u64 {
    let series = metrics.lines().filter(|line| line.starts_with(prefix));
    let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::*;

    #[test]
    fn what_is_missing_is_named_until_nothing_is() {
        let plan = Plan::new(&Options::default());
        let gateway = plan.founder();
        let mut metrics = String::new();
        let mut check = |add: &str, expect: Option<&str>| {
            metrics.push_str(add);
            assert_eq!(missing(&plan, gateway, &metrics).as_deref(), expect);
        };
        check("", Some("no tunnel to us-east-1/gw-2"));
        check(
            "\
weft_tunnel_up{cluster=\"us-east-1\",gateway=\"gw-2\"} 1
weft_tunnel_up{cluster=\"eu-west-1\",gateway=\"gw-1\"} 1
weft_tunnel_up{cluster=\"ap-south-1\",gateway=\"gw-1\"} 1
",
            Some("0 of 1 endpoints of shop/web"),
        );
        check(
            "\
weft_endpoints{cluster=\"us-east-1\",service=\"shop/web\",state=\"ready\"} 1
weft_endpoints{cluster=\"us-east-1\",service=\"shop/checkout\",state=\"ready\"} 1
weft_endpoints{cluster=\"us-east-1\",service=\"shop/checkout\",state=\"not-ready\"} 1
weft_endpoints{cluster=\"us-east-1\",service=\"shop/payments\",state=\"ready\"} 1
weft_endpoints{cluster=\"us-east-1\",service=\"shop/catalog\",state=\"ready\"} 1
weft_catalog_sessions 4
",
            Some("sessions with 4 of 5 sidecars"),
        );
        check("weft_catalog_sessions 1\n", None);
    }
}
