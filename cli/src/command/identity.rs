//! `weft identity …`.

use std::time::Duration;

use clap::Subcommand;
use weft_model::{ServiceAccount, ServiceKey, code};

use super::Outcome;
use crate::args::{Global, parse_lifetime};
use crate::client::Client;
use crate::output;
use crate::problem::{Exit, Problem};

/// Identities and enrolment.
#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// Enrolment tokens of sidecars.
    #[command(subcommand)]
    Token(Token),
}

/// Enrolment tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token that gives a sidecar its first identity, in the asked cluster.
    Create {
        /// The workload: `namespace/service-account`.
        #[arg(long)]
        workload: String,
        /// How long it works.
        #[arg(long, value_parser = parse_lifetime, default_value = "10m")]
        ttl: Duration,
    },
}

impl Identity {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let Self::Token(Token::Create { workload, ttl }) = self;
        let wrong = |error: String| {
            Problem::new(
                code::USAGE,
                format!("{workload:?} is not namespace/service-account: {error}"),
            )
        };
        let key: ServiceKey = workload
            .parse()
            .map_err(|error: weft_model::NameError| wrong(error.to_string()))?;
        let account =
            ServiceAccount::new(key.name.as_str()).map_err(|error| wrong(error.to_string()))?;
        let mut client = Client::connect(global).await?;
        output::data(&client.workload_token(key.namespace, account, ttl).await?);
        Ok(Exit::Done)
    }
}
