//! What undoing one change would come to: a question, and nothing else. The write is an order like any other.

use serde_json::Value;
use tonic::Status;
use weft_model::{Index, Key, Kind, code};

use super::events::view;
use super::history::Moment;
use super::history::{named, resource_of, state, status};
use super::status::freshness;
use super::view::RevertView;
use crate::api::refusal;
use crate::hub::Hub;

/// The record before the change, after it, and now.
pub(super) async fn preview(hub: &Hub, arguments: &Value) -> Result<RevertView, Status> {
    let asked = arguments.get("index").and_then(Value::as_u64);
    let Some(index) = asked.filter(|index| *index > 0) else {
        return Err(refusal(code::USAGE, "which index?"));
    };
    let registry = hub.registry();
    if index > registry.applied().index.0 {
        let (asked, applied) = (Index(index), registry.applied().index);
        return Err(status(weft_registry::HistoryError::Ahead {
            asked,
            applied,
        }));
    }
    let page = registry
        .entries(Index(index - 1), 1)
        .await
        .map_err(status)?;
    let Some(entry) = page.entries.into_iter().next() else {
        let what = format!("entry {index} changed nothing that could be undone");
        return Err(refusal(code::NOT_REVERSIBLE, what));
    };
    if let Err(refused) = &entry.result {
        let what = format!("entry {index} was refused ({refused}): it changed nothing");
        return Err(refusal(code::NOT_REVERSIBLE, what));
    }
    let command = entry.origin.command;
    let Some(key) = entry.origin.target.clone().filter(|_| is_record(command)) else {
        let what = format!("entry {index} is a {command:?}: {}", why_not(command));
        return Err(refusal(code::NOT_REVERSIBLE, what));
    };
    let before = state(hub, Some(Moment::Index(Index(index - 1)))).await?;
    let after = state(hub, Some(Moment::Index(Index(index)))).await?;
    let now = registry.state();
    let later = registry
        .changes_after(Index(index), key.clone())
        .await
        .map_err(status)?;
    let (kind, namespace, name, cluster) = record(&key)?;
    Ok(RevertView {
        api_version: "weft.dev/v1".into(),
        freshness: super::view::Freshness {
            applied_index: now.applied().0,
            ..freshness(hub)
        },
        event: view(&now, &entry),
        kind: kind.to_string(),
        namespace,
        name,
        cluster,
        before: resource_of(&before, &key),
        after: resource_of(&after, &key),
        now: resource_of(&now, &key),
        later: later.into_iter().map(|index| index.0).collect(),
    })
}

type Record = (Kind, Option<String>, String, Option<String>);

fn record(key: &Key) -> Result<Record, Status> {
    named(key).ok_or_else(|| refusal(code::NOT_REVERSIBLE, "the change is of no resource"))
}

/// Whether a command says what one record is to be, and nothing beside.
fn is_record(command: &str) -> bool {
    matches!(
        command,
        "put cluster"
            | "put export"
            | "delete export"
            | "put workload entry"
            | "delete workload entry"
            | "put role binding"
            | "delete role binding"
            | "put route"
            | "delete route"
            | "put traffic policy"
            | "delete traffic policy"
    )
}

/// Why undoing a command has no meaning, and what has.
fn why_not(command: &str) -> &'static str {
    match command {
        "found" => "a federation is founded once",
        "remove cluster" => {
            "a removed cluster's name and trust domain never return; it joins under another name"
        }
        "redeem token" => "a token is spent; `weft cluster remove` takes a member out",
        "grant token" => "`weft cluster token revoke` withdraws a token that nobody has used",
        "revoke token" => "a withdrawn token stays withdrawn: make a new one",
        "put gateway" | "remove gateway" => "a gateway speaks for itself; a removed one joins anew",
        "record signer" | "put bundle" => "keys are replaced by newer ones, never by older ones",
        "lapse lease" | "return lease" => "it records what was observed",
        "raise format" => "members may have written records of that level since",
        _ => "releases are moved by `weft release`: abort, rollback, resume",
    }
}
