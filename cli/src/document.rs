//! Files of resources and configurations: YAML or JSON, many documents a file,
//! checked strictly, every error with file, line and column.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use weft_model::{
    Cluster, Kind, Metadata, Release, RoleBinding, Route, ServiceExport, TrafficPolicy,
    WorkloadEntry, code,
};

use crate::problem::Problem;

/// One resource of a kind that is enforced.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Document {
    /// A member.
    Cluster(Cluster),
    /// One cluster's offer of a service.
    ServiceExport(ServiceExport),
    /// A server without a sidecar.
    WorkloadEntry(WorkloadEntry),
    /// Who may operate.
    RoleBinding(RoleBinding),
    /// How requests to a service are answered.
    Route(Route),
    /// How callers treat a service's endpoints.
    TrafficPolicy(TrafficPolicy),
    /// How a service's traffic moves from one version to another.
    Release(Release),
}

impl Document {
    /// Its kind.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Cluster(_) => Kind::Cluster,
            Self::ServiceExport(_) => Kind::ServiceExport,
            Self::WorkloadEntry(_) => Kind::WorkloadEntry,
            Self::RoleBinding(_) => Kind::RoleBinding,
            Self::Route(_) => Kind::Route,
            Self::TrafficPolicy(_) => Kind::TrafficPolicy,
            Self::Release(_) => Kind::Release,
        }
    }

    /// Its names.
    pub(crate) fn metadata(&self) -> &Metadata {
        match self {
            Self::Cluster(it) => &it.metadata,
            Self::ServiceExport(it) => &it.metadata,
            Self::WorkloadEntry(it) => &it.metadata,
            Self::RoleBinding(it) => &it.metadata,
            Self::Route(it) => &it.metadata,
            Self::TrafficPolicy(it) => &it.metadata,
            Self::Release(it) => &it.metadata,
        }
    }

    /// Whether its value keeps to the rules of its kind.
    #[cfg(test)]
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Cluster(it) => it.spec.check(),
            Self::ServiceExport(it) => it.spec.check(),
            Self::WorkloadEntry(it) => it.spec.check(),
            Self::RoleBinding(it) => it.spec.check(),
            Self::Route(it) => it.spec.check(),
            Self::TrafficPolicy(it) => it.spec.check(),
            Self::Release(it) => it.spec.check(),
        }
    }
}

/// The part of a document that says how to read the rest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: String,
    kind: String,
}

/// Reads every resource of a file; `-` is standard input. All problems are reported, not the first.
pub(crate) fn read_resources(path: &Path) -> Result<Vec<Document>, Vec<Problem>> {
    let text = read(path).map_err(|problem| vec![problem])?;
    let name = display_name(path);
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for part in split(&text) {
        match resource(&name, &part) {
            Ok(document) => documents.push(document),
            Err(problem) => problems.push(problem),
        }
    }
    if documents.is_empty() && problems.is_empty() {
        problems.push(Problem::new(
            code::SYNTAX,
            format!("{name} holds no resource"),
        ));
    }
    if problems.is_empty() {
        Ok(documents)
    } else {
        Err(problems)
    }
}

/// Reads a resource as a gateway printed it.
pub(crate) fn from_json(value: &serde_json::Value) -> Result<Document, Problem> {
    resource("the gateway's answer", &value.to_string())
}

/// Reads a configuration file of one kind.
pub(crate) fn read_config<T: DeserializeOwned>(path: &Path, kind: &str) -> Result<T, Problem> {
    config(&display_name(path), &read(path)?, kind)
}

fn config<T: DeserializeOwned>(name: &str, text: &str, kind: &str) -> Result<T, Problem> {
    let header: Header = parse(name, text)?;
    check_version(name, &header)?;
    if header.kind != kind {
        return Err(Problem::new(
            code::UNKNOWN_KIND,
            format!(
                "{name}: kind is {}, this command reads a {kind}",
                header.kind
            ),
        ));
    }
    parse(name, text)
}

fn read(path: &Path) -> Result<String, Problem> {
    let result = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    result.map_err(|error| {
        if error.kind() == std::io::ErrorKind::InvalidData {
            return Problem::new(
                code::SYNTAX,
                format!("{} is not text in UTF-8", display_name(path)),
            )
            .next("Save it as UTF-8; nothing of it was applied.");
        }
        Problem::new(
            code::FILE_UNREADABLE,
            format!("cannot read {}", display_name(path)),
        )
        .detail(error)
    })
}

fn display_name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".into()
    } else {
        path.display().to_string()
    }
}

/// The documents of a file, each preceded by as many empty lines as stood before it,
/// so that the parser's line numbers are the file's.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            parts.push("\n".repeat(number + 1));
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    let empty = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    parts.retain(|part| !part.lines().all(empty));
    parts
}

fn resource(name: &str, text: &str) -> Result<Document, Problem> {
    let header: Header = parse(name, text)?;
    check_version(name, &header)?;
    let kind = match weft_model::KindName::parse(&header.kind) {
        weft_model::KindName::Enforced(kind) => kind,
        weft_model::KindName::NotYet(kind) => {
            return Err(Problem::new(
                code::NOT_ENFORCED,
                format!("{name}: kind {kind} is not enforced yet"),
            ));
        }
        weft_model::KindName::Unknown => {
            return Err(Problem::new(
                code::UNKNOWN_KIND,
                format!("{name}: there is no kind {:?}", header.kind),
            )
            .next(
                "Use Cluster, ServiceExport, WorkloadEntry, RoleBinding, Route, TrafficPolicy or Release.",
            ));
        }
    };
    Ok(match kind {
        Kind::Cluster => Document::Cluster(parse_as(kind, name, text)?),
        Kind::ServiceExport => Document::ServiceExport(parse_as(kind, name, text)?),
        Kind::WorkloadEntry => Document::WorkloadEntry(parse_as(kind, name, text)?),
        Kind::RoleBinding => Document::RoleBinding(parse_as(kind, name, text)?),
        Kind::Route => Document::Route(parse_as(kind, name, text)?),
        Kind::TrafficPolicy => Document::TrafficPolicy(parse_as(kind, name, text)?),
        Kind::Release => Document::Release(parse_as(kind, name, text)?),
    })
}

fn check_version(name: &str, header: &Header) -> Result<(), Problem> {
    if header.api_version == "weft.dev/v1" {
        return Ok(());
    }
    Err(Problem::new(
        code::UNKNOWN_KIND,
        format!(
            "{name}: apiVersion is {:?}, only weft.dev/v1 is known",
            header.api_version
        ),
    ))
}

fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Problem> {
    serde_saphyr::from_str(text).map_err(|error| explain(name, None, &error))
}

fn parse_as<T: DeserializeOwned>(kind: Kind, name: &str, text: &str) -> Result<T, Problem> {
    serde_saphyr::from_str(text).map_err(|error| explain(name, Some(kind), &error))
}

/// Turns the parser's error into what, where and a suggestion.
fn explain(name: &str, kind: Option<Kind>, error: &serde_saphyr::Error) -> Problem {
    use serde_saphyr::Error;
    let place = error
        .location()
        .map(|at| format!("{name}:{}:{}", at.line(), at.column()))
        .unwrap_or_else(|| name.to_owned());
    let (code, what, near) = match error.without_snippet() {
        Error::SerdeUnknownField { field, .. }
            if kind.is_some_and(|kind| kind.has_later(field)) =>
        {
            let what = format!("field `{field}` is not enforced yet");
            (code::NOT_ENFORCED, what, None)
        }
        Error::SerdeUnknownField {
            field, expected, ..
        } => (
            code::UNKNOWN_FIELD,
            format!("unknown field `{field}`"),
            nearest(field, expected),
        ),
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => (
            code::WRONG_VALUE,
            format!("unknown value `{variant}`"),
            nearest(variant, expected),
        ),
        Error::ExternalMessage { msg, .. } => (code::SYNTAX, msg.clone(), None),
        Error::Eof { .. } => (code::SYNTAX, "the document ends too early".into(), None),
        other => {
            let rendered = other.render();
            let summary = strip_place(rendered.lines().next().unwrap_or_default());
            (code::WRONG_VALUE, summary.to_owned(), None)
        }
    };
    let problem = Problem::new(code, format!("{place}: {what}")).detail(error.render());
    match near {
        Some(near) => problem.next(format!("Did you mean `{near}`? Nothing was applied.")),
        None => problem,
    }
}

/// The message without the parser's own "error: line 3 column 4: ", which the place says already.
fn strip_place(summary: &str) -> &str {
    let rest = summary.strip_prefix("error: ").unwrap_or(summary);
    match rest.split_once(": ") {
        Some((place, message)) if place.starts_with("line ") => message,
        _ => rest,
    }
}

/// The nearest name by edit distance, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let near = names
        .iter()
        .map(|name| (distance(word, name), *name))
        .min()?;
    (near.0 <= word.len().max(3) / 3 + 1).then_some(near.1)
}

/// Levenshtein's distance, letters' case ignored.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORT: &str = "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: {name: checkout, namespace: shop}
spec:
  ports:
    - {name: http, port: 80, appProtocol: http}
  exportTo: ['*']
";

    fn problem(text: &str) -> Problem {
        resource("x.yaml", text).expect_err("must be refused")
    }

    #[test]
    fn a_sound_document_is_read() {
        let document = resource("x.yaml", EXPORT).expect("sound");
        assert!(matches!(document, Document::ServiceExport(_)));
    }

    #[test]
    fn a_misspelt_field_has_its_place_and_a_suggestion() {
        let problem = problem(&EXPORT.replace("exportTo", "exportTwo"));
        assert_eq!(problem.code, code::UNKNOWN_FIELD);
        assert!(
            problem.what.starts_with("x.yaml:7:3: unknown field"),
            "{}",
            problem.what
        );
        assert!(problem.next.expect("a suggestion").contains("`exportTo`"));
    }

    #[test]
    fn lines_count_from_the_beginning_of_the_file() {
        let text = format!(
            "# first\n---\n{EXPORT}---\n{}",
            EXPORT.replace("port: 80", "port: 0")
        );
        let parts = split(&text);
        assert_eq!(parts.len(), 2);
        let problem = problem(&parts[1]);
        assert!(problem.what.starts_with("x.yaml:16:"), "{}", problem.what);
        assert_eq!(problem.code, code::WRONG_VALUE, "{problem}");
    }

    #[test]
    fn kinds_not_enforced_are_refused_by_name() {
        let limit =
            "apiVersion: weft.dev/v1\nkind: ConcurrencyLimit\nmetadata: {name: x}\nspec: {}\n";
        assert_eq!(problem(limit).code, code::NOT_ENFORCED);
        let unknown = limit.replace("Limit", "Limt");
        assert_eq!(problem(&unknown).code, code::UNKNOWN_KIND);
    }

    #[test]
    fn fields_not_enforced_are_refused_by_name() {
        let release = "\
apiVersion: weft.dev/v1
kind: Release
metadata: {name: v2, namespace: shop}
spec:
  service: checkout
  stable: v1
  canary: v2
  waves:
    - {name: all, regions: ['*'], steps: [{setWeight: 5}, {pause: {}}]}
";
        resource("x.yaml", release).expect("sound");
        let timed = release.replace("{pause: {}}", "{pause: {duration: 10m}}");
        let judged = format!("{release}  analysis: {{}}\n");
        for (text, field) in [(timed, "duration"), (judged, "analysis")] {
            let problem = problem(&text);
            assert_eq!(problem.code, code::NOT_ENFORCED, "{problem}");
            assert!(problem.what.contains(field), "{problem}");
        }
        let misspelt = problem(&release.replace("canary:", "canery:"));
        assert_eq!(misspelt.code, code::UNKNOWN_FIELD);
    }

    #[test]
    fn the_nearest_name_is_offered_only_if_it_is_near() {
        assert_eq!(
            nearest("exportTwo", &["ports", "exportTo"]),
            Some("exportTo")
        );
        assert_eq!(nearest("zebra", &["ports", "exportTo"]), None);
    }

    /// Every sample that the project ships is read by what reads its users' files.
    #[test]
    fn every_sample_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folders = [root.join("../deploy"), root.join("samples")];
        let entries = folders
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
        let samples: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
            .collect();
        assert!(samples.len() >= 8, "{samples:?}");
        for sample in samples {
            let name = sample.file_name().expect("a file").to_owned();
            if name == "gateway.yaml" {
                let _: weft_gateway::config::GatewayConfigFile =
                    read_config(&sample, "GatewayConfig").expect("a gateway's configuration");
            } else if name == "sidecar.yaml" {
                let file: weft_proxy::SidecarConfig =
                    read_config(&sample, "SidecarConfig").expect("a sidecar's configuration");
                weft_proxy::Config::try_from(file).expect("a sound configuration");
            } else {
                for document in read_resources(&sample).expect("resources") {
                    assert_eq!(document.check(), Ok(()), "{}", sample.display());
                }
            }
        }
    }

    /// What users write: every sample of the project, changed.
    #[test]
    fn no_mutant_of_a_file_panics() {
        use weft_mutants::Decoder;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folders = [root.join("../deploy"), root.join("samples")];
        let entries = folders
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let yaml = paths.filter(|path| path.extension().is_some_and(|ending| ending == "yaml"));
        let (mut resources, mut gateways, mut sidecars) = (vec![EXPORT.into()], vec![], vec![]);
        for path in yaml {
            let text = std::fs::read(&path).expect("a sample");
            match path.file_name().and_then(|name| name.to_str()) {
                Some("gateway.yaml") => gateways.push(text),
                Some("sidecar.yaml") => sidecars.push(text),
                _ => resources.push(text),
            }
        }
        let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let words = |problem: Problem| problem.to_string();
        weft_mutants::check(&[
            Decoder::new("a file of resources", resources, |bytes| {
                let parts = split(&text(bytes)?);
                let read = parts.iter().map(|part| {
                    let document = resource("x.yaml", part).map_err(words)?;
                    document.check()
                });
                read.collect::<Result<Vec<_>, _>>()
            })
            .fewer(4),
            Decoder::new("a gateway's configuration", gateways, |bytes| {
                let read = config("x.yaml", &text(bytes)?, "GatewayConfig");
                read.map(|_: weft_gateway::config::GatewayConfigFile| ())
                    .map_err(words)
            })
            .fewer(4),
            Decoder::new("a sidecar's configuration", sidecars, |bytes| {
                let read = config("x.yaml", &text(bytes)?, "SidecarConfig");
                let read: weft_proxy::SidecarConfig = read.map_err(words)?;
                let checked = weft_proxy::Config::try_from(read);
                checked.map(|_| ()).map_err(|error| error.to_string())
            })
            .fewer(4),
        ]);
    }
}
