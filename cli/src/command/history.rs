//! `weft history`: every revision of a record, and the audit trail judged again.

mod compare;
mod print;

use clap_complete::engine::ArgValueCompleter;
use serde_json::json;
use weft_gateway::admin::view::{HistoryView, TrailView};
use weft_model::{Kind, Namespace, code};

use super::Outcome;
use super::get::parse_kind;
use crate::args::Global;
use crate::as_of::AsOf;
use crate::client::Client;
use crate::complete;
use crate::output;
use crate::problem::{Exit, Problem};

pub(crate) use compare::leaves;

/// Revisions of a record, or the audit trail.
#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// The record: `route/shop/web`, `serviceexport/checkout`.
    #[arg(
        value_name = "KIND/NAME",
        required_unless_present = "verify",
        value_parser = parse_record,
        add = ArgValueCompleter::new(complete::kind_names)
    )]
    record: Option<RecordName>,
    /// Show how the record differs between two log positions; exits 1 if it does.
    #[arg(long, value_name = "A..B", value_parser = parse_range, conflicts_with = "verify")]
    diff: Option<(u64, u64)>,
    /// Judge the whole trail that the asked gateway keeps.
    #[arg(long, conflicts_with = "record")]
    verify: bool,
}

/// A record as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordName {
    pub(crate) kind: Kind,
    pub(crate) namespace: Option<Namespace>,
    pub(crate) name: String,
}

fn parse_record(text: &str) -> Result<RecordName, String> {
    let split = text.split_once('/').filter(|(_, name)| !name.is_empty());
    let (kind, name) = split.ok_or("write it as KIND/NAME: route/shop/web")?;
    let kind = parse_kind(kind).map_err(|problem| problem.what)?;
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => {
            let namespace = namespace.parse::<Namespace>();
            (Some(namespace.map_err(|error| error.to_string())?), name)
        }
        None => (None, name),
    };
    Ok(RecordName {
        kind,
        namespace,
        name: name.to_owned(),
    })
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let range = text.split_once("..").and_then(|(a, b)| {
        let (a, b) = (a.parse().ok()?, b.parse().ok()?);
        (a > 0 && b > 0).then_some((a, b))
    });
    range.ok_or_else(|| "give two log positions: 4182..4190".to_owned())
}

impl History {
    /// Whether the whole trail is to be judged.
    pub(crate) fn verifies(&self) -> bool {
        self.verify
    }

    /// Whether it names two positions itself.
    pub(crate) fn compares(&self) -> bool {
        self.diff.is_some()
    }

    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let Some(record) = self.record else {
            return verify(global).await;
        };
        let global = &Global {
            namespace: record.namespace.clone().or(global.namespace.clone()),
            ..global.clone()
        };
        match self.diff {
            Some(range) => diff(global, &record, range).await.map_err(|mut problem| {
                // 1 means "differs" here, so errors start at 2.
                if problem.exit == Exit::Failed {
                    problem.exit = Exit::Usage;
                }
                problem
            }),
            None => revisions(global, &record).await,
        }
    }
}

async fn revisions(global: &Global, record: &RecordName) -> Outcome {
    let mut client = Client::connect(global).await?;
    let asked = json!({
        "kind": record.kind,
        "namespace": global.namespace,
        "name": record.name,
        "cluster": global.cluster,
    });
    let history: HistoryView = client.ask("history", asked).await?;
    if history.begins_after > 1 {
        output::narrate(&format!(
            "this gateway's history begins after index {}; what is older is not shown",
            history.begins_after
        ));
    }
    if history.items.is_empty() {
        let what = format!("nothing is kept of a {} {}", record.kind, record.name);
        return Err(Problem::new(code::NOT_FOUND, what).next(
            "Check the name and its namespace (-n). A record that has not changed since history \
             begins has no revision: `weft get` shows it.",
        ));
    }
    print::revisions(global.output, history);
    Ok(Exit::Done)
}

async fn diff(global: &Global, record: &RecordName, (a, b): (u64, u64)) -> Outcome {
    let mut client = Client::connect(global).await?;
    let mut sides = Vec::new();
    for index in [a, b] {
        let scope = Global {
            as_of: Some(AsOf::Index(index)),
            ..global.clone()
        };
        let found = client
            .resources(&scope, record.kind, Some(&record.name), false)
            .await?;
        sides.push(found);
    }
    let pairs = compare::pairs(&sides[0], &sides[1]);
    if pairs.is_empty() {
        let what = format!(
            "there was no {} {} at index {a}, nor at {b}",
            record.kind, record.name
        );
        return Err(Problem::new(code::NOT_FOUND, what)
            .next("`weft history KIND/NAME` lists its revisions; mind the namespace (-n)."));
    }
    Ok(print::difference(global.output, (a, b), &pairs))
}

async fn verify(global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let trail: TrailView = client.ask("audit", json!({})).await?;
    print::trail(global.output, &trail);
    match &trail.fault {
        None => Ok(Exit::Done),
        Some(fault) => {
            let what = format!("entry {} does not hold: {}", fault.index, fault.what);
            let mut problem = Problem::new(code::TRAIL_BROKEN, what);
            problem.exit = Exit::CheckFailed;
            Err(problem)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_a_kind_and_a_name_and_perhaps_a_namespace() {
        let route = parse_record("rt/shop/web").expect("a record");
        assert_eq!(route.kind, Kind::Route);
        assert_eq!(route.namespace, "shop".parse().ok());
        assert_eq!(route.name, "web");
        let cluster = parse_record("clusters/eu-west-1").expect("a record");
        assert_eq!((cluster.namespace, &*cluster.name), (None, "eu-west-1"));
        for wrong in ["web", "route/", "nonsense/web", "route/a b/web"] {
            assert!(parse_record(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_is_two_positions() {
        assert_eq!(parse_range("3..12"), Ok((3, 12)));
        for wrong in ["3", "3..", "..3", "0..3", "a..b", "3-4"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }
}
