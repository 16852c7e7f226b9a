//! `weft events -w`: entries as they come, over a gateway's restart.

use std::time::Duration;

use serde_json::json;
use weft_gateway::admin::view::EventView;
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

/// Prints what comes after `cursor` until something ends it that time does not mend.
pub(super) async fn follow(
    global: &Global,
    mut client: Client,
    mut cursor: u64,
    wanted: &Wanted<'_>,
    printer: &mut Printer,
) -> Outcome {
    loop {
        let problem = match read(&mut client, &mut cursor, wanted, printer).await {
            Ok(never) => match never {},
            Err(problem) => problem,
        };
        match problem {
            problem if problem.code == code::COMPACTED => {}
            problem if problem.exit == Exit::Unreachable || problem.exit == Exit::TimedOut => {
                client = reconnect(global, &problem).await?;
            }
            problem => return Err(problem),
        }
        // A gateway that was sent a snapshot may keep less than was missed.
        let kept = page(&mut client, json!({})).await;
        if let Ok(kept) = kept
            && kept.kept_after > cursor
        {
            printer.gap(cursor, kept.kept_after);
            cursor = kept.kept_after;
        }
    }
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
