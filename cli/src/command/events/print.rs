//! Events as tables, lines, documents and names.

use serde::Serialize;
use weft_gateway::admin::view::{EventView, EventsView, Freshness, MomentView, RecordView};
use weft_model::WallTime;

use crate::clock;
use crate::output::{self, Format};

const HEADER: [&str; 6] = ["INDEX", "WHEN", "WHO", "WHAT", "RECORD", "RESULT"];
/// Columns of a line that cannot know how wide those after it will be.
const WIDTHS: [usize; 5] = [7, 21, 26, 22, 34];

/// One event as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    /// RFC 3339.
    time: String,
    #[serde(flatten)]
    event: EventView,
}

impl Line {
    fn new(event: EventView) -> Self {
        Self {
            api_version: None,
            time: clock::rfc3339(WallTime(event.time_ms)),
            event,
        }
    }
}

/// Prints what is kept.
pub(super) fn list(format: Format, kept: EventsView) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        api_version: String,
        freshness: Freshness,
        #[serde(skip_serializing_if = "Option::is_none")]
        as_of: Option<MomentView>,
        kept_after: u64,
        items: Vec<Line>,
    }
    match format {
        Format::Json | Format::Yaml => output::value(
            format,
            &Document {
                api_version: kept.api_version,
                freshness: kept.freshness,
                as_of: kept.as_of,
                kept_after: kept.kept_after,
                items: kept.items.into_iter().map(Line::new).collect(),
            },
        ),
        Format::Name => names(&kept.items),
        Format::Table | Format::Wide => {
            output::table(&HEADER, kept.items.iter().map(|event| row(event, format)));
        }
    }
}

fn names(events: &[EventView]) {
    let records = events.iter().filter_map(|event| event.record.as_ref());
    records.for_each(|record| output::data(&full_name(record)));
}

/// Prints events one by one.
pub(super) struct Printer {
    format: Format,
}

impl Printer {
    /// Prints the header, where there is one.
    pub(super) fn begin(format: Format) -> Self {
        if matches!(format, Format::Table | Format::Wide) {
            output::data(&aligned(&HEADER.map(str::to_owned)));
        }
        Self { format }
    }

    pub(super) fn print(&mut self, event: EventView) {
        match self.format {
            Format::Json | Format::Yaml => self.value(&Line {
                api_version: Some("weft.dev/v1"),
                ..Line::new(event)
            }),
            Format::Name => names(&[event]),
            Format::Table | Format::Wide => output::data(&aligned(&row(&event, self.format))),
        }
    }

    /// Entries between two positions were missed, and are not kept any more.
    pub(super) fn gap(&mut self, after: u64, kept_after: u64) {
        match self.format {
            Format::Json | Format::Yaml => self.value(&serde_json::json!({
                "apiVersion": "weft.dev/v1",
                "gap": { "after": after, "keptAfter": kept_after, "code": "WEFT-6006" },
            })),
            _ => output::narrate(&format!(
                "entries after index {after} up to {kept_after} were missed and are not kept any \
                 more (WEFT-6006); going on after {kept_after}"
            )),
        }
    }

    /// The registry was founded anew at a position, before the last that was shown.
    pub(super) fn anew(&mut self, at: u64, shown: u64, going_on_after: u64) {
        match self.format {
            Format::Json | Format::Yaml => self.value(&serde_json::json!({
                "apiVersion": "weft.dev/v1",
                "foundedAnew": { "at": at, "shown": shown, "goingOnAfter": going_on_after },
            })),
            _ => output::narrate(&format!(
                "the registry was founded anew at index {at}: what was shown from there up to \
                 {shown} is not in it (`weft raft members` shows the founding); going on after \
                 {going_on_after}"
            )),
        }
    }

    fn value(&self, value: &impl Serialize) {
        match self.format {
            Format::Yaml => {
                output::data("---");
                output::value(Format::Yaml, value);
            }
            _ => output::json_line(value),
        }
    }
}

/// The columns; the last one is as wide as it is.
fn aligned(row: &[String]) -> String {
    let mut line = String::new();
    for (at, cell) in row.iter().enumerate() {
        match WIDTHS.get(at) {
            Some(width) => line.push_str(&format!("{cell:width$}   ")),
            None => line.push_str(cell),
        }
    }
    line.trim_end().to_owned()
}

fn row(event: &EventView, format: Format) -> Vec<String> {
    let time = WallTime(event.time_ms);
    let record = event.record.as_ref().map_or_else(|| "-".to_owned(), place);
    vec![
        event.index.to_string(),
        match output::is_terminal() {
            true => clock::ago(clock::now(), time),
            false => clock::rfc3339(time),
        },
        who(event),
        event.command.clone(),
        record,
        result(event, format),
    ]
}

/// `ana`, `ana via eu-west-1/gw-1`, `gateway eu-west-1/gw-1`.
pub(crate) fn who(event: &EventView) -> String {
    let author = event
        .author
        .strip_prefix("operator ")
        .unwrap_or(&event.author);
    let who = match &event.by_order_of {
        Some(user) => {
            let gateway = author.strip_prefix("gateway ").unwrap_or(author);
            format!("{user} via {gateway}")
        }
        None => author.to_owned(),
    };
    match event.proven {
        true => who,
        false => format!("{who}, unproven"),
    }
}

fn result(event: &EventView, format: Format) -> String {
    match (&event.refused, format) {
        (Some(why), _) => format!("refused: {why}"),
        (None, Format::Wide) => {
            let changes = event.changes.iter().map(|change| match &change.record {
                Some(record) => format!("{} {}", place(record), change.change),
                None => change.change.clone(),
            });
            changes.collect::<Vec<_>>().join("; ")
        }
        (None, _) => "done".to_owned(),
    }
}

fn full_name(record: &RecordView) -> String {
    format!("{}/{}", record.kind, record.name)
}

/// The record, and whose it is.
fn place(record: &RecordView) -> String {
    match &record.cluster {
        Some(cluster) => format!("{} ({cluster})", full_name(record)),
        None => full_name(record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> EventView {
        EventView {
            index: 41,
            time_ms: 1_772_373_731_512,
            author: "gateway eu-west-1/gw-1".into(),
            by_order_of: Some("ana".into()),
            command: "put export".into(),
            record: Some(RecordView {
                kind: "serviceexport".into(),
                name: "shop/checkout".into(),
                cluster: Some("eu-west-1".into()),
            }),
            changes: Vec::new(),
            refused: None,
            proven: true,
        }
    }

    #[test]
    fn a_line_says_who_what_which_and_whether() {
        let check = |event: &EventView, expect: &str| {
            let mut row = row(event, Format::Table);
            row.remove(1);
            assert_eq!(row.join(" | "), expect);
        };
        check(
            &event(),
            "41 | ana via eu-west-1/gw-1 | put export | \
             serviceexport/shop/checkout (eu-west-1) | done",
        );
        let refused = EventView {
            author: "operator eve".into(),
            by_order_of: None,
            refused: Some("the entry's signature does not hold for its author".into()),
            record: None,
            proven: false,
            ..event()
        };
        check(
            &refused,
            "41 | eve, unproven | put export | - | \
             refused: the entry's signature does not hold for its author",
        );
    }

    #[test]
    fn programs_get_the_time_as_a_date() {
        let line = serde_json::to_value(Line::new(event())).expect("JSON");
        assert_eq!(line["time"], "2026-03-01T14:02:11Z");
        assert_eq!(line["byOrderOf"], "ana");
        assert_eq!(line["record"]["name"], "shop/checkout");
    }
}
