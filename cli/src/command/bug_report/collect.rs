//! What is collected, and from whom. Whoever does not answer is noted, and nothing fails for it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use weft_gateway::admin::view::StatusView;
use weft_model::ClusterName;

use crate::args::Global;
use crate::client::{self, Client};
use crate::clock;
use crate::command::check;
use crate::command::get::KINDS;
use crate::context::Contexts;
use crate::dev;
use crate::problem::Problem;
use crate::progress::Progress;

/// The most of a log's end that is taken, in bytes.
const LOG_MAX: usize = 256 << 10;
/// How long one gateway's metrics may take.
const METRICS_WAIT: Duration = Duration::from_secs(2);
/// Where a gateway's console answers unless it is configured otherwise.
const CONSOLE: u16 = 7480;

/// A file, before it is redacted.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

/// The files so far, and what is missing.
#[derive(Default)]
struct Collection {
    files: Vec<File>,
    missing: Vec<String>,
}

impl Collection {
    fn text(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.files.push(File {
            name: name.into(),
            text: text.into(),
        });
    }

    fn value(&mut self, name: impl Into<String>, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string());
        self.text(name, text + "\n");
    }

    /// An answer, or a note of why there is none.
    fn answer(&mut self, name: &str, answer: Result<impl Serialize, Problem>) {
        match answer {
            Ok(value) => self.value(name, &value),
            Err(problem) => self.missing.push(format!("{name}\n{problem}")),
        }
    }
}

/// Everything that can be had.
pub(super) async fn collect(global: &Global) -> Vec<File> {
    let mut all = Collection::default();
    let mut progress = Progress::begin();
    all.value(
        "version.json",
        &json!({ "version": env!("CARGO_PKG_VERSION"), "time": clock::rfc3339(clock::now()) }),
    );
    contexts(&mut all);
    progress.say(|| "asking the federation".to_owned());
    if let Some(status) = federation(&mut all, global).await {
        for cluster in &status.clusters {
            progress.say(|| format!("asking {}", cluster.name));
            one_cluster(&mut all, global, &cluster.name).await;
            for api in &cluster.api {
                let host = api.rsplit_once(':').map_or(api.as_str(), |(host, _)| host);
                metrics(&mut all, &format!("{host}:{CONSOLE}")).await;
            }
        }
    }
    progress.say(|| "reading the logs of weft dev".to_owned());
    local_dev(&mut all);
    let missing = match all.missing.is_empty() {
        true => "nothing\n".to_owned(),
        false => all.missing.join("\n\n") + "\n",
    };
    all.text("missing.txt", missing);
    all.files.sort_by(|a, b| a.name.cmp(&b.name));
    all.files
}

/// Who asks whom; keys and certificates stay where they are.
fn contexts(all: &mut Collection) {
    let contexts = Contexts::load().map(|contexts| {
        let listed = contexts.contexts.iter().map(|(name, context)| {
            let clusters: Vec<_> = context.clusters.iter().map(|(name, member)| json!({ "name": name, "api": member.api })).collect();
            json!({ "name": name, "federation": context.domain, "home": context.home, "user": context.user, "clusters": clusters })
        });
        json!({ "current": contexts.current, "contexts": listed.collect::<Vec<_>>() })
    });
    all.answer("contexts.json", contexts);
}

/// What any gateway can say of all.
async fn federation(all: &mut Collection, global: &Global) -> Option<StatusView> {
    let mut client = match Client::connect(global).await {
        Ok(client) => client,
        Err(problem) => {
            all.missing.push(format!("the federation\n{problem}"));
            return None;
        }
    };
    let scope = Global {
        namespace: None,
        cluster: None,
        ..global.clone()
    };
    for (kind, words) in KINDS {
        let found = client.resources(&scope, *kind, None, false).await;
        all.answer(&format!("resources/{}.json", words[1]), found);
    }
    all.answer(
        "services.json",
        client.ask::<Value>("services", json!({})).await,
    );
    all.answer(
        "events.json",
        client.ask::<Value>("events", json!({})).await,
    );
    match client.status(false).await {
        Ok(status) => Some(status),
        Err(problem) => {
            all.missing.push(format!("status\n{problem}"));
            None
        }
    }
}

/// What each cluster's gateway sees.
async fn one_cluster(all: &mut Collection, global: &Global, name: &str) {
    let file = |what: &str| format!("clusters/{name}/{what}.json");
    let Ok(cluster) = name.parse::<ClusterName>() else {
        return;
    };
    let there = Global {
        cluster: Some(cluster),
        ..global.clone()
    };
    let mut client = match Client::connect(&there).await {
        Ok(client) => client,
        Err(problem) => {
            all.missing.push(format!("{}\n{problem}", file("status")));
            return;
        }
    };
    let status = client.status(false).await;
    if let Ok(status) = &status {
        all.value(file("check"), &check::judge(status));
        all.value(file("raft"), &status.raft);
    }
    all.answer(&file("status"), status);
    all.answer(
        &file("proxies"),
        client.ask::<Value>("proxies", json!({})).await,
    );
}

async fn metrics(all: &mut Collection, address: &str) {
    let name = format!("metrics/{}.txt", address.replace([':', '[', ']'], "_"));
    let read = match address.parse() {
        Ok(address) => client::fetch(address, "/metrics", METRICS_WAIT).await,
        Err(_) => Err(Problem::new(
            weft_model::code::NAME_UNRESOLVED,
            format!("{address} is a name; metrics are read from addresses alone"),
        )),
    };
    match read {
        Ok(body) => all.text(name, String::from_utf8_lossy(&body)),
        Err(problem) => all.missing.push(format!("{name}\n{problem}")),
    }
}

/// The `weft dev` of this user: what runs, how it is configured, what it logs.
fn local_dev(all: &mut Collection) {
    let Some(status) = dev::running() else {
        return;
    };
    all.value("dev/status.json", &status);
    for cluster in &status.clusters {
        let folder = status.dir.join(&cluster.name);
        for part in entries(&folder) {
            for file in ["gateway.yaml", "sidecar.yaml"] {
                let path = folder.join(&part).join(file);
                if let Ok(text) = fs::read_to_string(path) {
                    all.text(format!("dev/{}/{part}/{file}", cluster.name), text);
                }
            }
        }
    }
    for log in entries(&status.logs) {
        if let Ok(bytes) = fs::read(status.logs.join(&log)) {
            all.text(format!("dev/logs/{log}"), end_of(&bytes));
        }
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.collect()
}

/// The last whole lines: a secret whose beginning is cut off would not be known as one.
fn end_of(log: &[u8]) -> String {
    let from = log.len().saturating_sub(LOG_MAX);
    let text = String::from_utf8_lossy(&log[from..]);
    match (from, text.split_once('\n')) {
        (0, _) | (_, None) => text.into_owned(),
        (_, Some((_, lines))) => lines.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_begins_with_a_whole_line() {
        let mut log = b"passphrase: ".to_vec();
        log.resize(LOG_MAX, b'x');
        log.extend(b"\nlast line\n");
        assert_eq!(end_of(&log), "last line\n");
        assert_eq!(end_of(b"short"), "short");
    }
}
