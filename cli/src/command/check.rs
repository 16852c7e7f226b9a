//! `weft check`: one line per check, mark first, the way out below each failure.

use std::time::{Duration, Instant};

use serde::Serialize;
use weft_gateway::admin::view::StatusView;
use weft_model::Code;

use super::Outcome;
use super::status::{microseconds, milliseconds};
use crate::args::{Global, parse_duration};
use crate::client::Client;
use crate::output::{self, Format, Mark};
use crate::problem::{Exit, Problem};
use crate::progress::Progress;

/// Between two looks with --wait.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Exits 3 if a check fails, 4 if there are only warnings and --fail-on warn is set.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// What makes the exit status other than 0.
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
    /// Look again until nothing fails, for this long at the most; what fails then is printed.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FailOn {
    /// Failures alone.
    #[default]
    Fail,
    /// Warnings too.
    Warn,
}

/// One check's result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    category: &'static str,
    mark: Mark,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Check {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut client = Client::connect(global).await?;
        let findings = self.look(&mut client).await?;
        match global.output {
            Format::Json | Format::Yaml => output::value(
                global.output,
                &serde_json::json!({ "apiVersion": "weft.dev/v1", "items": findings }),
            ),
            _ => print(&findings),
        }
        let worst = findings.iter().map(|finding| finding.mark).max();
        Ok(match worst {
            Some(Mark::Fail) => Exit::CheckFailed,
            Some(Mark::Warn) if self.fail_on == FailOn::Warn => Exit::Warnings,
            _ => Exit::Done,
        })
    }
}

impl Check {
    /// Looks once, or until nothing fails.
    async fn look(&self, client: &mut Client) -> Result<Vec<Finding>, Problem> {
        let deadline = Instant::now() + self.wait.unwrap_or_default();
        let mut progress = Progress::begin();
        loop {
            let status: StatusView = client.status(false).await?;
            let findings = judge(&status);
            let failing = findings.iter().filter(|finding| finding.mark == Mark::Fail);
            let failing = failing.count();
            if failing == 0 || Instant::now() >= deadline {
                return Ok(findings);
            }
            progress.say(|| format!("{failing} checks fail"));
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

fn print(findings: &[Finding]) {
    let mut category = "";
    for finding in findings {
        if finding.category != category {
            category = finding.category;
            output::data(&format!("{category}\n{}", "-".repeat(category.len())));
        }
        output::data(&format!("{:5} {}", finding.mark, finding.what));
        if let (Some(code), Some(next)) = (&finding.code, &finding.next) {
            output::data(&format!(
                "      next  {next}\n      more  weft explain {code}"
            ));
        }
    }
}

/// The findings of a status. Pure, so that the same status always reads the same.
pub(crate) fn judge(status: &StatusView) -> Vec<Finding> {
    let fine = |category, what: String| Finding {
        category,
        mark: Mark::Ok,
        what,
        code: None,
        next: None,
    };
    let mut findings = Vec::new();
    if let Some(leader) = status.raft.leader {
        findings.push(fine(
            "registry",
            format!("node {leader} leads term {}", status.raft.term),
        ));
        findings.push(fine(
            "registry",
            format!(
                "index {} applied here, heard from the leader {} ago",
                status.freshness.applied_index,
                milliseconds(status.freshness.age_ms)
            ),
        ));
    }
    for cluster in status
        .clusters
        .iter()
        .filter(|cluster| cluster.path == "up")
    {
        findings.push(fine(
            "tunnels",
            format!("{} is {} away", cluster.name, microseconds(cluster.rtt_us)),
        ));
    }
    for service in status
        .services
        .iter()
        .filter(|s| s.ready.iter().any(|(_, ready)| *ready > 0))
    {
        let ready: u64 = service
            .ready
            .iter()
            .map(|(_, ready)| u64::from(*ready))
            .sum();
        findings.push(fine(
            "services",
            format!("{} has {ready} ready endpoints", service.name),
        ));
    }
    findings.extend(status.problems.iter().map(|problem| Finding {
        category: category_of(&problem.code),
        mark: if problem.severity == "warn" {
            Mark::Warn
        } else {
            Mark::Fail
        },
        what: problem.what.clone(),
        code: Some(problem.code.clone()),
        next: Some(problem.next.clone()),
    }));
    findings.sort_by_key(|finding| finding.category);
    findings
}

fn category_of(code: &str) -> &'static str {
    match Code::find(code).map(|code| code.number / 1000) {
        Some(4) if code == weft_model::code::NO_PATH.to_string() => "tunnels",
        Some(1) => "configuration",
        Some(2) => "identity",
        Some(3) => "tunnels",
        Some(6) => "registry",
        Some(7) => "dns",
        _ => "services",
    }
}
