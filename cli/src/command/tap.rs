//! `weft tap`: single requests as they are answered, or as a file has them.

mod filter;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;
use serde_json::json;
use weft_gateway::admin::view::{TapEventView, TapLine};
use weft_model::StatusMatch;

use super::{Outcome, stop_signal};
use crate::args::{Global, parse_lifetime};
use crate::client::Client;
use crate::complete;
use crate::output::{self, Format};
use crate::problem::Exit;

const EXAMPLES: &str = "\
Examples:
  weft tap shop/checkout                    requests to one service, for ten seconds
  weft tap --from ap-south --status 5xx --for 1m
  weft tap -o ndjson > seen.ndjson          one JSON document a line
  weft tap --read seen.ndjson --path /pay   the same filters over what was seen

Requests are shown by whoever sends them, when the head of the answer is there: without bodies and
queries, and with the values of a few header fields; of others the name alone. What cannot be shown
in time is counted as dropped, and holds up nobody. Opaque connections are not shown.";

/// Shows requests from every caller in the federation, a line each.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tap {
    /// Only to this service, NAMESPACE/NAME; or NAME with -n.
    #[arg(add = ArgValueCandidates::new(complete::services))]
    service: Option<String>,
    /// Only from this cluster or region.
    #[arg(
        long,
        value_name = "CLUSTER|REGION",
        add = ArgValueCandidates::new(complete::clusters)
    )]
    from: Option<String>,
    /// Only answered in this cluster or region.
    #[arg(
        long,
        value_name = "CLUSTER|REGION",
        add = ArgValueCandidates::new(complete::clusters)
    )]
    to: Option<String>,
    /// Only answered in this region.
    #[arg(long)]
    region: Option<String>,
    /// Only with this status (503), or one of these (5xx).
    #[arg(long)]
    status: Option<StatusMatch>,
    /// Only by this method.
    #[arg(long)]
    method: Option<String>,
    /// Only with a path that begins so.
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// How long.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_lifetime, default_value = "10s")]
    lasting: Duration,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max: u64,
    /// Read what `-o ndjson` wrote instead; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "lasting")]
    read: Option<PathBuf>,
}

impl Tap {
    pub(crate) async fn run(mut self, global: &Global) -> Outcome {
        if let (Some(service), Some(namespace)) = (&self.service, &global.namespace)
            && !service.contains('/')
        {
            self.service = Some(format!("{namespace}/{service}"));
        }
        match self.read.clone() {
            Some(path) => read::run(&self, &path, global.output),
            None => self.watch(global).await,
        }
    }

    async fn watch(self, global: &Global) -> Outcome {
        let mut client = Client::connect(global).await?;
        let arguments = json!({
            "service": self.service,
            "from": self.from,
            "to": self.to,
            "region": self.region,
            "status": self.status.map(|status| status.to_string()),
            "method": self.method,
            "path": self.path,
            "forMs": u64::try_from(self.lasting.as_millis()).unwrap_or(u64::MAX),
            "max": self.max,
        });
        let mut lines = client.tap(&arguments).await?;
        let mut printer = Printer::new(global.output);
        let mut stop = std::pin::pin!(stop_signal());
        loop {
            let line = tokio::select! {
                line = lines.next() => line?,
                _ = &mut stop => return Ok(Exit::Done),
            };
            match line {
                Some(line) => printer.print(&line),
                None => return Ok(Exit::Done),
            }
        }
    }
}

/// Prints line by line: nobody knows how wide the next one is.
struct Printer {
    format: Format,
    began: bool,
}

impl Printer {
    fn new(format: Format) -> Self {
        Self {
            format,
            began: false,
        }
    }

    fn print(&mut self, line: &TapLine) {
        match (self.format, line) {
            (Format::Json | Format::Yaml, line) => output::one_of_many(self.format, line),
            (Format::Name, TapLine::Event(event)) => {
                output::data(event.service.as_deref().unwrap_or("-"));
            }
            (Format::Table | Format::Wide, TapLine::Event(event)) => {
                if !std::mem::replace(&mut self.began, true) {
                    output::data(&row(&HEADER.map(str::to_owned)));
                }
                output::data(&row(&cells(event)));
                if self.format == Format::Wide {
                    wide(event);
                }
            }
            (_, TapLine::End(end)) => {
                for silent in &end.silent {
                    output::narrate(&format!(
                        "{}/{} does not answer ({}): its callers are missing",
                        silent.cluster, silent.gateway, silent.why
                    ));
                }
                output::narrate(&format!("{} seen, {} dropped", end.seen, end.dropped));
            }
        }
    }
}

const HEADER: [&str; 7] = ["TIME", "FROM", "SERVICE", "TO", "STATUS", "TOOK", "REQUEST"];
const WIDTHS: [usize; 6] = [12, 24, 16, 14, 6, 7];

fn row(cells: &[String; 7]) -> String {
    let columns = cells.iter().zip(WIDTHS);
    let mut line: String = columns
        .map(|(cell, width)| format!("{cell:<width$}  "))
        .collect();
    line.push_str(&cells[6]);
    line
}

fn cells(event: &TapEventView) -> [String; 7] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        clock_time(event.time_ms),
        format!(
            "{} {}",
            event.source_cluster,
            caller(&event.source_identity)
        ),
        or_none(&event.service),
        or_none(&event.destination_cluster),
        event.status.to_string(),
        super::top::time(Some(event.latency_us as f64 / 1000.0)),
        match &event.reason {
            None => format!("{} {}", event.method, event.path),
            Some(reason) => format!("{} {} ({reason})", event.method, event.path),
        },
    ]
}

fn wide(event: &TapEventView) {
    let version = event.version.as_deref().unwrap_or("-");
    let endpoint = event.endpoint.as_deref().unwrap_or("-");
    let source = &event.source_identity;
    output::data(&format!("  {source} to {endpoint}, version {version}"));
    for header in &event.headers {
        let value = header.value.as_deref().unwrap_or("(not told)");
        output::data(&format!("  {}: {value}", header.name));
    }
}

/// The last part of an identity: the service account, or the gateway.
fn caller(identity: &str) -> &str {
    identity.rsplit('/').next().unwrap_or(identity)
}

/// The time of day, UTC: `14:02:11.123`.
fn clock_time(millis: u64) -> String {
    let day = millis % 86_400_000;
    let (seconds, millis) = (day / 1000, day % 1000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_that_of_utc() {
        assert_eq!(clock_time(0), "00:00:00.000");
        assert_eq!(clock_time(1_700_000_000_123), "22:13:20.123");
    }
}
