//! Looking at releases.

use serde_json::{Value, json};
use weft_gateway::admin::view::{ExplanationView, ListView, ReleaseChangeView, ReleaseView};
use weft_model::WallTime;

use super::super::top::Window;
use super::super::{Outcome, route};
use super::show::Of;
use super::{ReleaseName, show};
use crate::args::Global;
use crate::client::Client;
use crate::clock;
use crate::output::{self, Format};
use crate::problem::Exit;

pub(super) async fn list(global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let asked = json!({ "namespace": global.namespace });
    let list: ListView<ReleaseView> = client.ask("releases", asked).await?;
    match global.output {
        Format::Json | Format::Yaml => output::value(global.output, &list),
        Format::Name => list.items.iter().for_each(|it| output::data(&it.name)),
        Format::Table | Format::Wide => table(&list.items),
    }
    Ok(Exit::Done)
}

/// Releases, a line each.
pub(crate) fn table(releases: &[ReleaseView]) {
    output::table(
        &[
            "RELEASE",
            "SERVICE",
            "VERSIONS",
            "PHASE",
            "STAGE",
            "CANARY GETS",
        ],
        releases.iter().map(row),
    );
}

/// A release in a line.
fn row(release: &ReleaseView) -> Vec<String> {
    let phase = match release.superseded {
        Some(_) => format!("{}, history", release.phase),
        None => release.phase.clone(),
    };
    vec![
        release.name.clone(),
        release.service.clone(),
        format!("{} → {}", release.stable, release.canary),
        phase,
        format!("{}/{}", release.stage, release.stages.len()),
        show::shares(release),
    ]
}

pub(super) async fn status(name: &ReleaseName, window: Window, global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let release = name.view_with_traffic(&mut client, window, global).await?;
    match global.output {
        Format::Json | Format::Yaml => output::value(global.output, &release),
        Format::Name => output::data(&release.name),
        Format::Table | Format::Wide => {
            let of = match global.as_of {
                Some(_) => Of::Then,
                None => Of::Now,
            };
            output::data(&show::screen(&release, of, clock::now()));
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn history(name: &ReleaseName, global: &Global) -> Outcome {
    let mut client = Client::connect(global).await?;
    let release = name.view(&mut client, global).await?;
    match global.output {
        Format::Json | Format::Yaml => output::value(global.output, &release.history),
        Format::Name => output::data(&release.name),
        Format::Table | Format::Wide => {
            let row = |change: &ReleaseChangeView| {
                vec![
                    change.index.to_string(),
                    clock::rfc3339(WallTime(change.time_ms)),
                    change.by.clone(),
                    change
                        .stage
                        .map_or("-".to_owned(), |stage| stage.to_string()),
                    change.what.clone(),
                ]
            };
            output::table(
                &["INDEX", "TIME", "BY", "STAGE", "WHAT"],
                release.history.iter().map(row),
            );
        }
    }
    Ok(Exit::Done)
}

/// A question that is answered with steps and a result.
pub(super) async fn explain(
    name: &ReleaseName,
    question: &str,
    more: Value,
    global: &Global,
) -> Outcome {
    let mut client = Client::connect(global).await?;
    let mut asked = name.arguments(global);
    for (field, value) in more.as_object().into_iter().flatten() {
        asked[field] = value.clone();
    }
    let explanation: ExplanationView = client.ask(question, asked).await?;
    Ok(route::print(&explanation, global.output))
}
