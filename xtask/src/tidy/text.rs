//! What must not stand in a file: unfinished work, tests that do not run, paths of
//! somebody's machine, and more lines than one reads in a sitting.

use std::collections::BTreeSet;

use super::{Finding, tree::Tree};

/// The most lines that a file may have.
const LINES_MAX: usize = 500;

/// Files that may be longer, each with the reason.
const LONG: &[(&str, &str)] = &[
    (
        "docs/reference/errors.md",
        "written from the table of codes: it is looked up, not read",
    ),
    (
        "proto/weft/log/v1/log.proto",
        "the log's format, where numbers are given out once for all of it",
    ),
];

/// Written by Cargo, not by us.
const GENERATED: &[&str] = &["Cargo.lock"];

/// What no Rust file says, and what to do instead. Put together here, so that this file
/// does not say it either.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("todo", "!"), "finish it, or leave it out"),
    (concat!("unimplemented", "!"), "finish it, or leave it out"),
    (concat!("dbg", "!"), "take it out"),
    (
        concat!("#[", "ignore"),
        "make the test run everywhere, or delete it",
    ),
];

/// Folders of the machine that a file was written on.
const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = long_files(tree, LONG);
    findings.extend(lines(tree));
    findings
}

/// What must not stand in a line.
fn lines(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        for (index, line) in text.lines().enumerate() {
            let place = || format!("{path}:{}", index + 1);
            if path.ends_with(".rs") {
                findings.extend(forbidden(line).map(|(word, next)| {
                    Finding::new(place(), format!("`{word}` must not land"), next)
                }));
            }
            findings.extend(machine_path(line).map(|folder| {
                Finding::new(
                    place(),
                    format!("a path under {folder} exists on one machine only"),
                    "name it relative to the project, or by a variable",
                )
            }));
        }
    }
    findings
}

fn long_files(tree: &Tree, allowed: &[(&str, &str)]) -> Vec<Finding> {
    let long: BTreeSet<&str> = tree
        .texts()
        .filter(|(path, _)| !GENERATED.contains(path))
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(path, _)| path)
        .collect();
    let allowed: BTreeSet<&str> = allowed.iter().map(|(path, _)| *path).collect();
    let mut findings: Vec<Finding> = long
        .difference(&allowed)
        .map(|path| {
            Finding::new(
                *path,
                format!("more than {LINES_MAX} lines"),
                "ask what it is hiding, and split it there",
            )
        })
        .collect();
    findings.extend(allowed.difference(&long).map(|path| {
        Finding::new(
            *path,
            format!("may have more than {LINES_MAX} lines, and has not"),
            "take it out of the list in xtask/src/tidy/text.rs",
        )
    }));
    findings
}

fn forbidden(line: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let words = FORBIDDEN.iter().copied();
    words.filter(move |(word, _)| stands_alone(line, word))
}

fn machine_path(line: &str) -> Option<&'static str> {
    let mut folders = MACHINE.iter().copied();
    folders.find(|folder| stands_alone(line, folder))
}

/// Whether `word` is in `line`, and not as the end of something longer.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "_-.~}$".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(files: &[(&str, &str)]) -> Vec<String> {
        let findings = lines(&Tree::of(files));
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn unfinished_work_and_skipped_tests_are_found() {
        for (word, _) in FORBIDDEN {
            let text = format!("fn f() {{\n    {word}\n}}\n");
            let findings = lines(&Tree::of(&[("a.rs", &text)]));
            assert_eq!(findings.len(), 1, "{word}");
            assert_eq!(findings[0].place, "a.rs:2");
            assert_eq!(
                whats(&[("a.md", &text)]),
                [""; 0],
                "only code is held to it"
            );
        }
    }

    #[test]
    fn a_longer_word_is_another_word() {
        let text = format!("my_{}(x);", concat!("dbg", "!"));
        assert_eq!(whats(&[("a.rs", &text)]), [""; 0]);
    }

    #[test]
    fn paths_of_a_machine_are_found_in_any_file() {
        for folder in MACHINE {
            let text = format!("cd {folder}x");
            assert_eq!(whats(&[("a.md", &text)]).len(), 1, "{folder}");
            let inner = format!("https://example.org{folder}x and ..{folder}x");
            assert_eq!(whats(&[("a.md", &inner)]), [""; 0], "{folder}");
        }
    }

    #[test]
    fn long_files_need_a_reason_and_a_reason_a_long_file() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let tree = Tree::of(&[("a.rs", &long), ("b.rs", "x\n"), ("Cargo.lock", &long)]);
        let places = |allowed| -> Vec<String> {
            let findings = long_files(&tree, allowed);
            findings.into_iter().map(|finding| finding.place).collect()
        };
        assert_eq!(places(&[]), ["a.rs"]);
        assert_eq!(places(&[("a.rs", "a table")]), [""; 0]);
        assert_eq!(
            places(&[("a.rs", "a table"), ("b.rs", "a table")]),
            ["b.rs"]
        );
    }
}
