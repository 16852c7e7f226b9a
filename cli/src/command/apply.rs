//! `weft apply`, `weft diff` and `weft delete`.
//!
//! What a cluster owns (exports, entries) is sent to a gateway of that cluster,
//! which signs it; what the federation owns is signed here, with the operator's key.

use clap_complete::engine::ArgValueCandidates;
use serde_json::Value;
use weft_model::{ClusterName, Command, Kind, Namespace, ServiceKey, code};

use super::Outcome;
use super::get::parse_kind;
use crate::args::{Files, Global};
use crate::client::Client;
use crate::complete;
use crate::document::{Document, read_resources};
use crate::output;
use crate::problem::{Exit, Problem};
use crate::progress::Progress;

/// Create or change resources.
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    files: Files,
    /// Check everything on the gateway, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Only if nothing was applied after this log position.
    #[arg(long, value_name = "INDEX")]
    if_index: Option<u64>,
}

impl Apply {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let documents = read_all(&self.files)?;
        let mut client = Client::connect(global).await?;
        if documents.len() > 1 && !self.dry_run {
            self.judge(&mut client, global, &documents).await?;
        }
        let mut guard = self.if_index;
        let mut done: Vec<Applied> = Vec::new();
        let mut progress = Progress::begin();
        let names: Vec<String> = documents.iter().map(name_of).collect();
        for (at, document) in documents.into_iter().enumerate() {
            progress.say(|| format!("{at} of {} applied", names.len()));
            let written = client.put(global, document, guard, self.dry_run).await;
            let index = written.map_err(|problem| match self.dry_run {
                true => problem,
                false => midway(problem, &done, &names),
            })?;
            // The first write moved the index; what follows is guarded by the position it made.
            guard = guard.map(|_| index);
            let name = names[at].clone();
            done.push(Applied { name, index });
        }
        drop(progress);
        let word = match self.dry_run {
            true => "would be applied",
            false => "applied",
        };
        for Applied { name, index } in done {
            output::narrate(&format!("{name} {word} at index {index}"));
        }
        Ok(Exit::Done)
    }

    /// Has the gateway judge all before one is written, so that a refusal finds nothing applied.
    async fn judge(
        &self,
        client: &mut Client,
        global: &Global,
        documents: &[Document],
    ) -> Result<(), Problem> {
        let mut progress = Progress::begin();
        for (at, document) in documents.iter().enumerate() {
            progress.say(|| format!("{at} of {} judged", documents.len()));
            let judged = client
                .put(global, document.clone(), self.if_index, true)
                .await;
            judged.map_err(|problem| nothing_applied(problem, document))?;
        }
        Ok(())
    }
}

/// One resource that was written.
struct Applied {
    name: String,
    index: u64,
}

/// A failure after some were written: which were, which was not or perhaps, which were not tried.
fn midway(problem: Problem, done: &[Applied], names: &[String]) -> Problem {
    let [failed, rest @ ..] = &names[done.len()..] else {
        return problem;
    };
    if names.len() == 1 {
        return problem;
    }
    let mut lines: Vec<String> = problem.detail.iter().map(ToString::to_string).collect();
    let written = done
        .iter()
        .map(|Applied { name, index }| format!("applied    {name}, at index {index}"));
    lines.extend(written);
    let verdict = match problem.code {
        code::OUTCOME_UNKNOWN => "unknown   ",
        _ => "failed    ",
    };
    lines.push(format!("{verdict} {failed}"));
    lines.extend(rest.iter().map(|name| format!("not tried  {name}")));
    let why = problem.what.strip_prefix(&format!("{failed}: "));
    let why = why.unwrap_or(&problem.what);
    let (applied, all) = (done.len(), names.len());
    let what = format!("{failed}: {why}; {applied} of {all} were applied");
    let next = problem.next.as_deref().unwrap_or(problem.code.next);
    let next = match done.is_empty() {
        true => next.to_owned(),
        false => format!(
            "{next} Then apply the same files again: what is applied already stays as it is."
        ),
    };
    Problem { what, ..problem }
        .detail(lines.join("\n"))
        .next(next)
}

/// Show what apply would change.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    files: Files,
}

impl Diff {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        self.compare(global).await.map_err(|mut problem| {
            // 1 means "differs" here, so errors start at 2.
            if problem.exit == Exit::Failed {
                problem.exit = Exit::Usage;
            }
            problem
        })
    }

    async fn compare(self, global: &Global) -> Outcome {
        let documents = read_all(&self.files)?;
        let mut client = Client::connect(global).await?;
        let mut differs = false;
        for document in documents {
            let wanted = serde_json::to_value(&document).unwrap_or_default();
            let (kind, namespace, name) = identity_of(&document);
            let scope = Global {
                namespace,
                ..global.clone()
            };
            let current = client.resources(&scope, kind, Some(&name), false).await?;
            let current = current.first().and_then(|item| item.get("spec"));
            let mut lines = Vec::new();
            changes("spec", current, wanted.get("spec"), &mut lines);
            if !lines.is_empty() {
                differs = true;
                let mark = if current.is_none() { "+" } else { "~" };
                output::data(&format!(
                    "{mark} {}\n{}",
                    name_of(&document),
                    lines.join("\n")
                ));
            }
        }
        if let (true, Some(_)) = (differs, global.as_of) {
            output::narrate(
                "compared with what was recorded then; without --as-of, with what is now",
            );
        } else if differs {
            let files: Vec<String> = self
                .files
                .files
                .iter()
                .map(|file| format!("-f {}", file.display()))
                .collect();
            let index = client.applied_index();
            output::narrate(&format!(
                "to apply: weft apply {} --if-index {index}",
                files.join(" ")
            ));
        }
        Ok(if differs { Exit::Failed } else { Exit::Done })
    }
}

/// Delete resources by name, or all that a file names.
#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    /// The kind.
    #[arg(
        required_unless_present = "files",
        requires = "name",
        add = ArgValueCandidates::new(complete::kinds)
    )]
    kind: Option<String>,
    /// The name.
    #[arg(add = ArgValueCandidates::new(complete::resources))]
    name: Option<String>,
    /// Files that name the resources.
    #[arg(short, long = "file", value_name = "FILE", conflicts_with = "kind")]
    files: Vec<std::path::PathBuf>,
}

impl Delete {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut targets = Vec::new();
        if let (Some(kind), Some(name)) = (&self.kind, &self.name) {
            targets.push((parse_kind(kind)?, global.namespace.clone(), name.clone()));
        } else {
            let documents = read_all(&Files { files: self.files })?;
            targets.extend(documents.iter().map(identity_of));
        }
        let mut client = Client::connect(global).await?;
        for (kind, namespace, name) in targets {
            let index = client.delete(kind, namespace, &name, None).await?;
            output::narrate(&format!("{kind} {name} deleted at index {index}"));
            if kind == Kind::Release {
                output::narrate(
                    "each version gets traffic by the weight of its endpoints, unless a later release is in effect",
                );
            }
        }
        Ok(Exit::Done)
    }
}

/// A refusal that came before anything was written.
fn nothing_applied(problem: Problem, document: &Document) -> Problem {
    let what = format!(
        "{}: {}; nothing was applied",
        name_of(document),
        problem.what
    );
    Problem { what, ..problem }
}

pub(crate) fn read_all(files: &Files) -> Result<Vec<Document>, Problem> {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for file in &files.files {
        match read_resources(file) {
            Ok(more) => documents.extend(more),
            Err(more) => problems.extend(more),
        }
    }
    // All of them are shown; the last one decides the exit status, which is 2 for each.
    match problems.pop() {
        None => Ok(documents),
        Some(last) => {
            problems
                .iter()
                .for_each(|problem| output::tell(&problem.to_string()));
            Err(last)
        }
    }
}

/// Kind, namespace and name of a document.
pub(crate) fn identity_of(document: &Document) -> (Kind, Option<Namespace>, String) {
    let metadata = document.metadata();
    (
        document.kind(),
        metadata.namespace.clone(),
        metadata.name.to_string(),
    )
}

fn name_of(document: &Document) -> String {
    match identity_of(document) {
        (kind, Some(namespace), name) => format!("{kind} {namespace}/{name}"),
        (kind, None, name) => format!("{kind} {name}"),
    }
}

/// The operator-signed command for what the federation owns; none for what a cluster owns.
pub(crate) fn command_of(
    document: &Document,
    namespace: Option<&Namespace>,
) -> Result<Option<Command>, Problem> {
    Ok(match document {
        Document::Cluster(cluster) => {
            let name = ClusterName::new(cluster.metadata.name.as_str()).map_err(|error| {
                Problem::new(code::INVALID_RESOURCE, format!("cluster: {error}"))
            })?;
            Some(Command::PutCluster(name, Box::new(cluster.spec.clone())))
        }
        Document::RoleBinding(binding) => Some(Command::PutRoleBinding(
            binding.metadata.name.clone(),
            binding.spec.clone(),
        )),
        Document::Route(route) => Some(Command::PutRoute(
            namespace_of(document, namespace)?,
            route.metadata.name.clone(),
            Box::new(route.spec.clone()),
        )),
        Document::TrafficPolicy(policy) => Some(Command::PutTrafficPolicy(
            namespace_of(document, namespace)?,
            policy.metadata.name.clone(),
            Box::new(policy.spec.clone()),
        )),
        Document::Release(release) => {
            let namespace = namespace_of(document, namespace)?;
            let key = ServiceKey::new(namespace, release.metadata.name.clone());
            Some(Command::PutRelease(key, Box::new(release.spec.clone())))
        }
        Document::ServiceExport(_) | Document::WorkloadEntry(_) => None,
    })
}

/// The namespace that a document says, or else the one that was given.
pub(crate) fn namespace_of(
    document: &Document,
    given: Option<&Namespace>,
) -> Result<Namespace, Problem> {
    let said = document.metadata().namespace.as_ref();
    said.or(given)
        .cloned()
        .ok_or_else(|| no_namespace(document.kind()))
}

/// The complaint about a resource of `kind` that is in no namespace.
pub(crate) fn no_namespace(kind: Kind) -> Problem {
    Problem::new(code::INVALID_RESOURCE, format!("{kind} needs a namespace"))
        .next("Write metadata.namespace, or give -n NAMESPACE.")
}

/// Lines `+`, `-` and `~` for every leaf that differs, in the order of names.
pub(crate) fn changes(
    path: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    lines: &mut Vec<String>,
) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                changes(
                    &format!("{path}.{name}"),
                    old.get(name),
                    new.get(name),
                    lines,
                );
            }
        }
        (old, new) if old == new => {}
        (None, Some(new)) => lines.push(format!("  + {path}: {new}")),
        (Some(old), None) => lines.push(format!("  - {path}: {old}")),
        (Some(old), Some(new)) => lines.push(format!("  ~ {path}: {old} → {new}")),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_differing_leaf_has_a_line() {
        let (old, new) = (
            json!({"a": 1, "b": {"c": 2}, "d": 3}),
            json!({"a": 1, "b": {"c": 4}, "e": 5}),
        );
        let mut lines = Vec::new();
        changes("spec", Some(&old), Some(&new), &mut lines);
        assert_eq!(
            lines,
            ["  ~ spec.b.c: 2 → 4", "  - spec.d: 3", "  + spec.e: 5"]
        );
    }

    #[test]
    fn a_failure_midway_says_what_is_applied_and_what_is_not() {
        let names = ["Route shop/a", "Route shop/b", "Route shop/c"].map(str::to_owned);
        let done = [Applied {
            name: names[0].clone(),
            index: 41,
        }];
        let check = |code, verdict: &str| {
            let problem = midway(Problem::new(code, "no answer"), &done, &names);
            let text = problem.to_string();
            for part in [
                "Route shop/b: no answer; 1 of 3 were applied",
                "applied    Route shop/a, at index 41",
                verdict,
                "not tried  Route shop/c",
                "apply the same files again",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
        };
        check(code::NO_LEADER, "failed     Route shop/b");
        check(code::OUTCOME_UNKNOWN, "unknown    Route shop/b");
    }

    #[test]
    fn nothing_differs_from_itself() {
        let value = json!({"a": [1, 2]});
        let mut lines = Vec::new();
        changes("spec", Some(&value), Some(&value), &mut lines);
        assert!(lines.is_empty());
    }
}
