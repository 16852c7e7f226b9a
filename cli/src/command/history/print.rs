//! Revisions, differences and the trail as they are printed.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use weft_gateway::admin::view::{HistoryView, RevisionView, TrailView};
use weft_model::WallTime;

use super::compare::{Leaf, Pair, leaves};
use crate::clock;
use crate::command::events::who;
use crate::output::{self, Format};
use crate::problem::Exit;

/// A revision with what it changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    /// RFC 3339.
    time: String,
    /// None for the first that is kept of a record that may be older.
    differs: Option<Vec<Leaf>>,
    #[serde(flatten)]
    revision: RevisionView,
}

/// What each revision changed, against the one before of the same cluster's record.
fn lines(history: &HistoryView) -> Vec<Line> {
    let mut before: BTreeMap<Option<String>, Option<Value>> = BTreeMap::new();
    let whole = history.begins_after <= 1;
    let line = |revision: &RevisionView| {
        let last = before.insert(revision.cluster.clone(), revision.resource.clone());
        let known = last.or(whole.then_some(None));
        Line {
            time: clock::rfc3339(WallTime(revision.event.time_ms)),
            differs: known.map(|old| leaves(old.as_ref(), revision.resource.as_ref())),
            revision: revision.clone(),
        }
    };
    history.items.iter().map(line).collect()
}

pub(super) fn revisions(format: Format, history: HistoryView) {
    let lines = lines(&history);
    match format {
        Format::Json | Format::Yaml => output::value(
            format,
            &json!({
                "apiVersion": history.api_version,
                "freshness": history.freshness,
                "beginsAfter": history.begins_after,
                "items": lines,
            }),
        ),
        Format::Name => lines
            .iter()
            .for_each(|line| output::data(&line.revision.event.index.to_string())),
        Format::Table | Format::Wide => output::table(
            &["INDEX", "WHEN", "WHO", "WHAT", "CHANGED"],
            lines.iter().map(row),
        ),
    }
}

fn row(line: &Line) -> Vec<String> {
    let event = &line.revision.event;
    let what = match &line.revision.cluster {
        Some(cluster) => format!("{} ({cluster})", event.command),
        None => event.command.clone(),
    };
    let changed = match (&line.differs, line.revision.deleted) {
        (_, true) => "deleted".to_owned(),
        (None, _) => "what was before is not kept".to_owned(),
        (Some(leaves), _) if leaves.is_empty() => "nothing of its spec".to_owned(),
        (Some(leaves), _) => {
            let lines: Vec<String> = leaves.iter().map(|leaf| cut(&leaf.to_string())).collect();
            lines.join("\n")
        }
    };
    vec![
        event.index.to_string(),
        match output::is_terminal() {
            true => clock::ago(clock::now(), WallTime(event.time_ms)),
            false => line.time.clone(),
        },
        who(event),
        what,
        changed,
    ]
}

/// The longest line of a change in a table; JSON has all of it.
const CHARS_MAX: usize = 100;

fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Prints how a record differs; exits as `weft diff` does.
pub(super) fn difference(format: Format, (a, b): (u64, u64), pairs: &[Pair]) -> Exit {
    let differs = pairs.iter().any(|pair| !pair.leaves.is_empty());
    match format {
        Format::Json | Format::Yaml => {
            let items: Vec<Value> = pairs
                .iter()
                .map(|pair| json!({ "cluster": pair.cluster, "differs": pair.leaves }))
                .collect();
            output::document(format, &json!({ "from": a, "to": b, "items": items }));
        }
        _ => pairs.iter().for_each(|pair| {
            if let (Some(cluster), false) = (&pair.cluster, pair.leaves.is_empty()) {
                output::data(&format!("of {cluster}:"));
            }
            pair.leaves
                .iter()
                .for_each(|leaf| output::data(&format!("  {leaf}")));
        }),
    }
    match differs {
        true => Exit::Failed,
        false => Exit::Done,
    }
}

pub(super) fn trail(format: Format, trail: &TrailView) {
    if matches!(format, Format::Json | Format::Yaml) {
        return output::value(format, trail);
    }
    let mut lines = vec![
        format!("entries {} to {}", trail.after + 1, trail.last),
        format!("  took effect, signature holds      {}", trail.effected),
        format!("  refused, signature holds          {}", trail.refused),
        format!("  refused, signature does not hold  {}", trail.unproven),
        format!("  repeats, which changed nothing    {}", trail.repeats),
        format!("  not readable here                 {}", trail.unreadable),
        format!("  the consensus's own, unsigned     {}", trail.own),
        format!("  states on the way, same again     {}", trail.states),
        "by author:".to_owned(),
    ];
    let authors = trail.authors.iter();
    lines.extend(authors.map(|count| format!("  {:<32}  {}", count.author, count.entries)));
    lines.push(format!("chain {}", trail.chain));
    let verdict = match (&trail.fault, trail.after) {
        (Some(fault), _) => format!("does not hold at entry {}: {}", fault.index, fault.what),
        (None, 0 | 1) => "holds, from the founding on; times are the leaders' word".to_owned(),
        (None, after) => format!(
            "holds; what stood at index {after} is taken as it was kept, and times are the leaders' word"
        ),
    };
    lines.push(verdict);
    output::data(&lines.join("\n"));
}
