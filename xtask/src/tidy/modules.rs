//! Every Rust file is reached from the root of some target.
//!
//! A file that no `mod` line names is not compiled: its tests never run, and nothing
//! says so.

use std::collections::BTreeSet;

use super::{
    Finding,
    syntax::{self, Module, Reference},
    tree::{Tree, folder, join},
    workspace::Workspace,
};

pub(super) fn check(tree: &Tree, workspace: &Workspace) -> Vec<Finding> {
    let reached = reached(tree, workspace);
    let lost = tree
        .texts_of("rs")
        .filter(|(path, _)| !reached.contains(*path));
    lost.map(|(path, _)| match workspace.owner(path) {
        Some(owner) => Finding::new(
            path,
            format!(
                "no `mod` line of {} reaches this file, so it is not compiled",
                owner.name
            ),
            "name it in the module above it, or delete it",
        ),
        None => Finding::new(
            path,
            "belongs to no crate of the workspace",
            "move it into one, or list its crate in Cargo.toml",
        ),
    })
    .collect()
}

/// A file to be read.
struct Visit {
    path: String,
    /// The folder of its child modules, where that is not the file's own: `x/` for
    /// `x.rs`. A crate's root, a `mod.rs` and a file that a `path` attribute names have
    /// their children beside them.
    below: Option<String>,
}

impl Visit {
    fn beside(path: String) -> Self {
        Self { path, below: None }
    }
}

fn reached(tree: &Tree, workspace: &Workspace) -> BTreeSet<String> {
    let roots = workspace.crates.iter().flat_map(|member| &member.roots);
    let mut waiting: Vec<Visit> = roots.cloned().map(Visit::beside).collect();
    let mut reached = BTreeSet::new();
    while let Some(visit) = waiting.pop() {
        let Some(source) = tree.text(&visit.path) else {
            continue;
        };
        if !reached.insert(visit.path.clone()) {
            continue;
        }
        for reference in syntax::references(source) {
            waiting.extend(targets(&visit, &reference));
        }
    }
    reached
}

/// The files that a reference may mean. Those that do not exist are passed over later.
fn targets(from: &Visit, reference: &Reference) -> Vec<Visit> {
    match reference {
        Reference::Include { path } => join(folder(&from.path), path)
            .map(Visit::beside)
            .into_iter()
            .collect(),
        Reference::Module { inside, module } => files(from, inside, module),
    }
}

/// The files of a module, by the compiler's own rules: a `path` attribute starts at the
/// folder of the file, or of the inline module around it, for which it names a folder.
fn files(from: &Visit, inside: &[Module], module: &Module) -> Vec<Visit> {
    let mut here = folder(&from.path).to_owned();
    let mut below = from.below.as_deref();
    for outer in inside {
        let named = outer.paths.first().and_then(|path| join(&here, path));
        here = named.unwrap_or_else(|| child(&here, below, &outer.name));
        below = None;
    }
    let named = module.paths.iter().filter_map(|path| join(&here, path));
    let mut files: Vec<Visit> = named.map(Visit::beside).collect();
    let plain = child(&here, below, &module.name);
    files.push(Visit::beside(format!("{plain}/mod.rs")));
    files.push(Visit {
        path: format!("{plain}.rs"),
        below: Some(module.name.clone()),
    });
    files
}

fn child(folder: &str, below: Option<&str>, name: &str) -> String {
    let parts = [folder, below.unwrap_or_default(), name];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of crate `c` in folder `c` that are not reached.
    fn lost(files: &[(&str, &str)]) -> Vec<String> {
        let workspace = Workspace::of(&[("c", "c")]);
        let findings = check(&Tree::of(files), &workspace);
        findings.into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn a_file_without_a_mod_line_is_found() {
        let files = [
            ("c/src/lib.rs", "mod a;"),
            ("c/src/a.rs", "mod deep;"),
            ("c/src/a/deep.rs", ""),
            ("c/src/a/lost.rs", ""),
            ("c/src/lost.rs", ""),
        ];
        assert_eq!(lost(&files), ["c/src/a/lost.rs", "c/src/lost.rs"]);
    }

    #[test]
    fn both_forms_of_module_files_are_reached() {
        let files = [
            ("c/src/lib.rs", "mod a; mod b;"),
            ("c/src/a/mod.rs", "mod x;"),
            ("c/src/a/x.rs", ""),
            (
                "c/src/b.rs",
                "mod inline { mod y; } #[path = \".\"] mod tests { mod z; }",
            ),
            ("c/src/b/inline/y.rs", ""),
            ("c/src/z.rs", ""),
        ];
        assert_eq!(lost(&files), [""; 0]);
    }

    #[test]
    fn path_attributes_and_included_files_are_reached() {
        let files = [
            ("c/src/lib.rs", "#[path = \"odd/name.rs\"] mod a; mod b;"),
            ("c/src/odd/name.rs", "mod child;"),
            ("c/src/odd/child.rs", ""),
            (
                "c/src/b.rs",
                "#[path = \"table.rs\"] mod t; include!(\"list.rs\");",
            ),
            ("c/src/table.rs", ""),
            ("c/src/list.rs", ""),
        ];
        assert_eq!(lost(&files), [""; 0]);
    }

    #[test]
    fn test_helpers_that_no_test_names_are_found() {
        let files = [("c/src/lib.rs", ""), ("c/tests/common/mod.rs", "")];
        assert_eq!(lost(&files), ["c/tests/common/mod.rs"]);
    }

    #[test]
    fn a_file_outside_of_every_crate_is_found() {
        let findings = check(&Tree::of(&[("x.rs", "")]), &Workspace::of(&[("c", "c")]));
        assert_eq!(findings[0].what, "belongs to no crate of the workspace");
    }

    #[test]
    fn modules_that_name_each_other_end() {
        let files = [
            ("c/src/lib.rs", "#[path = \"a.rs\"] mod a;"),
            ("c/src/a.rs", "#[path = \"lib.rs\"] mod l;"),
        ];
        assert_eq!(lost(&files), [""; 0]);
    }
}
