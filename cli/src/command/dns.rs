//! `weft dns …`.

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use serde_json::json;
use weft_gateway::admin::view::ExplanationView;

use super::Outcome;
use super::route;
use crate::args::Global;
use crate::client::Client;
use crate::complete;

/// Names and answers.
#[derive(Debug, Subcommand)]
pub(crate) enum Dns {
    /// Say how a name is read and what the asked cluster answers, and why.
    Explain {
        /// The name.
        #[arg(add = ArgValueCandidates::new(complete::dns_names))]
        name: String,
        /// The type of record: A, AAAA, SRV or TXT.
        #[arg(long = "type", default_value = "A")]
        record: String,
    },
    /// Print the answer alone.
    Query {
        /// The name.
        #[arg(add = ArgValueCandidates::new(complete::dns_names))]
        name: String,
        /// The type of record.
        #[arg(long = "type", default_value = "A")]
        record: String,
    },
}

impl Dns {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut client = Client::connect(global).await?;
        let (name, record, explain) = match self {
            Self::Explain { name, record } => (name, record, true),
            Self::Query { name, record } => (name, record, false),
        };
        let mut explanation: ExplanationView = client
            .ask("dns-explain", json!({ "name": name, "type": record }))
            .await?;
        if !explain {
            explanation.steps.clear();
        }
        Ok(route::print(&explanation, global.output))
    }
}
