//! `weft explain WEFT-1003`.

use weft_model::{Code, code};

use super::Outcome;
use crate::output;
use crate::problem::{Exit, Problem};

/// Explains an error code; without one, lists all.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The code: WEFT-1003.
    code: Option<String>,
}

impl Explain {
    pub(crate) fn run(self) -> Outcome {
        let Some(text) = self.code else {
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
        output::data(&format!(
            "{code}: {}\n\n  why   {}\n  next  {}",
            code.title, code.why, code.next
        ));
        Ok(Exit::Done)
    }
}
