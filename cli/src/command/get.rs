//! `weft get` and `weft describe`.

use clap_complete::engine::ArgValueCandidates;
use serde_json::Value;
use weft_model::{Kind, code};

use super::Outcome;
use crate::args::Global;
use crate::client::Client;
use crate::complete;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// Print resources.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// The kind: clusters, serviceexports, workloadentries, rolebindings, routes, trafficpolicies, releases.
    #[arg(add = ArgValueCandidates::new(complete::kinds))]
    kind: String,
    /// A name; all of the kind if left out.
    #[arg(add = ArgValueCandidates::new(complete::resources))]
    name: Option<String>,
    /// Ask the leader first, so that the answer is linearizable.
    #[arg(long)]
    consistent: bool,
}

impl Get {
    /// Whether the leader is asked first.
    pub(crate) fn is_consistent(&self) -> bool {
        self.consistent
    }

    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let kind = parse_kind(&self.kind)?;
        let mut client = Client::connect(global).await?;
        let items = client
            .resources(global, kind, self.name.as_deref(), self.consistent)
            .await?;
        if items.is_empty() && self.name.is_some() {
            return Err(absent(kind, self.name.as_deref().unwrap_or_default()));
        }
        match global.output {
            Format::Json | Format::Yaml if self.name.is_some() => {
                output::value(global.output, &items[0]);
            }
            Format::Json | Format::Yaml => output::value(
                global.output,
                &serde_json::json!({ "apiVersion": "weft.dev/v1", "kind": "List", "items": items }),
            ),
            Format::Name => items.iter().for_each(|item| output::data(&full_name(item))),
            Format::Table | Format::Wide => {
                output::table(
                    &["KIND", "NAMESPACE", "NAME", "CLUSTER", "SPEC"],
                    items.iter().map(row),
                );
            }
        }
        Ok(Exit::Done)
    }
}

/// Everything known of one resource, in YAML.
#[derive(Debug, clap::Args)]
pub(crate) struct Describe {
    /// The kind.
    #[arg(add = ArgValueCandidates::new(complete::kinds))]
    kind: String,
    /// The name.
    #[arg(add = ArgValueCandidates::new(complete::resources))]
    name: String,
}

impl Describe {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let kind = parse_kind(&self.kind)?;
        let mut client = Client::connect(global).await?;
        let items = client
            .resources(global, kind, Some(&self.name), false)
            .await?;
        if items.is_empty() {
            return Err(absent(kind, &self.name));
        }
        let format = if global.output == Format::Json {
            Format::Json
        } else {
            Format::Yaml
        };
        match &items[..] {
            [only] => output::value(format, only),
            several => output::document(
                format,
                &serde_json::json!({ "kind": "List", "items": several }),
            ),
        }
        Ok(Exit::Done)
    }
}

/// Every kind and how users type it: singular first, then plural, then short forms.
pub(crate) const KINDS: &[(Kind, &[&str])] = &[
    (Kind::Cluster, &["cluster", "clusters", "cl"]),
    (
        Kind::ServiceExport,
        &["serviceexport", "serviceexports", "export", "exports", "se"],
    ),
    (
        Kind::WorkloadEntry,
        &["workloadentry", "workloadentries", "entry", "entries", "we"],
    ),
    (Kind::RoleBinding, &["rolebinding", "rolebindings", "rb"]),
    (Kind::Route, &["route", "routes", "rt"]),
    (
        Kind::TrafficPolicy,
        &[
            "trafficpolicy",
            "trafficpolicies",
            "policy",
            "policies",
            "tp",
        ],
    ),
    (Kind::Release, &["release", "releases", "rel"]),
];

/// Reads a kind as users type it, in any case.
pub(crate) fn parse_kind(text: &str) -> Result<Kind, Problem> {
    let word = text.to_ascii_lowercase();
    let found = KINDS.iter().find(|(_, words)| words.contains(&&*word));
    found.map(|(kind, _)| *kind).ok_or_else(|| {
        let plurals: Vec<&str> = KINDS.iter().map(|(_, words)| words[1]).collect();
        Problem::new(code::UNKNOWN_KIND, format!("there is no kind {text:?}"))
            .next(format!("Use one of {}.", plurals.join(", ")))
    })
}

fn absent(kind: Kind, name: &str) -> Problem {
    Problem::new(code::NOT_FOUND, format!("there is no {kind} {name}")).next(format!(
        "`weft get {}` lists those that exist; mind the namespace (-n).",
        kind.to_string().to_lowercase()
    ))
}

/// `kind/namespace/name` in lower case, as `delete` takes it.
pub(crate) fn full_name(item: &Value) -> String {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or_default().to_lowercase();
    let name = text("/metadata/name").unwrap_or_default();
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

fn row(item: &Value) -> Vec<String> {
    let text = |pointer: &str| {
        item.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("-")
            .to_owned()
    };
    let mut spec = item
        .pointer("/spec")
        .map(Value::to_string)
        .unwrap_or_default();
    if spec.len() > 60 {
        let end = (0..=57)
            .rev()
            .find(|at| spec.is_char_boundary(*at))
            .unwrap_or(0);
        spec.truncate(end);
        spec.push_str("...");
    }
    vec![
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/status/cluster"),
        spec,
    ]
}
