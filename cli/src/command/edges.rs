//! `weft edges`: who calls whom, proved by certificates, and what is not encrypted.

use weft_gateway::admin::view::{EdgeView, ObservedView};

use super::Outcome;
use super::top::{Looking, missing, percent};
use crate::args::Global;
use crate::client::Client;
use crate::output::{self, Format};
use crate::problem::Exit;

const EXAMPLES: &str = "\
Examples:
  weft edges                                who called whom in the last minute
  weft edges -o wide                        with both identities
  weft edges --secured false -o json        what is in the clear somewhere, and why

SECURED says whether it is mutual TLS from one workload's sidecar to the other's, whatever is
between. Where a gateway stands in for a sidecar, the part beyond it is not: `no_tls_reason` in
JSON says which.";

/// Reads the same counts as `weft top`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Edges {
    #[command(flatten)]
    looking: Looking,
    /// Only those that are, or are not, encrypted all the way.
    #[arg(long, value_name = "true|false")]
    secured: Option<bool>,
}

impl Edges {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut client = Client::connect(global).await?;
        let mut seen: ObservedView<EdgeView> =
            client.ask("edges", self.looking.arguments()).await?;
        if let Some(secured) = self.secured {
            seen.items.retain(|edge| edge.secured == secured);
        }
        match global.output {
            Format::Json | Format::Yaml => output::value(global.output, &seen),
            Format::Name => seen.items.iter().for_each(|edge| {
                output::data(&format!("{} {}", edge.source, edge.destination));
            }),
            Format::Table | Format::Wide => print(&seen, global.output),
        }
        Ok(Exit::Done)
    }
}

fn print(seen: &ObservedView<EdgeView>, format: Format) {
    let columns = ["SRC", "DST", "SRC_NS", "DST_NS", "SECURED", "PATH"];
    let more = ["RPS", "SUCCESS", "SRC_ID", "DST_ID"];
    let more = more.into_iter().filter(|_| format == Format::Wide);
    let header: Vec<&str> = columns.into_iter().chain(more).collect();
    output::table(&header, seen.items.iter().map(|edge| cells(edge, format)));
    missing(seen).iter().for_each(|line| output::narrate(line));
}

fn cells(edge: &EdgeView, format: Format) -> Vec<String> {
    let mut cells = vec![
        edge.source.clone(),
        edge.destination.clone(),
        edge.source_namespace.clone().unwrap_or_else(|| "-".into()),
        edge.destination_namespace.clone(),
        if edge.secured { "yes" } else { "no" }.to_owned(),
        match edge.path.as_str() {
            "direct" => format!("in {}", edge.source_cluster),
            path => path.to_owned(),
        },
    ];
    if format == Format::Wide {
        cells.extend([
            format!("{:.1}", edge.sum.rps),
            percent(edge.sum.success),
            edge.source_identity.clone(),
            edge.destination_identity.clone(),
        ]);
    }
    cells
}
