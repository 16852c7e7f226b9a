//! `weft explain WEFT-1003`.

use clap_complete::engine::ArgValueCandidates;
use serde_json::{Value, json};
use weft_model::{Code, code};

use super::Outcome;
use crate::args::Global;
use crate::complete;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// Explains an error code; without one, lists all.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The code: WEFT-1003.
    #[arg(add = ArgValueCandidates::new(complete::codes))]
    code: Option<String>,
}

impl Explain {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let format = global.output;
        let Some(text) = self.code else {
            if matches!(format, Format::Json | Format::Yaml) {
                let items: Vec<_> = code::TABLE.iter().map(entry).collect();
                output::document(format, &json!({ "items": items }));
                return Ok(Exit::Done);
            }
            let rows = code::TABLE
                .iter()
                .map(|code| vec![code.to_string(), code.title.to_owned()]);
            output::table(&["CODE", "WHAT"], rows);
            return Ok(Exit::Done);
        };
        let code = Code::find(&text).ok_or_else(|| {
            Problem::new(code::USAGE, format!("there is no code {text:?}"))
                .next("`weft explain` lists all codes.")
        })?;
        if matches!(format, Format::Json | Format::Yaml) {
            output::document(format, &entry(code));
            return Ok(Exit::Done);
        }
        output::data(&format!(
            "{code}: {}\n\n  why   {}\n  next  {}",
            code.title, code.why, code.next
        ));
        Ok(Exit::Done)
    }
}

fn entry(code: &Code) -> Value {
    json!({
        "code": code.to_string(),
        "title": code.title,
        "why": code.why,
        "next": code.next,
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// docs/reference/errors.md as the table has it.
    fn page() -> String {
        let mut page = String::from(
            "# Error codes\n\nMade from the table that `weft explain` prints; \
             `UPDATE=1 cargo test -p weft error_page` writes it anew.\n",
        );
        let mut class = 0;
        for code in code::TABLE {
            if code.number / 1000 != class {
                class = code.number / 1000;
                write!(page, "\n## {class}xxx: {}\n", area(class)).expect("text");
            }
            let (title, why, next) = (code.title, code.why, code.next);
            write!(page, "\n### {code}\n\n**{title}.** {why}\n\n{next}\n").expect("text");
        }
        page
    }

    fn area(class: u16) -> &'static str {
        match class {
            1 => "configuration",
            2 => "identity",
            3 => "tunnels",
            4 => "routing and proxy",
            5 => "releases",
            6 => "registry",
            7 => "DNS",
            other => panic!("class {other} has no name"),
        }
    }

    #[test]
    fn the_error_page_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/errors.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, page()).expect("the page is written");
        }
        let text = std::fs::read_to_string(path).expect("the page");
        assert!(text == page(), "{path} is stale; UPDATE=1 writes it anew");
    }
}
