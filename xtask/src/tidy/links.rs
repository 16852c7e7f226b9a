//! Links between our own pages lead somewhere. Links to other hosts are not followed.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Finding,
    tree::{Tree, folder, join},
};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts_of("md") {
        for (line, prose) in prose(text) {
            for target in targets(&prose) {
                let problem = problem(tree, path, target);
                findings.extend(problem.map(|what| {
                    Finding::new(
                        format!("{path}:{line}"),
                        format!("the link to {target} is broken: {what}"),
                        "correct it, or write the page",
                    )
                }));
            }
        }
    }
    findings
}

/// The lines of a page with their numbers, without code.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut prose = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| line.trim_start().starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
            (None, None) => prose.push((index + 1, without_code(line))),
        }
    }
    prose
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    let parts = line.split('`').step_by(2);
    parts.collect::<Vec<_>>().join("`")
}

/// What the links of a line lead to: `[text](target "title")` and `[label]: target`.
fn targets(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| {
        let (target, _) = rest.split_once(')')?;
        target.split_whitespace().next()
    });
    let definition = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"))
        .and_then(|(_, target)| target.split_whitespace().next());
    inline
        .chain(definition)
        .map(|target| target.trim_start_matches('<').trim_end_matches('>'))
        .collect()
}

fn problem(tree: &Tree, page: &str, target: &str) -> Option<&'static str> {
    if leaves(target) {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let place = match path.strip_prefix('/') {
        _ if path.is_empty() => Some(page.to_owned()),
        Some(from_root) => join("", from_root),
        None => join(folder(page), path),
    };
    let Some(place) = place.filter(|place| tree.has(place)) else {
        return Some("there is no such file");
    };
    match (anchor, tree.text(&place)) {
        (Some(anchor), Some(text)) if place.ends_with(".md") => {
            (!anchors(text).contains(anchor)).then_some("there is no such heading")
        }
        _ => None,
    }
}

/// Whether a target names another host, a mailbox or the like.
fn leaves(target: &str) -> bool {
    target.starts_with("//")
        || target.split_once(':').is_some_and(|(scheme, _)| {
            scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        })
}

/// The anchors that a page's headings get where it is shown: lower case, words joined
/// by dashes, repeated ones numbered.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for heading in headings(text) {
        let anchor = anchor(heading);
        let count = seen.entry(anchor.clone()).or_default();
        anchors.insert(match *count {
            0 => anchor,
            count => format!("{anchor}-{count}"),
        });
        *count += 1;
    }
    anchors
}

fn headings(text: &str) -> Vec<&str> {
    let mut headings = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            code = !code;
        }
        let title = line.trim_start_matches('#');
        if !code && title.len() < line.len() && title.starts_with(' ') {
            headings.push(title.trim());
        }
    }
    headings
}

fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
        .map(|character| if character == ' ' { '-' } else { character })
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(files: &[(&str, &str)]) -> Vec<String> {
        let findings = check(&Tree::of(files));
        findings.into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn a_link_to_a_missing_file_is_found() {
        let page = "[a](a.md)\n[b](missing.md)\n[c](../README.md) and [d](../../out.md)\n";
        let files = [("docs/x.md", page), ("docs/a.md", ""), ("README.md", "")];
        assert_eq!(broken(&files), ["docs/x.md:2", "docs/x.md:3"]);
    }

    #[test]
    fn links_to_folders_and_from_the_root_resolve() {
        let page = "[a](../deploy) [b](/docs/x.md) [c]( )\n[d]: ../deploy/a.yaml \"title\"\n";
        let files = [("docs/x.md", page), ("deploy/a.yaml", "")];
        assert_eq!(broken(&files), [""; 0]);
    }

    #[test]
    fn definitions_are_links() {
        assert_eq!(broken(&[("x.md", "[label]: missing.md\n")]), ["x.md:1"]);
    }

    #[test]
    fn headings_are_followed() {
        let page = "# One, two & `three`\n## Same\n## Same\n\
                    [a](#one-two--three) [b](x.md#same-1) [c](#absent)\n";
        assert_eq!(broken(&[("x.md", page)]), ["x.md:4"]);
    }

    #[test]
    fn code_and_other_hosts_are_left_alone() {
        let page = "```\n[a](missing.md)\n```\n`[b](missing.md)` [c](https://example.org/x) \
                    [d](mailto:a@example.org)\n";
        assert_eq!(broken(&[("x.md", page)]), [""; 0]);
    }
}
