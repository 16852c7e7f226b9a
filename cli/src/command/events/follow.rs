//! `weft events -w`: entries as they come, over a gateway's restart.

use std::time::Duration;

use serde_json::json;
use weft_gateway::admin::view::{EventView, EventsView};
use weft_model::code;

use super::print::Printer;
use super::{Wanted, page};
use crate::args::Global;
use crate::client::{self, Client};
use crate::command::Outcome;
use crate::output;
use crate::problem::{Exit, Problem};

/// Between two attempts to reach a gateway: doubled each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Up to where a watch knows the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) cursor: u64,
    /// Where the registry was last founded anew, in the words of who showed it; 0 if it never was.
    pub(super) recovered: u64,
}

/// What a watch missed, or was shown in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    /// What stands between two positions is not kept any more.
    Gap { after: u64, kept_after: u64 },
    /// The registry was founded anew at a position, and something else up to another was shown.
    Anew { at: u64, shown: u64 },
}

impl Place {
    /// Goes on by what a gateway keeps: the newest of its log.
    fn resume(&mut self, kept: &EventsView) -> Option<Break> {
        let recovered = kept.recovered.unwrap_or(0);
        let shown = self.cursor;
        // One that goes by an older founding, or was sent nothing of the newest yet, says nothing new.
        if recovered > self.recovered {
            self.recovered = recovered;
            if shown >= recovered {
                self.cursor = kept.kept_after.max(recovered - 1);
                return Some(Break::Anew {
                    at: recovered,
                    shown,
                });
            }
        }
        let kept_after = kept.kept_after;
        (kept_after > shown).then(|| {
            self.cursor = kept_after;
            Break::Gap {
                after: shown,
                kept_after,
            }
        })
    }
}

/// Prints what comes after a place until something ends it that time does not mend.
pub(super) async fn follow(
    global: &Global,
    mut client: Client,
    mut place: Place,
    wanted: &Wanted<'_>,
    printer: &mut Printer,
) -> Outcome {
    loop {
        let problem = match read(&mut client, &mut place.cursor, wanted, printer).await {
            Ok(never) => match never {},
            Err(problem) => problem,
        };
        match problem {
            problem if problem.code == code::COMPACTED => {}
            problem if passes(&problem) => client = reconnect(global, &problem).await?,
            problem => return Err(problem),
        }
        // A gateway that was sent a snapshot may keep less than was missed.
        let kept = kept(global, &mut client).await?;
        match place.resume(&kept) {
            Some(Break::Gap { after, kept_after }) => printer.gap(after, kept_after),
            Some(Break::Anew { at, shown }) => printer.anew(at, shown, place.cursor),
            None => {}
        }
    }
}

/// What the gateway keeps, however often it takes to ask.
async fn kept(global: &Global, client: &mut Client) -> Result<EventsView, Problem> {
    loop {
        match page(client, json!({})).await {
            Err(problem) if passes(&problem) => *client = reconnect(global, &problem).await?,
            kept => return kept,
        }
    }
}

/// Whether time mends it.
fn passes(problem: &Problem) -> bool {
    problem.exit == Exit::Unreachable || problem.exit == Exit::TimedOut
}

/// Nothing: reading ends with a failure alone.
enum Never {}

async fn read(
    client: &mut Client,
    cursor: &mut u64,
    wanted: &Wanted<'_>,
    printer: &mut Printer,
) -> Result<Never, Problem> {
    let mut events = client.watch(*cursor).await?;
    loop {
        let message = events
            .message()
            .await
            .map_err(|status| client::problem(&status))?;
        let Some(message) = message else {
            return Err(Problem::new(
                code::UNREACHABLE,
                "the gateway ended the watch",
            ));
        };
        let event: EventView = serde_json::from_slice(&message.json).map_err(|error| {
            Problem::new(code::SYNTAX, "the gateway's event does not read")
                .detail(error)
                .next("Its version may differ from this one's: compare `weft version` there.")
        })?;
        *cursor = event.index;
        if wanted.takes(&event) {
            printer.print(event);
        }
    }
}

/// Dials until a gateway answers, or refuses.
async fn reconnect(global: &Global, lost: &Problem) -> Result<Client, Problem> {
    let mut pause = PAUSE;
    let mut what = lost.what.clone();
    loop {
        output::narrate(&format!("{what}; trying again in {pause:.2?}"));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        match Client::connect(global).await {
            Ok(client) => return Ok(client),
            Err(problem) if problem.exit == Exit::Unreachable => what = problem.what,
            Err(problem) => return Err(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_gateway::admin::view::Freshness;

    use super::*;

    #[test]
    fn a_watch_goes_on_where_the_log_that_it_finds_leaves_it() {
        let check = |(cursor, known), (recovered, kept_after), expect, (then, knows)| {
            let kept = EventsView {
                api_version: String::new(),
                freshness: Freshness {
                    applied_index: 0,
                    age_ms: 0,
                },
                as_of: None,
                recovered: (recovered > 0).then_some(recovered),
                kept_after,
                from_after: kept_after,
                read: kept_after,
                cut: false,
                items: Vec::new(),
            };
            let mut place = Place {
                cursor,
                recovered: known,
            };
            assert_eq!(place.resume(&kept), expect, "{kept:?}");
            let expect = Place {
                cursor: then,
                recovered: knows,
            };
            assert_eq!(place, expect, "{kept:?}");
        };
        let gap = |after, kept_after| Some(Break::Gap { after, kept_after });
        let anew = |at, shown| Some(Break::Anew { at, shown });
        check((50, 0), (0, 1), None, (50, 0));
        check((50, 0), (0, 60), gap(50, 60), (60, 0));
        // What was shown is in the new log too.
        check((50, 0), (51, 1), None, (50, 51));
        // A backup of index 30 was restored, or others' entries were never in the new log.
        check((50, 0), (31, 31), anew(31, 50), (31, 31));
        check((50, 0), (50, 1), anew(50, 50), (49, 50));
        check((50, 0), (31, 70), anew(31, 50), (70, 31));
        // The same founding, told again, and one that knows of none.
        check((50, 31), (31, 1), None, (50, 31));
        check((50, 31), (0, 1), None, (50, 31));
    }
}
