//! `weft revert`: undo one change, by a new one.

use serde_json::{Value, json};
use weft_gateway::admin::view::RevertView;
use weft_model::{Kind, code};

use super::Outcome;
use super::events::who;
use super::get::parse_kind;
use super::history::leaves;
use crate::args::Global;
use crate::client::Client;
use crate::document;
use crate::output;
use crate::problem::{Exit, Problem};

/// Undo the change that one log entry made, by a new entry that says the record as it was before.
///
/// What would change is shown first. Nothing is undone behind a later change of the same record, nor
/// what has effects outside the registry: a spent token, a membership, a release's steps. The
/// revert is an entry like any other, signed in your name, and can be reverted itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Revert {
    /// The entry, as `weft events` and `weft history` number it.
    index: u64,
    /// Go on without asking.
    #[arg(long)]
    yes: bool,
    /// Show what would change, and change nothing; exits 1 if anything would.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

/// How often the record is looked at again when something else was written in between.
const TRIES: usize = 5;

impl Revert {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut client = Client::connect(global).await?;
        let plan = self.ask(&mut client).await?;
        // What one cluster owns is signed by a gateway of that cluster.
        let global = &Global {
            cluster: match &plan.cluster {
                Some(owner) => owner.parse().ok(),
                None => global.cluster.clone(),
            },
            namespace: plan.namespace.as_ref().and_then(|it| it.parse().ok()),
            ..global.clone()
        };
        let mut client = match plan.cluster {
            Some(_) => Client::connect(global).await?,
            None => client,
        };
        let found = leaves(plan.now.as_ref(), plan.before.as_ref());
        if self.dry_run {
            return Ok(match found.is_empty() {
                true => Exit::Done,
                false => Exit::Failed,
            });
        }
        self.confirm()?;
        for _ in 0..TRIES {
            let again = self.ask_quietly(&mut client).await?;
            if leaves(again.now.as_ref(), again.before.as_ref()) != found {
                return Err(moved(&again));
            }
            match write(&mut client, global, &again).await {
                Err(problem) if problem.code == code::STALE_INDEX => {}
                Err(problem) => return Err(problem),
                Ok(index) => {
                    output::narrate(&format!("entry {} undone at index {index}", self.index));
                    return Ok(Exit::Done);
                }
            }
        }
        let what = "the federation changes too fast to undo this safely; nothing was changed";
        Err(Problem::new(code::STALE_INDEX, what).next("Try again."))
    }

    /// Learns what undoing would come to, and shows it.
    async fn ask(&self, client: &mut Client) -> Result<RevertView, Problem> {
        let plan = self.ask_quietly(client).await?;
        let event = &plan.event;
        output::tell(&format!(
            "entry {}: {} by {}, {} {}",
            self.index,
            event.command,
            who(event),
            plan.kind,
            full_name(&plan)
        ));
        let found = leaves(plan.now.as_ref(), plan.before.as_ref());
        match (&plan.before, &plan.now) {
            (None, Some(_)) => output::data("  - it is deleted"),
            (Some(_), None) => output::data("  + it is there again"),
            _ => {}
        }
        for leaf in found.iter().filter(|leaf| leaf.path.starts_with("spec")) {
            output::data(&format!("  {leaf}"));
        }
        Ok(plan)
    }

    async fn ask_quietly(&self, client: &mut Client) -> Result<RevertView, Problem> {
        let plan: RevertView = client.ask("revert", json!({ "index": self.index })).await?;
        if !plan.later.is_empty() {
            return Err(moved(&plan));
        }
        let spec = |side: &Option<Value>| side.as_ref().map(|it| it["spec"].clone());
        if spec(&plan.now) == spec(&plan.before) {
            let what = format!(
                "{} {} is as it was before already",
                plan.kind,
                full_name(&plan)
            );
            return Err(Problem::new(code::NOT_REVERSIBLE, what).next("There is nothing to undo."));
        }
        Ok(plan)
    }

    fn confirm(&self) -> Result<(), Problem> {
        if self.yes {
            return Ok(());
        }
        if output::is_terminal() {
            output::tell("type yes to go on:");
            let mut typed = String::new();
            let read = std::io::stdin().read_line(&mut typed);
            if read.is_ok() && typed.trim() == "yes" {
                return Ok(());
            }
        }
        let mut problem =
            Problem::new(code::USAGE, "not confirmed; nothing was changed").next("Add --yes.");
        problem.exit = Exit::Refused;
        Err(problem)
    }
}

fn moved(plan: &RevertView) -> Problem {
    let later: Vec<String> = plan.later.iter().map(ToString::to_string).collect();
    let what = format!(
        "{} {} was changed since, at index {}; nothing was changed",
        plan.kind,
        full_name(plan),
        later.join(", ")
    );
    Problem::new(code::NOT_REVERSIBLE, what).next(
        "Revert the later ones first, the newest before the others, or apply what it is to be.",
    )
}

fn full_name(plan: &RevertView) -> String {
    let name = match &plan.namespace {
        Some(namespace) => format!("{namespace}/{}", plan.name),
        None => plan.name.clone(),
    };
    match &plan.cluster {
        Some(cluster) => format!("{name} of {cluster}"),
        None => name,
    }
}

/// Says the record as it was, if nothing was written after what was looked at.
async fn write(client: &mut Client, global: &Global, plan: &RevertView) -> Result<u64, Problem> {
    let guard = Some(plan.freshness.applied_index);
    match &plan.before {
        Some(resource) => {
            let document = document::from_json(resource)?;
            client.put(global, document, guard, false).await
        }
        None => {
            let kind: Kind = parse_kind(&plan.kind)?;
            let namespace = global.namespace.clone();
            client.delete(kind, namespace, &plan.name, guard).await
        }
    }
}
