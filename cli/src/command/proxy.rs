//! `weft proxy …`: the sidecars.

use clap::Subcommand;
use serde_json::{Value, json};
use weft_gateway::admin::view::{ListView, ProxyView};

use super::Outcome;
use crate::args::Global;
use crate::client::Client;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// The state of sidecars.
#[derive(Debug, Subcommand)]
pub(crate) enum Proxy {
    /// The sidecars that have a session with the asked gateway.
    Status,
    /// What a sidecar decides on, read from its admin port.
    Config {
        /// The sidecar's admin address: `127.0.0.1:15020`.
        target: std::net::SocketAddr,
    },
}

impl Proxy {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Status => {
                let mut client = Client::connect(global).await?;
                let list: ListView<ProxyView> = client.ask("proxies", json!({})).await?;
                status(&list, global.output);
            }
            Self::Config { target } => {
                let body = crate::client::fetch(target, "/config", global.timeout).await?;
                let config: Value = serde_json::from_slice(&body).map_err(|error| {
                    Problem::new(
                        weft_model::code::UNREACHABLE,
                        format!("{target} does not answer as a sidecar"),
                    )
                    .detail(error)
                })?;
                let format = if global.output == Format::Table {
                    Format::Yaml
                } else {
                    global.output
                };
                output::value(format, &config);
            }
        }
        Ok(Exit::Done)
    }
}

fn status(list: &ListView<ProxyView>, format: Format) {
    match format {
        Format::Json | Format::Yaml => output::value(format, list),
        Format::Name => list
            .items
            .iter()
            .for_each(|proxy| output::data(&proxy.identity)),
        Format::Table | Format::Wide => output::table(
            &["SIDECAR", "ENDPOINTS"],
            list.items
                .iter()
                .map(|proxy| vec![proxy.identity.clone(), proxy.endpoints.to_string()]),
        ),
    }
}
