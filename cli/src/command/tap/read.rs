//! What a tap wrote, read back.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use weft_gateway::admin::view::TapLine;
use weft_model::code;

use super::filter::Filter;
use super::{Printer, Tap};
use crate::command::Outcome;
use crate::output::Format;
use crate::problem::{Exit, Problem};

/// Prints the events of a file that the filters admit, as far as they are wanted. How it ended is
/// printed if nothing was left out of it.
pub(super) fn run(tap: &Tap, path: &Path, format: Format) -> Outcome {
    let filter = Filter::of(tap)?;
    let mut printer = Printer::new(format);
    let (mut shown, mut left_out) = (0, 0u64);
    for (number, line) in (1..).zip(BufReader::new(open(path)?).lines()) {
        let line = line.map_err(|error| unreadable(path).detail(error))?;
        if line.trim().is_empty() {
            continue;
        }
        let line = parse(&line).map_err(|why| not_ours(path, number, &why))?;
        match &line {
            TapLine::Event(event) if shown < tap.max && filter.admits(event) => {
                shown += 1;
                printer.print(&line);
            }
            TapLine::Event(_) => left_out += 1,
            TapLine::End(_) if left_out == 0 => printer.print(&line),
            TapLine::End(_) => {}
        }
    }
    Ok(Exit::Done)
}

fn open(path: &Path) -> Result<Box<dyn Read>, Problem> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    let file = File::open(path).map_err(|error| unreadable(path).detail(error))?;
    Ok(Box::new(file))
}

fn unreadable(path: &Path) -> Problem {
    let what = format!("cannot read {}", path.display());
    Problem::new(code::FILE_UNREADABLE, what)
}

fn not_ours(path: &Path, number: usize, why: &str) -> Problem {
    let what = format!("{}:{number} is no line of a tap", path.display());
    Problem::new(code::NOT_A_TAP, what).detail(why)
}

/// One line; of a later version of the format it is refused by name.
fn parse(line: &str) -> Result<TapLine, String> {
    let line: TapLine = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let version = match &line {
        TapLine::Event(event) => &event.api_version,
        TapLine::End(end) => &end.api_version,
    };
    match version.as_str() {
        "weft.dev/v1" => Ok(line),
        other => Err(format!("apiVersion {other:?} is not known here")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use weft_gateway::admin::view::{TapEndView, TapEventView, TapHeaderView};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tap: Tap,
    }

    fn event() -> TapEventView {
        TapEventView {
            api_version: "weft.dev/v1".into(),
            time_ms: 1_700_000_000_123,
            latency_us: 81_300,
            source_identity: "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/web".into(),
            source_cluster: "us-east-1".into(),
            source_region: "us-east".into(),
            service: Some("shop/checkout".into()),
            endpoint: Some("0707070707070707".into()),
            destination_cluster: Some("eu-west-1".into()),
            destination_region: Some("eu-west".into()),
            version: Some("v2".into()),
            method: "GET".into(),
            host: "checkout.shop".into(),
            path: "/pay".into(),
            status: 503,
            reason: None,
            headers: vec![
                TapHeaderView {
                    name: "user-agent".into(),
                    value: Some("curl/8".into()),
                },
                TapHeaderView {
                    name: "cookie".into(),
                    value: None,
                },
            ],
        }
    }

    /// The envelope is a promise: it is written out here, and compared with what is printed.
    const EVENT: &str = r#"{"kind":"TapEvent","apiVersion":"weft.dev/v1","timeMs":1700000000123,"latencyUs":81300,"sourceIdentity":"spiffe://us-east-1.dev.weft.internal/ns/shop/sa/web","sourceCluster":"us-east-1","sourceRegion":"us-east","service":"shop/checkout","endpoint":"0707070707070707","destinationCluster":"eu-west-1","destinationRegion":"eu-west","version":"v2","method":"GET","host":"checkout.shop","path":"/pay","status":503,"reason":null,"headers":[{"name":"user-agent","value":"curl/8"},{"name":"cookie","value":null}]}"#;
    const END: &str =
        r#"{"kind":"TapEnd","apiVersion":"weft.dev/v1","seen":1,"dropped":2,"silent":[]}"#;

    #[test]
    fn what_is_written_is_read_back() {
        let end = TapLine::End(TapEndView {
            api_version: "weft.dev/v1".into(),
            seen: 1,
            dropped: 2,
            silent: Vec::new(),
        });
        let event = TapLine::Event(Box::new(event()));
        for (line, text) in [(event, EVENT), (end, END)] {
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
            assert_eq!(parse(text), Ok(line));
        }
        // Later versions may add fields, under the same name.
        let more = EVENT.replacen('{', r#"{"added":true,"#, 1);
        assert!(parse(&more).is_ok());
        let later = EVENT.replace("weft.dev/v1", "weft.dev/v2");
        assert!(parse(&later).unwrap_err().contains("weft.dev/v2"));
        assert!(parse("{}").is_err());
    }

    #[test]
    fn a_file_is_filtered_as_a_live_tap_is() {
        let check = |words: &str, expect: bool| {
            let words = ["tap"].into_iter().chain(words.split_whitespace());
            let line = Line::try_parse_from(words).unwrap();
            let filter = Filter::of(&line.tap).unwrap();
            assert_eq!(filter.admits(&event()), expect, "{:?}", line.tap);
        };
        check("", true);
        check("shop/checkout", true);
        check("shop/payments", false);
        check("--from us-east", true);
        check("--from us-east-1 --to eu-west-1", true);
        check("--from eu-west", false);
        check("--to eu-west", true);
        check("--to us-east-1", false);
        check("--region eu-west", true);
        check("--region us-east", false);
        check("--status 5xx", true);
        check("--status 503 --method get --path /p", true);
        check("--status 200", false);
        check("--path /checkout", false);
    }

    #[test]
    fn no_mutant_of_a_line_panics() {
        let lines = [EVENT.as_bytes().to_vec(), END.as_bytes().to_vec()];
        let read = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
            parse(text)
        };
        weft_mutants::check(&[weft_mutants::Decoder::new("a line of a tap", lines, read)]);
    }
}
