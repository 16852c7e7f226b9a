//! `weft ping`: one connection to a service, step by step.

use std::num::NonZeroU16;
use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;
use serde_json::json;
use weft_gateway::admin::view::{PingStepView, PingView, StatusView};
use weft_model::{ClusterName, Code, code};

use super::Outcome;
use super::status::microseconds;
use crate::args::{Global, parse_duration};
use crate::client::Client;
use crate::complete;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

const EXAMPLES: &str = "\
Examples:
  weft ping shop/checkout
  weft ping shop/payments --from ap-south -c 3

A gateway picks an endpoint as a request would and opens a real connection to it, up to the first
byte: the app sees one that ends at once. `tunnel` is there and back between the two gateways;
`relay` goes through it and on to the endpoint's sidecar; `handshake` is mutual TLS with that
sidecar; `app` waits until the app has accepted. It exits 1 if a step fails, and names its code.";

/// Measures what a connection takes, and which step takes it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ping {
    /// The service, NAMESPACE/NAME; or NAME with -n.
    #[arg(add = ArgValueCandidates::new(complete::services))]
    service: String,
    /// Its port; the first if left out.
    #[arg(long)]
    port: Option<NonZeroU16>,
    /// From where: a gateway of this cluster or region.
    #[arg(
        long,
        value_name = "CLUSTER|REGION",
        add = ArgValueCandidates::new(complete::clusters)
    )]
    from: Option<String>,
    /// How many.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// How long between two.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    interval: Duration,
}

impl Ping {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut client = connect(global, self.from.as_deref()).await?;
        let service = match (self.service.contains('/'), &global.namespace) {
            (false, Some(namespace)) => format!("{namespace}/{}", self.service),
            _ => self.service,
        };
        let mut exit = Exit::Done;
        for number in 0..self.count {
            if number > 0 {
                tokio::time::sleep(self.interval).await;
            }
            let arguments = json!({ "service": service, "port": self.port });
            let ping: PingView = client.ask("ping", arguments).await?;
            match (global.output, self.count) {
                (Format::Json | Format::Yaml, 1) => output::value(global.output, &ping),
                (Format::Json | Format::Yaml, _) => output::one_of_many(global.output, &ping),
                (Format::Name, _) => output::data(&ping.endpoint),
                (Format::Table | Format::Wide, _) => print(&ping, number == 0),
            }
            if failure(&ping).is_some() {
                exit = Exit::Failed;
            }
        }
        Ok(exit)
    }
}

/// A gateway of the cluster or region that is named.
async fn connect(global: &Global, from: Option<&str>) -> Result<Client, Problem> {
    let Some(from) = from else {
        return Client::connect(global).await;
    };
    let mut client = Client::connect(global).await?;
    let status: StatusView = client.status(false).await?;
    let mut members = status.clusters.iter();
    let meant = members.find(|member| member.name == from || member.region == from);
    let meant = meant.and_then(|member| ClusterName::new(&member.name).ok());
    let cluster = meant.ok_or_else(|| {
        let what = format!("there is no cluster or region {from:?}");
        Problem::new(code::NO_SUCH_PLACE, what)
    })?;
    if status.cluster == cluster.as_str() {
        return Ok(client);
    }
    let global = Global {
        cluster: Some(cluster),
        ..global.clone()
    };
    Client::connect(&global).await
}

/// The step that failed; without any it did not even begin.
fn failure(ping: &PingView) -> Option<&PingStepView> {
    ping.steps.iter().find(|step| step.us.is_none())
}

fn print(ping: &PingView, is_first: bool) {
    if is_first {
        output::data(&format!(
            "{} port {}, from {}",
            ping.service, ping.port, ping.from
        ));
    }
    let version = ping.version.as_deref().unwrap_or("-");
    output::data(&format!(
        "endpoint {:.8} in {}, version {version}",
        ping.endpoint, ping.cluster
    ));
    let slowest = ping.steps.iter().filter_map(own).max();
    for step in &ping.steps {
        let mark = match own(step) {
            Some(time) if Some(time) == slowest && ping.steps.len() > 1 => "  <- the most",
            _ => "",
        };
        let time = match (&step.us, &step.code) {
            (None, Some(code)) => code.clone(),
            (time, _) => microseconds(*time),
        };
        output::data(&format!(
            "  {:<9}  {time:>9}  {}{mark}",
            step.hop, step.what
        ));
    }
    match failure(ping) {
        None => {
            // The tunnel alone is measured beside the connection, not as part of it.
            let steps = ping.steps.iter().filter(|step| step.hop != "tunnel");
            let total = steps.filter_map(|step| step.us).sum::<u64>();
            output::data(&format!("→ connected in {}", microseconds(Some(total))));
        }
        Some(step) => {
            let code = step.code.as_deref().and_then(Code::find);
            let what = code.map_or("it failed", |code| code.title);
            let next = code.map_or("", |code| code.next);
            output::data(&format!("→ {} failed: {what}\n  next  {next}", step.hop));
        }
    }
}

/// What a step adds to the connection.
fn own(step: &PingStepView) -> Option<u64> {
    step.us.filter(|_| step.hop != "tunnel")
}
