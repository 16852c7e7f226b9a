//! `weft wait`: until a level holds, or a deadline passes.

use std::time::{Duration, Instant};

use clap_complete::engine::ArgValueCompleter;
use serde_json::json;
use weft_gateway::admin::view::{ListView, ReleaseView, ServiceView};
use weft_model::{Kind, ServiceKey, code};

use super::Outcome;
use super::get::parse_kind;
use super::release;
use crate::args::Global;
use crate::client::Client;
use crate::complete;
use crate::output;
use crate::problem::{Exit, Problem};
use crate::progress::Progress;

/// Wait until a resource exists, is gone, a service has ready endpoints, or a release is so far.
///
/// Exits 5 on time-out, and 1 at once if a release has come to another end.
#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    /// `kind/name`, `service/namespace/name`, or `release/name`.
    #[arg(add = ArgValueCompleter::new(complete::kind_names))]
    target: String,
    /// What to wait for: exists, delete, ready (services), or a phase (releases).
    #[arg(
        long = "for",
        value_name = "CONDITION",
        default_value = "exists",
        ignore_case = true
    )]
    condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Condition {
    Exists,
    Delete,
    Ready,
    #[value(name = "Progressing")]
    Progressing,
    #[value(name = "Paused")]
    Paused,
    #[value(name = "Completed")]
    Completed,
    #[value(name = "Aborted")]
    Aborted,
    #[value(name = "RolledBack")]
    RolledBack,
}

impl Condition {
    /// The phase of a release that it is.
    fn phase(self) -> Option<&'static str> {
        match self {
            Self::Exists | Self::Delete | Self::Ready => None,
            Self::Progressing => Some("Progressing"),
            Self::Paused => Some("Paused"),
            Self::Completed => Some("Completed"),
            Self::Aborted => Some("Aborted"),
            Self::RolledBack => Some("RolledBack"),
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Exists => "exist",
            Self::Delete => "be gone",
            Self::Ready => "be ready",
            Self::Progressing => "be under way",
            Self::Paused => "be paused",
            Self::Completed => "be completed",
            Self::Aborted => "be aborted",
            Self::RolledBack => "be rolled back",
        }
    }
}

impl Wait {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let deadline = Instant::now() + global.timeout;
        let mut progress = Progress::begin();
        loop {
            progress.say(|| format!("waiting for {} to {}", self.target, self.condition.wanted()));
            if self.holds(global).await? {
                drop(progress);
                output::narrate(&format!("{} holds", self.target));
                return Ok(Exit::Done);
            }
            if Instant::now() >= deadline {
                let mut problem = Problem::new(
                    code::OUTCOME_UNKNOWN,
                    format!("{} did not come to hold within the time given", self.target),
                )
                .next("Look at it with `weft describe`, or wait longer with --timeout.");
                problem.exit = Exit::TimedOut;
                return Err(problem);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn holds(&self, global: &Global) -> Result<bool, Problem> {
        let (kind, name) = self.target.split_once('/').ok_or_else(|| {
            Problem::new(
                code::USAGE,
                format!("{:?} is not of the form kind/name", self.target),
            )
        })?;
        let mut client = Client::connect(global).await?;
        if let Some(phase) = self.condition.phase() {
            if !matches!(parse_kind(kind), Ok(Kind::Release)) {
                return Err(Problem::new(code::USAGE, "only releases have phases"));
            }
            return is_in(phase, &release::view(&mut client, global, name).await?);
        }
        if matches!(kind, "service" | "svc") {
            let key: ServiceKey = name.parse().map_err(|error| {
                Problem::new(
                    code::USAGE,
                    format!("{name:?} is not namespace/name: {error}"),
                )
            })?;
            let list: ListView<ServiceView> = client.ask("services", json!({})).await?;
            let found = list
                .items
                .iter()
                .find(|service| service.name == key.to_string());
            let ready =
                found.is_some_and(|service| service.ready.iter().any(|(_, ready)| *ready > 0));
            return Ok(match self.condition {
                Condition::Delete => found.is_none(),
                Condition::Ready => ready,
                _ => found.is_some(),
            });
        }
        if self.condition == Condition::Ready {
            return Err(Problem::new(code::USAGE, "only services become ready"));
        }
        let found = client
            .resources(global, parse_kind(kind)?, Some(name), false)
            .await?;
        Ok(found.is_empty() == (self.condition == Condition::Delete))
    }
}

/// Whether the release is in that phase. One that came to another end never will be.
fn is_in(phase: &str, release: &ReleaseView) -> Result<bool, Problem> {
    if release.phase == phase {
        return Ok(true);
    }
    if release.under_way {
        return Ok(false);
    }
    let what = format!("release {} is {}, not {phase}", release.name, release.phase);
    let mut problem = Problem::new(code::RELEASE_ENDED, what);
    problem.exit = Exit::Failed;
    Err(problem)
}
