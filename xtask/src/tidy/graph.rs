//! The dependency graph as it is compiled for the targets we ship for.
//!
//! From `cargo tree` and not from `Cargo.lock` or `cargo metadata`: the lock file names
//! crates of targets we never build for, and the metadata turns on features that only
//! those targets ask for. quinn-proto asks for `ring` on WebAssembly, for example; the
//! lock file must name it, and no program of ours contains it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
};

use crate::{
    failure::Failure,
    stage::{cargo, output},
};

/// The targets that `deny.toml` judges too.
const TARGETS: &[&str] = &["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Which dependencies to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edges {
    /// What ends up in a program or runs while it is compiled in.
    Normal,
    /// Build scripts and tests too.
    All,
}

/// A crate at one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) version: String,
}

/// Crates and what each depends on directly.
#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: BTreeMap<Node, BTreeSet<Node>>,
    /// Crates that run in the compiler and are part of no program.
    procedural: BTreeSet<Node>,
}

impl Graph {
    pub(super) fn load(root: &Path, edges: Edges) -> Result<Self, Failure> {
        let mut graph = Self::default();
        for target in TARGETS {
            let mut command = cargo();
            command.args(["tree", "--workspace", "--all-features", "--locked"]);
            command.args(["--target", target, "--prefix", "depth", "--format", "{p}"]);
            command.args(match edges {
                Edges::Normal => ["--edges", "normal"],
                Edges::All => ["--edges", "normal,build,dev"],
            });
            graph.read(&output(root, &mut command)?);
        }
        Ok(graph)
    }

    /// Adds what `cargo tree --prefix depth --format {p}` printed: a line per crate,
    /// its depth right before its name. A crate met before is not unfolded again.
    fn read(&mut self, listing: &str) {
        let mut path: Vec<Node> = Vec::new();
        for line in listing.lines() {
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            let (depth, rest) = line.split_at(digits);
            let mut words = rest.split(' ');
            // Blank lines and the headings of build dependencies have no depth.
            let (Ok(depth), Some(name), Some(version)) =
                (depth.parse::<usize>(), words.next(), words.next())
            else {
                continue;
            };
            let node = Node {
                name: name.to_owned(),
                version: version.trim_start_matches('v').to_owned(),
            };
            if words.any(|word| word == "(proc-macro)") {
                self.procedural.insert(node.clone());
            }
            path.truncate(depth);
            self.edges.entry(node.clone()).or_default();
            if let Some(parent) = path.last() {
                self.edges
                    .entry(parent.clone())
                    .or_default()
                    .insert(node.clone());
            }
            path.push(node);
        }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.edges.keys()
    }

    /// How the crate called `from` comes to contain a crate that `wanted` picks: the
    /// shortest chain, both ends included. Procedural macros contain nothing.
    pub(super) fn chain(&self, from: &str, wanted: impl Fn(&Node) -> bool) -> Option<Vec<&Node>> {
        let start = self.edges.keys().find(|node| node.name == from)?;
        let mut parents: BTreeMap<&Node, &Node> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            if node != start && wanted(node) {
                return Some(unwind(&parents, node));
            }
            if self.procedural.contains(node) {
                continue;
            }
            for next in self.edges.get(node).into_iter().flatten() {
                if next != start && !parents.contains_key(next) {
                    parents.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// The crates that depend directly on `node`.
    pub(super) fn dependents(&self, node: &Node) -> Vec<&Node> {
        let edges = self.edges.iter();
        edges
            .filter(|(_, next)| next.contains(node))
            .map(|(dependent, _)| dependent)
            .collect()
    }
}

fn unwind<'a>(parents: &BTreeMap<&'a Node, &'a Node>, end: &'a Node) -> Vec<&'a Node> {
    let mut chain = vec![end];
    let mut node = end;
    while let Some(parent) = parents.get(node) {
        chain.push(parent);
        node = parent;
    }
    chain.reverse();
    chain
}

#[cfg(test)]
impl Graph {
    /// The graph of a listing as `cargo tree` prints it.
    pub(super) fn of(listing: &str) -> Self {
        let mut graph = Self::default();
        graph.read(listing);
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
0top v0.1.0 (/somewhere/top)
1left v1.0.0
2deep v2.0.0
1macros v1.0.0 (proc-macro)
2parser v1.0.0

0other v0.1.0 (/somewhere/other)
1left v1.0.0 (*)
[build-dependencies]
1deep v1.9.0
";

    fn names(chain: Option<Vec<&Node>>) -> Option<Vec<&str>> {
        chain.map(|nodes| nodes.iter().map(|node| node.name.as_str()).collect())
    }

    #[test]
    fn chains_are_found_through_folded_crates() {
        let graph = Graph::of(LISTING);
        let chain = graph.chain("other", |node| node.version == "2.0.0");
        assert_eq!(names(chain), Some(vec!["other", "left", "deep"]));
    }

    #[test]
    fn the_shortest_chain_is_told() {
        let chain = Graph::of(LISTING);
        let chain = chain.chain("other", |node| node.name == "deep");
        assert_eq!(names(chain), Some(vec!["other", "deep"]));
    }

    #[test]
    fn what_a_procedural_macro_uses_is_not_contained() {
        let graph = Graph::of(LISTING);
        assert_eq!(graph.chain("top", |node| node.name == "parser"), None);
    }

    #[test]
    fn dependents_are_direct() {
        let graph = Graph::of(LISTING);
        let deep = Node {
            name: "deep".into(),
            version: "2.0.0".into(),
        };
        assert_eq!(graph.dependents(&deep)[0].name, "left");
        assert_eq!(graph.nodes().count(), 7);
    }
}
