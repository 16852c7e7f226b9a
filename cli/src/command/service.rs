//! `weft service …`.

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use serde_json::{Value, json};
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
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut client = Client::connect(global).await?;
        match self {
            Self::List => {
                let list: ListView<ServiceView> = client.ask("services", json!({})).await?;
                match global.as_of {
                    Some(_) => services_past(&list, global.output),
                    None => services(&list, global.output),
                }
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

/// Services as the log had them: what was ready is not in it, and not shown as none.
fn services_past(list: &ListView<ServiceView>, format: Format) {
    match format {
        Format::Json | Format::Yaml => output::value(format, &without_ready(list)),
        Format::Name => services(list, format),
        Format::Table | Format::Wide => output::table(
            &[
                "SERVICE",
                "TYPE",
                "PORTS",
                "VIRTUAL IP",
                "EXPORTED BY",
                "CONFLICTS",
            ],
            list.items.iter().map(|service| {
                vec![
                    service.name.clone(),
                    service.service_type.clone(),
                    service.ports.join(","),
                    service.virtual_ips.join(","),
                    service.exporters.join(","),
                    service.conflicts.join(","),
                ]
            }),
        ),
    }
}

fn without_ready(list: &ListView<ServiceView>) -> Value {
    let mut document = json!(list);
    let items = document.get_mut("items").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
        item.remove("ready");
    }
    document
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

#[cfg(test)]
mod tests {
    use weft_gateway::admin::view::Freshness;

    use super::*;

    #[test]
    fn what_was_ready_is_left_out_of_the_past_and_nothing_else() {
        let list = ListView {
            api_version: "weft.dev/v1".into(),
            freshness: Freshness::default(),
            items: vec![ServiceView {
                name: "shop/web".into(),
                service_type: "ClusterSetIP".into(),
                ports: vec!["80/http".into()],
                virtual_ips: vec!["240.0.0.1".into()],
                exporters: vec!["a".into()],
                ready: Vec::new(),
                conflicts: Vec::new(),
            }],
        };
        let mut whole = json!(list);
        let past = without_ready(&list);
        assert_eq!(past["items"][0].get("ready"), None);
        let ready = whole["items"][0].as_object_mut().unwrap().remove("ready");
        assert_eq!(ready, Some(json!([])));
        assert_eq!(past, whole);
    }
}
