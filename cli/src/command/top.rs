//! `weft top`: traffic by service or region, and the tunnels, as all gateways see them.

mod tunnels;

use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use weft_gateway::admin::view::{ObservedView, RegionTrafficView, ServiceTrafficView, SumView};

use super::Outcome;
use crate::args::{Global, parse_duration};
use crate::client::Client;
use crate::complete;
use crate::live::{self, Look, Mode};
use crate::output::{self, Format};
use crate::problem::Problem;
use tunnels::Tunnels;

const EXAMPLES: &str = "\
Examples:
  weft top                                  services, live; q quits
  weft top services --from eu-west          as callers of one region meet them
  weft top -w -o json | jq .                one JSON document a line

SUCCESS counts answers of 5xx and requests that nobody answered as failures; LOCAL% is the share
answered in the caller's region, REROUTED the share that went to another endpoint than the first
one chosen. -o wide tells counts, and how old each gateway's newest report is.";

/// Counts come from whoever sent the requests, in steps of 15 s, for the last five minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Top {
    /// What to sum by.
    #[arg(value_enum, default_value_t)]
    what: What,
    #[command(flatten)]
    looking: Looking,
    /// What comes first.
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Go on in a pipe too; on a terminal it does anyway.
    #[arg(short, long)]
    watch: bool,
}

/// What part of the traffic is looked at.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Looking {
    /// Only requests sent from this cluster or region.
    #[arg(
        long,
        value_name = "CLUSTER|REGION",
        add = ArgValueCandidates::new(complete::clusters)
    )]
    pub(crate) from: Option<String>,
    #[command(flatten)]
    pub(crate) window: Window,
}

/// How long a time is looked at.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Window {
    /// How far back, at most five minutes.
    #[arg(
        id = "window",
        long = "window",
        value_name = "WINDOW",
        value_parser = parse_window,
        default_value = "60s"
    )]
    pub(crate) span: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Services, by the callers' region.
    #[default]
    Services,
    /// Pairs of regions.
    Regions,
    /// Every gateway's connections to the others, as it sees them.
    Tunnels,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    /// Names, in the order of the alphabet.
    #[default]
    Name,
    /// The most requests.
    Rps,
    /// The least success.
    Success,
    /// The slowest.
    P99,
}

/// How often a live view looks: as often as something new can be there.
const EVERY: Duration = Duration::from_secs(2);

fn parse_window(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        window if window < Duration::from_secs(1) => Err("at least 1s".to_owned()),
        window if window > Duration::from_secs(300) => Err("at most 5m is kept".to_owned()),
        window => Ok(window),
    }
}

impl Looking {
    /// As the gateway reads it.
    pub(crate) fn arguments(&self) -> serde_json::Value {
        json!({ "from": self.from, "windowMs": self.window.millis() })
    }
}

impl Window {
    pub(crate) fn millis(self) -> u64 {
        u64::try_from(self.span.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Top {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let client = Client::connect(global).await?;
        let mode = Mode::of(self.watch, global.output);
        let (top, format) = (self, global.output);
        match top.what {
            What::Services => {
                let sums = Sums::<ServiceTrafficView>::new(client, top, format);
                live::run(sums, mode, EVERY).await
            }
            What::Regions => {
                let sums = Sums::<RegionTrafficView>::new(client, top, format);
                live::run(sums, mode, EVERY).await
            }
            What::Tunnels => {
                let from = top.looking.from;
                live::run(Tunnels::new(client, from, format), mode, EVERY).await
            }
        }
    }
}

/// A row of a table of sums.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// The question that is answered with such rows.
    const QUESTION: &'static str;
    /// What the first columns are called.
    const NAMES: [&'static str; 2];

    fn names(&self) -> [String; 2];
    fn sum(&self) -> &SumView;
}

impl Row for ServiceTrafficView {
    const QUESTION: &'static str = "top-services";
    const NAMES: [&'static str; 2] = ["NAME", "REGION"];

    fn names(&self) -> [String; 2] {
        [self.service.clone(), self.region.clone()]
    }

    fn sum(&self) -> &SumView {
        &self.sum
    }
}

impl Row for RegionTrafficView {
    const QUESTION: &'static str = "top-regions";
    const NAMES: [&'static str; 2] = ["FROM", "TO"];

    fn names(&self) -> [String; 2] {
        let to = self.to.clone().unwrap_or_else(|| "nobody".to_owned());
        [self.from.clone(), to]
    }

    fn sum(&self) -> &SumView {
        &self.sum
    }
}

/// Sums, asked for again and again.
struct Sums<R> {
    client: Client,
    top: Top,
    format: Format,
    rows: std::marker::PhantomData<R>,
}

impl<R: Row> Sums<R> {
    fn new(client: Client, top: Top, format: Format) -> Self {
        Self {
            client,
            top,
            format,
            rows: std::marker::PhantomData,
        }
    }

    fn text(&self, seen: &ObservedView<R>) -> Option<String> {
        let rows = seen.items.iter().map(|row| cells(row, self.format));
        output::table_text(&header::<R>(self.format), rows)
    }
}

impl<R: Row> Look for Sums<R> {
    type Seen = ObservedView<R>;

    async fn look(&mut self) -> Result<Self::Seen, Problem> {
        let arguments = self.top.looking.arguments();
        let mut seen: Self::Seen = self.client.ask(R::QUESTION, arguments).await?;
        sort(&mut seen.items, self.top.sort);
        Ok(seen)
    }

    fn print(&self, seen: &Self::Seen, mode: Mode) {
        match (self.format, mode) {
            (Format::Json | Format::Yaml, Mode::Once) => output::value(self.format, seen),
            (Format::Json | Format::Yaml, _) => output::one_of_many(self.format, seen),
            (Format::Name, _) => seen
                .items
                .iter()
                .for_each(|row| output::data(&row.names()[0])),
            (Format::Table | Format::Wide, _) => {
                match self.text(seen) {
                    Some(text) => output::data(&text),
                    None => output::narrate("no request was sent in that time"),
                }
                missing(seen).iter().for_each(|line| output::narrate(line));
                if self.format == Format::Wide {
                    ages(seen).iter().for_each(|line| output::narrate(line));
                }
            }
        }
    }

    fn screen(&self, seen: &Self::Seen) -> String {
        let looking = &self.top.looking;
        let from = looking.from.as_deref().unwrap_or("everywhere");
        let head = format!(
            "requests from {from}, last {} s   told by {} of {} gateways   q quits\n\n",
            looking.window.span.as_secs(),
            seen.heard.len(),
            seen.heard.len() + seen.silent.len(),
        );
        let table = self.text(seen);
        let table = table.unwrap_or_else(|| "no request was sent in that time".to_owned());
        let missing = missing(seen).join("\n");
        format!("{head}{table}\n\n{missing}")
    }
}

fn sort<R: Row>(rows: &mut [R], by: Sort) {
    let least = |share: Option<f64>| share.unwrap_or(f64::INFINITY);
    let most = |number: f64| -number;
    let key = |row: &R| match by {
        Sort::Name => 0.0,
        Sort::Rps => most(row.sum().rps),
        Sort::Success => least(row.sum().success),
        Sort::P99 => most(row.sum().p99_ms.unwrap_or(0.0)),
    };
    rows.sort_by(|a, b| {
        let by_key = key(a).total_cmp(&key(b));
        by_key.then_with(|| a.names().cmp(&b.names()))
    });
}

fn header<R: Row>(format: Format) -> Vec<&'static str> {
    let sums = ["RPS", "SUCCESS", "P50", "P95", "P99", "LOCAL%", "REROUTED"];
    let more = ["REQUESTS", "FAILED", "UNANSWERED"];
    let more = more.into_iter().filter(|_| format == Format::Wide);
    R::NAMES.into_iter().chain(sums).chain(more).collect()
}

fn cells<R: Row>(row: &R, format: Format) -> Vec<String> {
    let sum = row.sum();
    let mut cells = Vec::from(row.names());
    cells.extend([
        format!("{:.1}", sum.rps),
        percent(sum.success),
        time(sum.p50_ms),
        time(sum.p95_ms),
        time(sum.p99_ms),
        percent(sum.local),
        percent(sum.rerouted),
    ]);
    if format == Format::Wide {
        let counts = [sum.requests, sum.failures, sum.unanswered];
        cells.extend(counts.map(|count| count.to_string()));
    }
    cells
}

/// `99.93%`, `100%`; never 100 of what is not all.
pub(crate) fn percent(share: Option<f64>) -> String {
    match share {
        None => "-".to_owned(),
        Some(1.0) => "100%".to_owned(),
        Some(0.0) => "0%".to_owned(),
        Some(share) => format!("{:.2}%", (share * 100.0).clamp(0.01, 99.99)),
    }
}

/// `0.4ms`, `81ms`, `1.3s`.
pub(crate) fn time(millis: Option<f64>) -> String {
    match millis {
        None => "-".to_owned(),
        Some(time) if time < 10.0 => format!("{time:.1}ms"),
        Some(time) if time < 1000.0 => format!("{time:.0}ms"),
        Some(time) => format!("{:.1}s", time / 1000.0),
    }
}

/// What is not in the sums.
pub(crate) fn missing<T>(seen: &ObservedView<T>) -> Vec<String> {
    let silent = seen.silent.iter().map(|silent| {
        format!(
            "{}/{} does not answer ({}): its callers are missing",
            silent.cluster, silent.gateway, silent.why
        )
    });
    let left_out = (seen.left_out > 0).then(|| {
        format!(
            "{} requests are in no row: there were more flows than are kept",
            seen.left_out
        )
    });
    silent.chain(left_out).collect()
}

/// How old what each gateway told is.
fn ages<T>(seen: &ObservedView<T>) -> Vec<String> {
    let heard = seen.heard.iter().map(|heard| {
        let age = match heard.age_ms {
            None => "nothing reported yet".to_owned(),
            Some(age) => format!("newest report {:.1} s old", age as f64 / 1000.0),
        };
        let covered = heard.covered_ms / 1000;
        format!("{}/{}: {covered} s, {age}", heard.cluster, heard.gateway)
    });
    heard.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_only_if_they_are() {
        let check = |share: Option<f64>, expect: &str| assert_eq!(percent(share), expect);
        check(None, "-");
        check(Some(1.0), "100%");
        check(Some(0.0), "0%");
        check(Some(0.99999), "99.99%");
        check(Some(0.00001), "0.01%");
        check(Some(0.9612), "96.12%");
    }

    #[test]
    fn times_are_short() {
        let check = |millis: f64, expect: &str| assert_eq!(time(Some(millis)), expect);
        check(0.42, "0.4ms");
        check(81.3, "81ms");
        check(1300.0, "1.3s");
    }

    #[test]
    fn a_window_is_what_is_kept() {
        assert!(parse_window("1s").is_ok());
        assert!(parse_window("5m").is_ok());
        assert!(parse_window("0s").is_err());
        assert!(parse_window("6m").is_err());
    }
}
