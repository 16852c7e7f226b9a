//! `weft service …`.

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use serde_json::json;
use weft_gateway::admin::view::{EndpointView, ListView, ServiceView};
use weft_model::ServiceKey;

use super::Outcome;
use crate::args::Global;
use crate::client::Client;
use crate::complete;
use crate::output::{self, Format};
use crate::problem::Exit;

/// Services and their endpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// The services that the asked cluster may see.
    List,
    /// The endpoints of one, and which of them take work.
    Endpoints {
        /// `namespace/name`.
        #[arg(add = ArgValueCandidates::new(complete::services))]
        service: ServiceKey,
    },
}

impl Service {
    /// Whether the log alone answers it.
    pub(crate) fn reads_the_past(&self) -> bool {
        matches!(self, Self::List)
    }

    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut client = Client::connect(global).await?;
        match self {
            Self::List => {
                let list: ListView<ServiceView> = client.ask("services", json!({})).await?;
                services(&list, global.output);
            }
            Self::Endpoints { service } => {
                let list: ListView<EndpointView> = client
                    .ask("endpoints", json!({ "service": service }))
                    .await?;
                endpoints(&list, global.output);
            }
        }
        Ok(Exit::Done)
    }
}

fn services(list: &ListView<ServiceView>, format: Format) {
    match format {
        Format::Json | Format::Yaml => output::value(format, list),
        Format::Name => list
            .items
            .iter()
            .for_each(|service| output::data(&service.name)),
        Format::Table | Format::Wide => output::table(
            &[
                "SERVICE",
                "TYPE",
                "PORTS",
                "VIRTUAL IP",
                "READY BY CLUSTER",
                "CONFLICTS",
            ],
            list.items.iter().map(|service| {
                let ready = service
                    .ready
                    .iter()
                    .map(|(cluster, ready)| format!("{cluster} {ready}"));
                vec![
                    service.name.clone(),
                    service.service_type.clone(),
                    service.ports.join(","),
                    service.virtual_ips.join(","),
                    ready.collect::<Vec<_>>().join(", "),
                    service.conflicts.join(","),
                ]
            }),
        ),
    }
}

fn endpoints(list: &ListView<EndpointView>, format: Format) {
    match format {
        Format::Json | Format::Yaml => output::value(format, list),
        Format::Name => list
            .items
            .iter()
            .for_each(|endpoint| output::data(&endpoint.id)),
        Format::Table | Format::Wide => output::table(
            &[
                "ENDPOINT", "CLUSTER", "VERSION", "HEALTH", "WEIGHT", "VERDICT",
            ],
            list.items.iter().map(|endpoint| {
                let id = if format == Format::Wide {
                    endpoint.id.as_str()
                } else {
                    endpoint.id.get(..8).unwrap_or(&endpoint.id)
                };
                vec![
                    id.to_owned(),
                    endpoint.cluster.clone(),
                    endpoint.version.clone().unwrap_or_else(|| "-".into()),
                    endpoint.health.clone(),
                    endpoint.weight.to_string(),
                    endpoint.verdict.clone(),
                ]
            }),
        ),
    }
}
