//! `weft route explain`.

use clap::Subcommand;
use serde_json::json;
use weft_gateway::admin::view::ExplanationView;

use super::Outcome;
use crate::args::Global;
use crate::client::Client;
use crate::output::{self, Format};
use crate::problem::Exit;

/// How a request would travel.
#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    /// Say where a request would go from the asked cluster, and why not elsewhere.
    Explain {
        /// The method: GET.
        method: String,
        /// The address: `http://checkout.shop/path`.
        url: String,
        /// A header field of the request, `NAME: VALUE`; may be given more than once.
        #[arg(short = 'H', long = "header", value_name = "FIELD")]
        headers: Vec<String>,
    },
}

impl Route {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let Self::Explain {
            method,
            url,
            headers,
        } = self;
        let mut client = Client::connect(global).await?;
        let explanation: ExplanationView = client
            .ask(
                "route-explain",
                json!({ "method": method, "url": url, "headers": headers }),
            )
            .await?;
        Ok(print(&explanation, global.output))
    }
}

/// Prints steps and outcome; exits 1 if the outcome is a refusal.
pub(crate) fn print(explanation: &ExplanationView, format: Format) -> Exit {
    match format {
        Format::Json | Format::Yaml => output::value(format, explanation),
        Format::Name => output::data(&explanation.result),
        Format::Table | Format::Wide => {
            output::data(&explanation.question);
            for step in &explanation.steps {
                output::data(&format!(
                    "  {:8} {:40} {}",
                    step.verdict, step.subject, step.reason
                ));
            }
            let code = explanation
                .code
                .as_ref()
                .map(|code| format!("   ({code})"))
                .unwrap_or_default();
            output::data(&format!("→ {}{code}", explanation.result));
        }
    }
    if explanation.code.is_some() {
        Exit::Failed
    } else {
        Exit::Done
    }
}
