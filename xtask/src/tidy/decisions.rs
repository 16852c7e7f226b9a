//! The index of decision records lists every record.

use super::{Finding, tree::Tree};

const FOLDER: &str = "docs/decisions/";
const INDEX: &str = "docs/decisions/README.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let index = tree.text(INDEX).unwrap_or_default();
    let records = tree.texts_of("md").filter_map(|(path, _)| {
        let record = path.strip_prefix(FOLDER)?;
        (path != INDEX && !index.contains(&format!("({record})"))).then_some(record)
    });
    records
        .map(|record| {
            Finding::new(
                INDEX,
                format!("{record} is not listed"),
                "add a line with its number and a link",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_the_index_leaves_out_is_found() {
        let tree = Tree::of(&[
            (INDEX, "| 0001 | [one](0001-one.md) |"),
            ("docs/decisions/0001-one.md", ""),
            ("docs/decisions/0002-two.md", ""),
            ("docs/other.md", ""),
        ]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].what, "0002-two.md is not listed");
    }
}
