//! Blocks in the documentation of code are drawings: rustdoc would compile the others, and nothing
//! here runs what it compiles. Examples are tests.

use super::{Finding, tree::Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let rust = tree.texts().filter(|(path, _)| path.ends_with(".rs"));
    rust.flat_map(|(path, text)| {
        code_blocks(text).into_iter().map(move |line| {
            Finding::new(
                format!("{path}:{line}"),
                "no test runs an example in documentation",
                "write a test, or a block of `text`",
            )
        })
    })
    .collect()
}

/// The lines, from 1, on which blocks begin that rustdoc takes for code.
fn code_blocks(text: &str) -> Vec<usize> {
    let (mut found, mut inside) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let said = line
            .strip_prefix("//!")
            .or_else(|| line.strip_prefix("///"));
        // A block ends with the comment that it is in.
        let Some(said) = said else {
            inside = false;
            continue;
        };
        let Some(language) = said.trim_start().strip_prefix("```") else {
            continue;
        };
        if !inside && language.trim() != "text" {
            found.push(index + 1);
        }
        inside = !inside;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_pass_and_code_does_not() {
        let drawing = "//! ```text\n//! a -> b\n//! ```\n";
        let code = "/// Adds.\n///\n/// ```\n/// add(1, 2);\n/// ```\nfn add() {}\n";
        assert_eq!(code_blocks(drawing), [0; 0]);
        assert_eq!(code_blocks(&format!("{drawing}\n{code}")), [7]);
        let findings = check(&Tree::of(&[("a.rs", code), ("a.md", code)]));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "a.rs:3");
    }
}
