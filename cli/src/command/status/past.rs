//! `weft status --as-of`: what the log had recorded, and what it had not.

use serde_json::json;
use weft_gateway::admin::view::{PastClusterView, PastServiceView, PastStatusView};
use weft_model::WallTime;

use super::super::{Outcome, release};
use crate::args::Global;
use crate::client::Client;
use crate::clock;
use crate::output::{self, Format};
use crate::problem::Exit;

pub(super) async fn run(global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let status: PastStatusView = client.ask("status", json!({})).await?;
    match global.output {
        Format::Json | Format::Yaml => output::value(global.output, &status),
        Format::Name => status
            .clusters
            .iter()
            .for_each(|cluster| output::data(&cluster.name)),
        Format::Table | Format::Wide => print(&status),
    }
    Ok(Exit::Done)
}

fn print(status: &PastStatusView) {
    output::data(&recorded(status));
    if !status.releases.is_empty() {
        release::table(&status.releases);
        output::data("");
    }
    output::data(&format!("not recorded: {}", status.not_recorded.join("; ")));
}

/// The moment, the members, their gateways and the services.
fn recorded(status: &PastStatusView) -> String {
    let mut text = format!(
        "federation {}   as of index {}, {}   read from {}/{}   format level {}\n",
        status.federation,
        status.as_of.index,
        clock::rfc3339(WallTime(status.as_of.time_ms)),
        status.cluster,
        status.gateway,
        status.format,
    );
    let clusters = status.clusters.iter().map(cluster);
    let header = ["CLUSTER", "REGION", "ROLE", "LEASE", "DRAIN", "GATEWAYS"];
    table(&mut text, &header, clusters);
    let gateways = status.gateways.iter().map(|gateway| {
        vec![
            gateway.node.to_string(),
            format!("{}/{}", gateway.cluster, gateway.gateway),
            gateway.role.clone(),
            gateway.format.to_string(),
        ]
    });
    table(&mut text, &["NODE", "GATEWAY", "ROLE", "FORMAT"], gateways);
    let services = status.services.iter().map(service);
    let header = ["SERVICE", "TYPE", "PORTS", "VIRTUAL IP", "EXPORTED BY"];
    table(&mut text, &header, services);
    text
}

fn table(text: &mut String, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    if let Some(table) = output::table_text(header, rows) {
        text.push('\n');
        text.push_str(&table);
        text.push('\n');
    }
}

fn cluster(cluster: &PastClusterView) -> Vec<String> {
    vec![
        cluster.name.clone(),
        cluster.region.clone(),
        cluster.role.clone(),
        cluster.lease.clone(),
        if cluster.drain { "yes" } else { "no" }.to_owned(),
        cluster.gateways.join(","),
    ]
}

fn service(service: &PastServiceView) -> Vec<String> {
    vec![
        service.name.clone(),
        service.service_type.clone(),
        service.ports.join(","),
        service.virtual_ips.join(","),
        service.exporters.join(","),
    ]
}

#[cfg(test)]
mod tests {
    use weft_gateway::admin::view::{Freshness, MomentView, PastGatewayView};

    use super::*;

    #[test]
    fn the_screen_says_which_moment_and_who_was_a_member() {
        let status = PastStatusView {
            api_version: "weft.dev/v1".into(),
            federation: "fed.example.org".into(),
            cluster: "eu-west-1".into(),
            gateway: "gw-1".into(),
            freshness: Freshness::default(),
            as_of: MomentView {
                index: 41,
                time_ms: 1_772_373_731_512,
            },
            format: 7,
            clusters: vec![PastClusterView {
                name: "eu-west-1".into(),
                region: "eu-west".into(),
                role: "voter".into(),
                lease: "lapsed".into(),
                gateways: vec!["gw-1".into()],
                drain: false,
                api: Vec::new(),
            }],
            gateways: vec![PastGatewayView {
                node: 2,
                cluster: "eu-west-1".into(),
                gateway: "gw-1".into(),
                role: "member".into(),
                format: 7,
            }],
            services: Vec::new(),
            releases: Vec::new(),
            not_recorded: vec!["problems".into()],
        };
        let text = "\
federation fed.example.org   as of index 41, 2026-03-01T14:02:11Z   read from eu-west-1/gw-1   format level 7

CLUSTER    REGION   ROLE   LEASE   DRAIN  GATEWAYS
eu-west-1  eu-west  voter  lapsed  no     gw-1

NODE  GATEWAY         ROLE    FORMAT
2     eu-west-1/gw-1  member  7
";
        assert_eq!(recorded(&status), text);
    }
}
