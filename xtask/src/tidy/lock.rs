//! What the dependency tree may contain: crates.io alone, no `ring`, and no second
//! version of a crate that is not accounted for in `deny.toml`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Finding,
    graph::{Graph, Node},
    tree::Tree,
};

const LOCK: &str = "Cargo.lock";
const DENY: &str = "deny.toml";
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The cryptographic provider that is not ours. `Cargo.lock` may name it for targets
/// we never build for; what we build must not contain it.
const OTHER_PROVIDER: &str = "ring";

pub(super) fn check(tree: &Tree, graph: &Graph) -> Vec<Finding> {
    let mut findings = foreign_sources(tree.text(LOCK).unwrap_or_default());
    findings.extend(other_provider(graph));
    match skipped(tree.text(DENY).unwrap_or_default()) {
        Ok(skipped) => findings.extend(duplicates(graph, &skipped)),
        Err(finding) => findings.push(finding),
    }
    findings
}

fn foreign_sources(lock: &str) -> Vec<Finding> {
    let sources = lock.lines().enumerate().filter_map(|(index, line)| {
        let source = line.strip_prefix("source = ")?.trim_matches('"');
        (source != CRATES_IO).then_some((index, source))
    });
    sources
        .map(|(index, source)| {
            Finding::new(
                format!("{LOCK}:{}", index + 1),
                format!("a dependency comes from {source}"),
                "depend on a release from crates.io: others must be able to build this later",
            )
        })
        .collect()
}

fn other_provider(graph: &Graph) -> Option<Finding> {
    let node = graph.nodes().find(|node| node.name == OTHER_PROVIDER)?;
    Some(Finding::new(
        LOCK,
        format!(
            "{} is compiled, asked for by {}",
            node.name,
            dependents(graph, node)
        ),
        "choose that crate's features so that it uses aws-lc-rs: default-features = false \
         in Cargo.toml; `cargo tree -i ring` shows the way",
    ))
}

/// A crate and the part of its version by which Cargo tells incompatible ones apart:
/// there is at most one of each in a build.
type Line = (String, String);

fn line(node: &Node) -> Line {
    (node.name.clone(), compatible(&node.version))
}

/// `1.2.3` → `1`, `0.2.3` → `0.2`, `0.0.3` → `0.0.3`.
fn compatible(version: &str) -> String {
    let parts: Vec<&str> = version.split('.').collect();
    let significant = parts.iter().position(|part| *part != "0");
    let kept = significant.map_or(parts.len(), |index| index + 1);
    parts[..kept].join(".")
}

/// The lines of `skip = [` in `deny.toml`, one entry each, as its comment asks.
fn skipped(deny: &str) -> Result<BTreeSet<Line>, Finding> {
    let mut skipped = BTreeSet::new();
    let lines = deny.lines().enumerate();
    let entries = lines
        .skip_while(|(_, line)| line.trim() != "skip = [")
        .skip(1)
        .take_while(|(_, line)| line.trim() != "]")
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#'));
    for (index, text) in entries {
        let entry = entry(text).ok_or_else(|| {
            Finding::new(
                format!("{DENY}:{}", index + 1),
                "an entry of `skip` that cannot be read",
                "write it as { crate = \"name@1\", reason = \"who holds it back\" },",
            )
        })?;
        skipped.insert(entry);
    }
    Ok(skipped)
}

fn entry(text: &str) -> Option<Line> {
    let (spec, reason) = text
        .trim()
        .strip_prefix("{ crate = \"")?
        .strip_suffix("\" },")?
        .split_once("\", reason = \"")?;
    let (name, version) = spec.split_once('@')?;
    (!reason.trim().is_empty()).then(|| (name.to_owned(), version.to_owned()))
}

/// Of each crate the newest version needs no reason; every other one does.
fn duplicates(graph: &Graph, skipped: &BTreeSet<Line>) -> Vec<Finding> {
    let older = older_versions(graph);
    let unlisted = older.iter().filter(|(line, _)| !skipped.contains(*line));
    let mut findings: Vec<Finding> = unlisted
        .map(|((name, version), node)| {
            Finding::new(
                LOCK,
                format!(
                    "{name} {} is a second version, held back by {}",
                    node.version,
                    dependents(graph, node)
                ),
                format!("avoid it, or list {name}@{version} with the reason in {DENY}"),
            )
        })
        .collect();
    let stale = skipped.iter().filter(|line| !older.contains_key(*line));
    findings.extend(stale.map(|(name, version)| {
        Finding::new(
            DENY,
            format!("{name}@{version} is listed, and is no second version any more"),
            "take the entry out",
        )
    }));
    findings
}

fn older_versions(graph: &Graph) -> BTreeMap<Line, &Node> {
    let mut versions: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for node in graph.nodes() {
        versions.entry(&node.name).or_default().push(node);
    }
    let mut older = BTreeMap::new();
    for mut nodes in versions.into_values() {
        nodes.sort_by_key(|node| precedence(&node.version));
        nodes.pop();
        older.extend(nodes.into_iter().map(|node| (line(node), node)));
    }
    older
}

/// The numbers of a version, for comparing; what is no number counts as 0.
fn precedence(version: &str) -> Vec<u64> {
    version
        .split(['.', '-', '+'])
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

fn dependents(graph: &Graph, node: &Node) -> String {
    let names: Vec<String> = graph
        .dependents(node)
        .iter()
        .map(|dependent| format!("{} {}", dependent.name, dependent.version))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "0a v0.1.0\n1b v1.0.0\n2dup v0.9.1\n1dup v0.10.2\n";

    fn deny(entries: &str) -> String {
        format!("[bans]\nskip = [\n# why\n{entries}\n]\n")
    }

    fn whats(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .map(|finding| finding.what.as_str())
            .collect()
    }

    #[test]
    fn a_second_version_needs_a_reason() {
        let graph = Graph::of(LISTING);
        let tree = Tree::of(&[(DENY, &deny(""))]);
        let findings = check(&tree, &graph);
        assert_eq!(
            whats(&findings),
            ["dup 0.9.1 is a second version, held back by b 1.0.0"]
        );
        assert!(findings[0].next.contains("dup@0.9 "), "{}", findings[0]);
    }

    #[test]
    fn a_listed_second_version_is_fine() {
        let entry = "{ crate = \"dup@0.9\", reason = \"b\" },";
        let tree = Tree::of(&[(DENY, &deny(entry))]);
        assert_eq!(check(&tree, &Graph::of(LISTING)), []);
    }

    #[test]
    fn an_entry_that_is_no_longer_needed_is_found() {
        let entries =
            "{ crate = \"dup@0.9\", reason = \"b\" },\n{ crate = \"old@1\", reason = \"c\" },";
        let tree = Tree::of(&[(DENY, &deny(entries))]);
        let findings = check(&tree, &Graph::of(LISTING));
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].what.starts_with("old@1 is listed"),
            "{}",
            findings[0]
        );
    }

    #[test]
    fn an_entry_without_a_reason_is_found() {
        for entry in ["\"dup@0.9\",", "{ crate = \"dup@0.9\", reason = \"\" },"] {
            let tree = Tree::of(&[(DENY, &deny(entry))]);
            let findings = check(&tree, &Graph::of(LISTING));
            assert_eq!(findings[0].place, "deny.toml:4", "{entry}");
        }
    }

    #[test]
    fn sources_other_than_crates_io_are_found() {
        let lock = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
                    source = \"git+https://example.org/x?rev=1#1\"\n";
        let findings = check(&Tree::of(&[(LOCK, lock)]), &Graph::default());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "Cargo.lock:2");
    }

    #[test]
    fn ring_is_found_where_it_is_compiled() {
        let graph = Graph::of("0a v0.1.0\n1webpki v1.0.0\n2ring v0.17.0\n");
        let findings = check(&Tree::of(&[]), &graph);
        assert_eq!(
            whats(&findings),
            ["ring is compiled, asked for by webpki 1.0.0"]
        );
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(precedence("0.10.0") > precedence("0.9.9"));
        for (version, expected) in [("1.2.3", "1"), ("0.2.3", "0.2"), ("0.0.3", "0.0.3")] {
            assert_eq!(compatible(version), expected);
        }
    }
}
