//! `docs/architecture.md` names every crate.

use super::{Finding, tree::Tree, workspace::Workspace};

const PAGE: &str = "docs/architecture.md";

pub(super) fn check(tree: &Tree, workspace: &Workspace) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else {
        let next = "write it: it is where a reader of the code begins";
        return vec![Finding::new(PAGE, "there is no such page", next)];
    };
    let crates = workspace.crates.iter();
    crates
        .filter(|member| !mentions(page, &member.name))
        .map(|member| {
            Finding::new(
                PAGE,
                format!("crate {} is not mentioned", member.name),
                format!("say what {} is, and is not, in the code map", member.folder),
            )
        })
        .collect()
}

/// Whether `page` has `name` as a word of its own: `weft` is not part of `weft-plan`.
fn mentions(page: &str, name: &str) -> bool {
    let inside = |character: char| character.is_alphanumeric() || "-_".contains(character);
    page.match_indices(name).any(|(start, _)| {
        let before = page[..start].chars().next_back();
        let after = page[start + name.len()..].chars().next();
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_inside_a_longer_name_is_not_mentioned() {
        let tree = Tree::of(&[(PAGE, "The crate `weft-plan-next`, and weft.")]);
        let workspace = Workspace::of(&[("weft", "cli"), ("weft-plan", "gateway/core")]);
        let findings = check(&tree, &workspace);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("weft-plan "), "{}", findings[0]);
    }

    #[test]
    fn a_missing_page_is_one_finding() {
        let workspace = Workspace::of(&[("weft", "cli"), ("weft-plan", "gateway/core")]);
        assert_eq!(check(&Tree::of(&[]), &workspace).len(), 1);
    }
}
