//! `cargo xtask tidy`: what must hold of the tree and no compiler checks.
//!
//! Each check is a pure function of the files, the manifests and the dependency graph,
//! all read once at the start. It runs as a test too, so plain `cargo test` has it.

mod architecture;
mod decisions;
mod examples;
mod fences;
mod graph;
mod links;
mod lock;
mod modules;
mod purity;
mod syntax;
mod text;
mod tree;
pub(crate) mod workspace;

use std::{fmt, path::Path};

use crate::failure::Failure;
use graph::Graph;
use tree::Tree;
use workspace::Workspace;

/// Something to put right.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    /// A file, with the line where that helps.
    place: String,
    what: String,
    next: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
            next: next.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    next: {}", self.place, self.what, self.next)
    }
}

/// Checks the tree at `root` and prints what it finds.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let findings = findings(root)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure::Untidy(count)),
    }
}

fn findings(root: &Path) -> Result<Vec<Finding>, Failure> {
    let workspace = Workspace::load(root)?;
    let tree = Tree::load(root)?;
    let shipped = Graph::load(root, graph::Edges::Normal)?;
    let everything = Graph::load(root, graph::Edges::All)?;
    let checks = [
        architecture::check(&tree, &workspace),
        decisions::check(&tree),
        examples::check(&tree),
        modules::check(&tree, &workspace),
        fences::check(&workspace, &shipped),
        purity::check(&tree, &workspace),
        lock::check(&tree, &everything),
        text::check(&tree),
        links::check(&tree),
    ];
    Ok(checks.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let findings: Vec<String> = findings(root)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}
