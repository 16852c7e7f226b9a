//! `weft events`: what the log says of late, and what it says next.

mod follow;
mod print;
mod record;

use std::time::Duration;

use clap_complete::engine::ArgValueCompleter;
use serde_json::json;
use weft_gateway::admin::view::{EventView, EventsView};
use weft_model::{WallTime, code, duration};

use super::Outcome;
use crate::args::Global;
use crate::client::Client;
use crate::clock;
use crate::complete;
use crate::output;
use crate::problem::{Exit, Problem};

use follow::Place;
use print::Printer;
pub(crate) use print::who;
use record::RecordFilter;

/// What the log says of late.
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// Go on with entries as they are applied.
    #[arg(short, long)]
    watch: bool,
    /// Only what is younger than this (`90s`, `2h`), or stands after this log position (`4182`).
    #[arg(long, value_name = "DURATION|INDEX", value_parser = parse_since)]
    since: Option<Since>,
    /// Only what is about one record: `serviceexport/shop/checkout`, `gateway/eu-west-1/gw-1`.
    #[arg(
        long = "for",
        value_name = "KIND/NAME",
        value_parser = record::parse,
        add = ArgValueCompleter::new(complete::kind_names)
    )]
    record: Option<RecordFilter>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// With what is no older.
    Age(Duration),
    /// After a position.
    Index(u64),
}

fn parse_since(text: &str) -> Result<Since, String> {
    match text.parse() {
        Ok(index) => Ok(Since::Index(index)),
        Err(_) => duration::parse(text)
            .map(Since::Age)
            .map_err(|error| format!("{error}, or give a log position: 4182")),
    }
}

impl Events {
    /// Whether it goes on with what comes.
    pub(crate) fn watches(&self) -> bool {
        self.watch
    }

    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut client = Client::connect(global).await?;
        let (after, age) = match self.since {
            Some(Since::Index(index)) => (Some(index), None),
            Some(Since::Age(age)) => (None, Some(millis(age))),
            None => (None, None),
        };
        let now = clock::now().0;
        let since = match global.as_of {
            // When that was, the gateway knows.
            Some(_) => json!({ "after": after, "agoMs": age }),
            None => {
                json!({ "after": after, "sinceMs": age.map(|age| now.saturating_sub(age)) })
            }
        };
        let kept = recent(&mut client, since).await?;
        let now = kept.as_of.map_or(now, |moment| moment.time_ms);
        let place = Place {
            cursor: kept.read.max(after.unwrap_or(0)),
            recovered: kept.recovered.unwrap_or(0),
        };
        if kept.cut {
            output::narrate(&format!(
                "this shows what the log says after index {}; what is older is not shown{}",
                kept.from_after,
                match kept.from_after > kept.kept_after {
                    true => format!(" (--since {})", kept.kept_after),
                    false => String::new(),
                }
            ));
        }
        let wanted = Wanted {
            record: self.record.as_ref(),
            namespace: global.namespace.as_ref(),
            oldest: WallTime(age.map_or(0, |age| now.saturating_sub(age))),
        };
        if self.watch {
            let mut printer = Printer::begin(global.output);
            let shown = kept.items.into_iter().filter(|event| wanted.takes(event));
            shown.for_each(|event| printer.print(event));
            return follow::follow(global, client, place, &wanted, &mut printer).await;
        }
        let mut kept = kept;
        kept.items.retain(|event| wanted.takes(event));
        print::list(global.output, kept);
        Ok(Exit::Done)
    }
}

/// Which entries are shown.
struct Wanted<'a> {
    record: Option<&'a RecordFilter>,
    namespace: Option<&'a weft_model::Namespace>,
    oldest: WallTime,
}

impl Wanted<'_> {
    fn takes(&self, event: &EventView) -> bool {
        let about = |filter: &RecordFilter| filter.is_about(event, self.namespace);
        event.time_ms >= self.oldest.0 && self.record.is_none_or(about)
    }
}

/// What is kept after an index, or since a time; without either the newest page of it.
async fn recent(client: &mut Client, since: serde_json::Value) -> Result<EventsView, Problem> {
    let mut kept = page(client, since).await?;
    // A page at a time, up to where the log was when the first one was read, or the moment asked for.
    let end = kept.freshness.applied_index;
    while kept.read < end {
        let more = page(client, json!({ "after": kept.read })).await?;
        if more.read <= kept.read {
            break;
        }
        kept.read = more.read;
        kept.items.extend(more.items);
    }
    Ok(kept)
}

async fn page(client: &mut Client, asked: serde_json::Value) -> Result<EventsView, Problem> {
    let asked = client.ask("events", asked).await;
    asked.map_err(|problem| match problem.code {
        code::COMPACTED => problem.next("Leave --since out to see the newest of what is kept."),
        _ => problem,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_an_age_or_a_position() {
        assert_eq!(parse_since("4182"), Ok(Since::Index(4182)));
        let age = Since::Age(Duration::from_secs(90));
        assert_eq!(parse_since("1m30s"), Ok(age));
        let wrong = parse_since("yesterday").unwrap_err();
        assert!(wrong.contains("4182"), "{wrong}");
    }
}
