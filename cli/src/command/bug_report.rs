//! `weft bug-report`: how things are, in files that may be handed on.
//!
//! ```text
//! collect: what gateways, their metrics and a local `weft dev` say  ─> files
//! redact:  every file, before anything else sees it                 ─> files, what was taken out
//! archive: after consent
//! ```

mod archive;
mod collect;
mod redact;

use std::path::PathBuf;

use serde_json::json;
use weft_model::code;

use super::Outcome;
use crate::args::Global;
use crate::clock;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

use archive::Target;
use redact::{Counts, redact};

/// Collect what helps to find a fault: versions, status, checks, resources, events, metrics, and the
/// logs of a `weft dev` on this machine.
///
/// Tokens, private keys, passphrases, values of headers and folders of key files are taken out. The
/// list of files and of what was taken out is shown before anything is written: read them before you
/// hand them on all the same.
#[derive(Debug, clap::Args)]
pub(crate) struct BugReport {
    /// A folder to make; a file with the time in its name if neither is given.
    #[arg(value_name = "DIR", conflicts_with = "file")]
    dir: Option<PathBuf>,
    /// A .tar.gz file to make.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write without asking.
    #[arg(long)]
    yes: bool,
}

/// A file of the report, as it is written.
struct Report {
    name: String,
    text: String,
    counts: Counts,
}

impl BugReport {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let target = self.target();
        target.is_free()?;
        let collected = collect::collect(global).await;
        let reports: Vec<Report> = collected
            .into_iter()
            .map(|collect::File { name, text }| {
                let (text, counts) = redact(&text);
                Report { name, text, counts }
            })
            .collect();
        list(&reports);
        consent(&target, self.yes)?;
        let written = target.write(&reports, clock::now());
        written.map_err(|error| {
            Problem::new(code::FILE_UNREADABLE, format!("cannot write {target}")).detail(error)
        })?;
        match global.output {
            format @ (Format::Json | Format::Yaml) => {
                output::document(format, &document(&target, &reports));
            }
            _ => output::data(&target.to_string()),
        }
        Ok(Exit::Done)
    }

    fn target(&self) -> Target {
        match (&self.dir, &self.file) {
            (Some(dir), _) => Target::Folder(dir.clone()),
            (None, Some(file)) => Target::File(file.clone()),
            (None, None) => {
                let time = clock::rfc3339(clock::now()).replace([':', '-'], "");
                Target::File(format!("weft-bug-report-{time}.tar.gz").into())
            }
        }
    }
}

/// What would be written; said even with `-q`, since somebody must consent to it.
fn list(reports: &[Report]) {
    let mut all = Counts::default();
    for report in reports {
        let taken = match report.counts.total() {
            0 => String::new(),
            count => format!("   {count} redacted"),
        };
        output::tell(&format!(
            "  {:>8}  {}{taken}",
            report.text.len(),
            report.name
        ));
        all.add(&report.counts);
    }
    output::tell(&format!("taken out: {all}"));
}

fn consent(target: &Target, yes: bool) -> Result<(), Problem> {
    use std::io::IsTerminal;
    if yes {
        return Ok(());
    }
    if std::io::stdin().is_terminal() {
        output::tell(&format!("write {target}? type yes:"));
        let mut typed = String::new();
        let read = std::io::stdin().read_line(&mut typed);
        if read.is_ok() && typed.trim() == "yes" {
            return Ok(());
        }
    }
    let mut problem =
        Problem::new(code::USAGE, "not confirmed; nothing was written").next("Add --yes.");
    problem.exit = Exit::Refused;
    Err(problem)
}

fn document(target: &Target, reports: &[Report]) -> serde_json::Value {
    let files: Vec<_> = reports
        .iter()
        .map(|report| json!({ "name": report.name, "bytes": report.text.len(), "redacted": report.counts }))
        .collect();
    json!({ "written": target.to_string(), "files": files })
}
