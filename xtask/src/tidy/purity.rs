//! Each core has the `clippy.toml` that keeps ambient state out of it.
//!
//! Clippy takes the nearest `clippy.toml` and no other, so each core repeats the whole
//! list. The copies must not drift apart.

use super::{Finding, fences::CORES, tree::Tree, workspace::Workspace};

pub(super) fn check(tree: &Tree, workspace: &Workspace) -> Vec<Finding> {
    let mut first: Option<(String, &str)> = None;
    let mut findings = Vec::new();
    let cores = workspace.crates.iter();
    for core in cores.filter(|member| CORES.contains(&member.name.as_str())) {
        let path = format!("{}/clippy.toml", core.folder);
        match (tree.text(&path), &first) {
            (None, _) => findings.push(Finding::new(
                &path,
                format!("{} has no clippy.toml of its own", core.name),
                "copy that of another core",
            )),
            (Some(text), None) => first = Some((path, text)),
            (Some(text), Some((other, expected))) if text != *expected => {
                findings.push(Finding::new(
                    &path,
                    format!("differs from {other}"),
                    "make them equal; what one core must not use, no core may",
                ));
            }
            (Some(_), Some(_)) => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_drifted_lists_are_found() {
        let workspace = Workspace::of(&[
            ("weft-model", "a"),
            ("weft-decide", "b"),
            ("weft-plan", "c"),
            ("weft-proxy", "d"),
        ]);
        let tree = Tree::of(&[("a/clippy.toml", "x = 1"), ("c/clippy.toml", "x = 2")]);
        let places: Vec<String> = check(&tree, &workspace)
            .into_iter()
            .map(|finding| finding.place)
            .collect();
        assert_eq!(places, ["b/clippy.toml", "c/clippy.toml"]);
    }
}
