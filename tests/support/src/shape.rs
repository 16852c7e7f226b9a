//! Whether what a program printed has the shape that a page shows.
//!
//! The same words in the same lines, but for what cannot be the same twice:
//!
//! | in the page | stands for |
//! |---|---|
//! | `12 ms`, `3.8 s` | any time in that unit |
//! | `21034943` | any eight hexadecimal digits: an id as it is shortened |
//! | a number after `index`, `term`, `process`, `id:`, or before `requests` | any number |
//! | `…` in a line | any text |
//! | `...` alone in a line | any lines |
//! | spaces | any number of them: columns are as wide as what is in them |

use anyhow::{Result, bail};

/// Words after which a number varies.
const COUNTED: &[&str] = &["index", "term", "process", "id:"];
/// Words before which a number varies.
const COUNTS: &[&str] = &["ms", "s", "requests"];
/// Stands for any text.
const ANY: char = '…';
/// Stands for any lines.
const ANY_LINES: &str = "...";

/// Compares line by line.
///
/// # Errors
/// They differ, and where.
pub fn same_shape(shown: &str, printed: &str, any_order: bool) -> Result<()> {
    let shown: Vec<String> = lines(shown);
    let printed: Vec<String> = lines(printed);
    let same = if any_order {
        same_in_any_order(&shown, &printed)
    } else {
        same_in_order(&shown, &printed)
    };
    if same {
        return Ok(());
    }
    let alike = shown
        .iter()
        .zip(&printed)
        .take_while(|(shown, printed)| line_fits(shown, printed))
        .count();
    let at = |lines: &[String]| {
        lines
            .get(alike)
            .map_or("nothing", String::as_str)
            .to_owned()
    };
    bail!(
        "line {} is not as shown\n  shown    {}\n  printed  {}",
        alike + 1,
        at(&shown),
        at(&printed)
    )
}

fn lines(text: &str) -> Vec<String> {
    text.trim_end().lines().map(normal).collect()
}

/// A line without what varies.
fn normal(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut kept = Vec::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| bare(words[at]));
        let after = words.get(at + 1).map(|word| bare(word));
        let core = bare(word);
        let varies = is_number(core)
            && (before.is_some_and(|word| COUNTED.contains(&word))
                || after.is_some_and(|word| COUNTS.contains(&word)));
        if varies {
            kept.push(word.replace(core, "N"));
        } else if is_short_id(core) {
            kept.push(word.replace(core, "ID"));
        } else {
            kept.push((*word).to_owned());
        }
    }
    kept.join(" ")
}

/// A word without brackets around it and punctuation behind.
fn bare(word: &str) -> &str {
    word.trim_matches(['(', ')', ',', ';', '.'])
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn is_short_id(word: &str) -> bool {
    word.len() == 8
        && word
            .chars()
            .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

fn same_in_order(shown: &[String], printed: &[String]) -> bool {
    let Some((first, rest)) = shown.split_first() else {
        return printed.is_empty();
    };
    if first == ANY_LINES {
        return (0..=printed.len()).any(|from| same_in_order(rest, &printed[from..]));
    }
    printed
        .split_first()
        .is_some_and(|(line, after)| line_fits(first, line) && same_in_order(rest, after))
}

fn same_in_any_order(shown: &[String], printed: &[String]) -> bool {
    let mut left: Vec<&String> = printed.iter().collect();
    let all_found = shown.iter().all(|line| {
        let found = left.iter().position(|printed| line_fits(line, printed));
        found.map(|at| left.swap_remove(at)).is_some()
    });
    all_found && left.is_empty()
}

/// Whether a line has the parts around each `…`, in order.
fn line_fits(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shown: &str, printed: &str, same: bool) {
        let compared = same_shape(shown, printed, false);
        assert_eq!(compared.is_ok(), same, "{shown:?} {printed:?} {compared:?}");
    }

    #[test]
    fn what_varies_may_vary() {
        check(
            "candidate 5280ec85 in us-east-1",
            "candidate  f00dbeef in us-east-1\n",
            true,
        );
        check("up    184.7 ms  gw-1", "up 9 ms  gw-1", true);
        check("ready in 3.8 s", "ready in 12 s", true);
        check(
            "index 30   60 ms old  (term 2)",
            "index 7  1 ms old (term 11)",
            true,
        );
        check(
            "none of 60 requests failed",
            "none of 41 requests failed",
            true,
        );
        check("wj1._r_v…", "wj1._r_vXYZ", true);
        check("a … b … c", "a 1 b 2 c", true);
    }

    #[test]
    fn nothing_else_may() {
        check("127.64.0.2", "127.64.0.3", false);
        check("2 candidate(s)", "3 candidate(s)", false);
        check("up 184.7 ms", "down 184.7 ms", false);
        check("up 184.7 ms", "up 184.7 s", false);
        check("candidate 5280ec85", "candidate 5280", false);
        check(
            "none of 60 requests failed",
            "3 of 60 requests failed",
            false,
        );
        check("a … b", "a 1 c", false);
        check("a", "a\nb", false);
        check("a\nb", "a", false);
        check("", "a", false);
    }

    #[test]
    fn dots_stand_for_lines() {
        check("a\n...\nd", "a\nb\nc\nd", true);
        check("a\n...\nd", "a\nd", true);
        check("a\n...", "a\nb", true);
        check("...\nb\n...\nd\n...", "a\nb\nc\nd\ne", true);
        check("a\n...\nd", "a\nb", false);
    }

    #[test]
    fn order_matters_unless_it_does_not() {
        let compare = |any_order| same_shape("a\nb …\nc", "c\na\nb 2", any_order).is_ok();
        assert!(compare(true) && !compare(false));
        assert!(same_shape("a\na", "a\nb", true).is_err());
        assert!(same_shape("a", "a\nb", true).is_err());
    }

    #[test]
    fn a_difference_says_where() {
        let differs = same_shape("a\nb", "a\nc", false).unwrap_err().to_string();
        assert!(
            differs.contains("line 2") && differs.contains("printed  c"),
            "{differs}"
        );
    }
}
