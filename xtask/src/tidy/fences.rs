//! Which crate may depend on which.
//!
//! Two fences. Among our own crates, arrows point one way, and each arrow is a decision:
//! a new one changes the table below and `docs/architecture.md` in the same commit.
//! And the cores contain nothing that knows of runtimes, sockets, clocks, chance or
//! wires, neither directly nor through something that looks harmless.

use super::{
    Finding,
    graph::{Graph, Node},
    workspace::{Crate, Dependency, Kind, Workspace},
};

/// For each of our crates, those of ours that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("weft-model", &[]),
    ("weft-proto", &[]),
    ("weft-wan", &[]),
    ("weft-decide", &["weft-model"]),
    ("weft-plan", &["weft-model"]),
    ("weft-identity", &["weft-model"]),
    (
        "weft-registry",
        &["weft-model", "weft-proto", "weft-identity"],
    ),
    (
        "weft-proxy",
        &["weft-model", "weft-decide", "weft-identity", "weft-proto"],
    ),
    (
        "weft-gateway",
        &[
            "weft-model",
            "weft-decide",
            "weft-plan",
            "weft-identity",
            "weft-proto",
            "weft-registry",
            "weft-proxy",
        ],
    ),
    (
        "weft",
        &[
            "weft-model",
            "weft-decide",
            "weft-plan",
            "weft-identity",
            "weft-proto",
            "weft-registry",
            "weft-proxy",
            "weft-gateway",
            "weft-wan",
        ],
    ),
    ("weft-test-support", &["weft-wan"]),
    ("weft-mutants", &[]),
    (
        "weft-sim",
        &[
            "weft-model",
            "weft-decide",
            "weft-plan",
            "weft-identity",
            "weft-proto",
            "weft-registry",
            "weft-wan",
        ],
    ),
    (
        "weft-nemesis",
        &[
            "weft-model",
            "weft-identity",
            "weft-proto",
            "weft-registry",
            "weft-proxy",
            "weft-test-support",
            "weft-wan",
        ],
    ),
    ("weft-bench", &["weft-nemesis", "weft-test-support"]),
    (
        "weft-mallory",
        &[
            "weft-model",
            "weft-identity",
            "weft-proto",
            "weft-registry",
            "weft-proxy",
            "weft-gateway",
            "weft-test-support",
        ],
    ),
    ("weft-e2e", &["weft-test-support", "weft-registry"]),
    ("xtask", &[]),
];

/// What any crate's tests may use of ours besides.
const FOR_TESTS: &[&str] = &["weft-test-support", "weft-mutants", "weft-wan"];

/// The crates that decide and never act.
pub(super) const CORES: &[&str] = &["weft-model", "weft-decide", "weft-plan"];

/// What no core may contain. A name ending in `-` stands for a family of names.
const IMPURE: &[(&str, &str)] = &[
    ("async-std", "a runtime"),
    ("aws-lc-", "a cryptographic provider"),
    ("chrono", "a clock"),
    ("futures", "a runtime's vocabulary"),
    ("futures-", "a runtime's vocabulary"),
    ("getrandom", "chance"),
    ("h2", "a wire"),
    ("hickory-", "a wire"),
    ("hyper", "a wire"),
    ("hyper-", "a wire"),
    ("libc", "system calls"),
    ("mio", "sockets"),
    ("nix", "system calls"),
    ("prost", "a wire"),
    ("prost-", "a wire"),
    ("quinn", "sockets"),
    ("quinn-", "sockets"),
    ("raft", "the consensus shell"),
    ("raft-", "the consensus shell"),
    ("rand", "chance"),
    ("rand_core", "chance"),
    ("redb", "a disk"),
    ("rustix", "system calls"),
    ("rustls", "a wire"),
    ("rustls-", "a wire"),
    ("smol", "a runtime"),
    ("socket2", "sockets"),
    ("time", "a clock"),
    ("tokio", "a runtime"),
    ("tokio-", "a runtime"),
    ("tonic", "a wire"),
    ("tonic-", "a wire"),
    ("tracing", "logging: a core returns its reasons"),
    ("tracing-", "logging: a core returns its reasons"),
    ("weft-proto", "the wire types"),
];

pub(super) fn check(workspace: &Workspace, graph: &Graph) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for member in &workspace.crates {
        findings.extend(forbidden_arrows(workspace, member));
        if CORES.contains(&member.name.as_str()) {
            findings.extend(impurities(member, graph));
        }
    }
    findings
}

fn forbidden_arrows(workspace: &Workspace, member: &Crate) -> Vec<Finding> {
    let row = ARROWS.iter().find(|(name, _)| *name == member.name);
    let Some((_, allowed)) = row else {
        return vec![Finding::new(
            member.manifest(),
            format!("{} has no row in the table of arrows", member.name),
            "add one in xtask/src/tidy/fences.rs, and the crate to docs/architecture.md",
        )];
    };
    let ours = |name: &str| workspace.crates.iter().any(|other| other.name == name);
    let forbidden = |dependency: &&Dependency| {
        let name = dependency.name.as_str();
        // Itself: with a feature that its own tests want.
        let may_test_with = FOR_TESTS.contains(&name) || name == member.name;
        let for_tests = dependency.kind == Some(Kind::Dev) && may_test_with;
        ours(name) && !allowed.contains(&name) && !for_tests
    };
    let dependencies = member.dependencies.iter().filter(forbidden);
    dependencies
        .map(|dependency| {
            Finding::new(
                member.manifest(),
                format!("{} may not depend on {}", member.name, dependency.name),
                "move what is needed below both, or make the arrow a decision of its own: \
                 xtask/src/tidy/fences.rs with docs/architecture.md",
            )
        })
        .collect()
}

/// One finding per kind of impurity, with the chain that brings it in.
fn impurities(member: &Crate, graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, kind) in IMPURE {
        let Some(chain) = graph.chain(&member.name, |node| matches(name, node)) else {
            continue;
        };
        let chain: Vec<&str> = chain.iter().map(|node| node.name.as_str()).collect();
        findings.push(Finding::new(
            member.manifest(),
            format!("a core contains {kind}: {}", chain.join(" → ")),
            "take it as a value in an argument, and leave the dependency to the shell",
        ));
    }
    findings
}

fn matches(name: &str, node: &Node) -> bool {
    match name.strip_suffix('-') {
        Some(_) => node.name.starts_with(name),
        None => node.name == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        Workspace::of(&[
            ("weft-model", "registry/core"),
            ("weft-proto", "proto"),
            ("weft-test-support", "tests/support"),
        ])
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_found() {
        let workspace = workspace().with("weft-proto", "weft-model", None);
        let findings = check(&workspace, &Graph::default());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "proto/Cargo.toml");
    }

    #[test]
    fn build_dependencies_are_arrows() {
        let workspace = workspace().with("weft-proto", "weft-model", Some(Kind::Build));
        assert_eq!(check(&workspace, &Graph::default()).len(), 1);
    }

    #[test]
    fn tests_may_use_the_harness_and_nothing_else_of_ours() {
        let harness = workspace().with("weft-model", "weft-test-support", Some(Kind::Dev));
        assert_eq!(check(&harness, &Graph::default()), []);
        let wire = workspace().with("weft-model", "weft-proto", Some(Kind::Dev));
        assert_eq!(check(&wire, &Graph::default()).len(), 1);
        let shipped = workspace().with("weft-model", "weft-test-support", None);
        assert_eq!(check(&shipped, &Graph::default()).len(), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let workspace = Workspace::of(&[("weft-new", "new")]);
        assert_eq!(check(&workspace, &Graph::default()).len(), 1);
    }

    #[test]
    fn a_core_is_impure_through_others_too() {
        let graph = Graph::of("0weft-model v0.1.0\n1handy v1.0.0\n2tokio-util v0.7.0\n");
        let findings = check(&workspace(), &graph);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].what.contains("weft-model → handy → tokio-util"),
            "{}",
            findings[0]
        );
    }

    #[test]
    fn a_family_is_not_a_prefix_of_any_name() {
        let graph = Graph::of("0weft-model v0.1.0\n1timeless v1.0.0\n1h2o v1.0.0\n");
        assert_eq!(check(&workspace(), &graph), []);
    }
}
