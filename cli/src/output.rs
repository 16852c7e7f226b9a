//! Printing: data on standard output, narration on standard error.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table of at most 80 columns where it can be.
    #[default]
    Table,
    /// A table with every column.
    Wide,
    /// One JSON document; one a line where it watches.
    #[value(alias = "ndjson")]
    Json,
    /// YAML.
    Yaml,
    /// Names only, one a line.
    Name,
}

/// Prints to standard output. A reader that went away (`| head`) ends the program quietly;
/// data that cannot be written is a failure.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            tell(&format!("error: cannot write the output: {error}"));
            std::process::exit(1);
        }
    }
}

/// Whether `-q` was given: set once, before any command runs.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Silences [`narrate`].
pub(crate) fn quieten() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether narration is silenced.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Prints a line to standard error, unless `-q` was given. Nobody to read it is no failure.
pub(crate) fn narrate(text: &str) {
    if !is_quiet() {
        tell(text);
    }
}

/// Prints a line to standard error, whatever was given: failures, and what somebody must consent to.
pub(crate) fn tell(text: &str) {
    let _unread = writeln!(std::io::stderr().lock(), "{text}");
}

/// A value as YAML.
pub(crate) fn yaml(value: &impl Serialize) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|error| error.to_string())
}

/// Prints an object as a document of its own: with `apiVersion`.
pub(crate) fn document(format: Format, object: &impl Serialize) {
    let mut document = serde_json::json!(object);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("apiVersion".to_owned(), "weft.dev/v1".into());
    }
    value(format, &document);
}

/// Prints a value as JSON or YAML.
pub(crate) fn value(format: Format, value: &impl Serialize) {
    let text = match format {
        Format::Yaml => yaml(value),
        _ => serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string()),
    };
    data(&text);
}

/// Prints a value as one line of JSON, for readers that take a line at a time.
pub(crate) fn json_line(value: &impl Serialize) {
    data(&serde_json::to_string(value).unwrap_or_else(|error| error.to_string()));
}

/// Prints a table without lines: a header in capitals, columns apart by three spaces.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    match table_text(header, rows) {
        Some(text) => data(&text),
        None => narrate("nothing to show"),
    }
}

/// The same as text; none without rows.
pub(crate) fn table_text(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Option<String> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    let mut any = false;
    for row in rows {
        table.add_row(row);
        any = true;
    }
    let text = table.to_string();
    let lines = text.lines();
    let lines = lines.map(|line| line.trim_end().trim_start_matches(' '));
    any.then(|| lines.collect::<Vec<_>>().join("\n"))
}

/// Prints a value as one line of JSON, or as one YAML document of several.
pub(crate) fn one_of_many(format: Format, value: &impl Serialize) {
    match format {
        Format::Yaml => {
            data("---");
            self::value(format, value);
        }
        _ => data(&serde_json::to_string(value).unwrap_or_else(|error| error.to_string())),
    }
}

/// Whether a person reads standard output.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// A mark and a word for a check: `ok`, `warn`, `FAIL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mark {
    /// It holds.
    Ok,
    /// It holds for now.
    Warn,
    /// It does not hold.
    Fail,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}
