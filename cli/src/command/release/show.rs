//! A release as people read it. Pure.

use std::fmt::Write as _;

use weft_gateway::admin::view::{ClampView, ReleasePlaceView, ReleaseView, StageView};
use weft_model::{WallTime, code};

use super::figures;
use crate::clock;
use crate::output;

/// Changes that the screen shows; `weft release history` has the rest.
const CHANGES: usize = 5;

/// What a screen is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The release as it stands.
    Now,
    /// As it was recorded then: what it did is not known, and nothing can be done with it.
    Then,
}

/// Everything about it on one screen.
pub(super) fn screen(release: &ReleaseView, of: Of, now: WallTime) -> String {
    // Of then, ages are what they were then.
    let now = release.as_of.map_or(now, |then| WallTime(then.time_ms));
    let mut text = format!(
        "release {}   stable {} → canary {}   {}   stage {} of {}   index {}\naudience: {}\n\n",
        release.name,
        release.stable,
        release.canary,
        release.phase,
        release.stage,
        release.stages.len(),
        release.generation,
        release.audience,
    );
    line(&mut text, &table(release, of));
    text.push('\n');
    let notes = match of {
        Of::Now => figures::notes(release),
        Of::Then => vec![NOT_RECORDED.to_owned()],
    };
    notes.iter().for_each(|note| line(&mut text, note));
    if !release.clamps.is_empty() {
        text.push('\n');
    }
    for clamp in &release.clamps {
        line(&mut text, &self::clamp(clamp, now));
    }
    text.push('\n');
    let from = release.history.len().saturating_sub(CHANGES);
    for change in &release.history[from..] {
        let ago = clock::ago(now, WallTime(change.time_ms));
        line(
            &mut text,
            &format!(
                "index {}   {}, by {}, {ago}",
                change.index, change.what, change.by
            ),
        );
    }
    if of == Of::Now {
        line(&mut text, &next(release));
    }
    text
}

const NOT_RECORDED: &str = "not recorded: requests, clamps, and who was seen";

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// A line for each place; what its versions answered is of now alone.
fn table(release: &ReleaseView, of: Of) -> String {
    let versions = format!("{} / {}", release.canary, release.stable);
    let figures = match of {
        Of::Now => ["REQUESTS", "SUCCESS", "P99"]
            .map(|what| format!("{what} {versions}"))
            .into(),
        Of::Then => Vec::new(),
    };
    let mut header = vec!["WAVE / REGION", "STEP", "WEIGHT"];
    header.extend(figures.iter().map(String::as_str));
    header.push("VERDICT");
    let rows = release.places.iter().map(|place| row(release, place, of));
    output::table_text(&header, rows).unwrap_or_default()
}

fn row(release: &ReleaseView, place: &ReleasePlaceView, of: Of) -> Vec<String> {
    let step = match place.state.as_str() {
        "active" | "done" => format!("{}/{}", place.step, place.steps),
        "outside" => "-".to_owned(),
        state => state.to_owned(),
    };
    let mut cells = vec![at(place), step, percent(place.percent)];
    if of == Of::Now {
        cells.extend(figures::cells(release, place));
    }
    cells.push(verdict(release, place));
    cells
}

/// `west-europe / eu-west`.
pub(super) fn at(place: &ReleasePlaceView) -> String {
    format!(
        "{} / {}",
        place.wave.as_deref().unwrap_or("-"),
        place.region
    )
}

/// What holds there, and why.
pub(super) fn verdict(release: &ReleaseView, place: &ReleasePlaceView) -> String {
    if let Some(silence) = place.unseen_ms {
        let silence = silence / 1000;
        return format!("not visible for {silence} s ({})", code::RELEASE_UNSEEN);
    }
    let holds = match release.phase.as_str() {
        "Progressing" => "holds until promoted",
        "Paused" => "holds: paused",
        _ => "holds",
    };
    match place.state.as_str() {
        _ if place.why.starts_with("clamp ") => place.why.chars().take(14).collect(),
        "active" => holds.to_owned(),
        "done" => "holds".to_owned(),
        "waiting" => match before(release, place) {
            Some(wave) => format!("after {wave}"),
            None => place.why.clone(),
        },
        _ => place.why.clone(),
    }
}

/// The wave whose stages come before this one's.
fn before<'r>(release: &'r ReleaseView, place: &ReleasePlaceView) -> Option<&'r str> {
    let stages = release.stages.iter();
    let mut earlier = stages.take_while(|stage| Some(&stage.wave) != place.wave.as_ref());
    let last = earlier.by_ref().filter(|stage| !stage.cut).last();
    last.map(|stage| stage.wave.as_str())
}

/// `5 %`, `12.5 %`.
pub(super) fn percent(percent: f64) -> String {
    format!("{percent} %")
}

/// `eu-west 5 %, us-east 0 %`.
pub(crate) fn shares(release: &ReleaseView) -> String {
    let shares = release.places.iter();
    let shares = shares.map(|place| format!("{} {}", place.region, percent(place.percent)));
    shares.collect::<Vec<_>>().join(", ")
}

/// `clamp 0123abcd: at most 0 % in eu-west, by ana on eu-west-1/gw-1, 12 s ago`.
pub(super) fn clamp(clamp: &ClampView, now: WallTime) -> String {
    format!(
        "clamp {}: at most {} % in {}, by {} on {}/{}, {}",
        short(&clamp.id),
        clamp.percent,
        clamp.region,
        clamp.by,
        clamp.cluster,
        clamp.gateway,
        clock::ago(now, WallTime(clamp.made_ms)),
    )
}

pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// What can be done now.
fn next(release: &ReleaseView) -> String {
    let name = named(release);
    let mut text = String::new();
    if let Some(since) = release.superseded {
        return format!(
            "History: a later release of {} began at index {since}.",
            release.service
        );
    }
    match release.phase.as_str() {
        "Progressing" => {
            let what = match upcoming(release) {
                Some(stage) => to(stage),
                None => "completes it; the weights stay".to_owned(),
            };
            let _written = write!(text, "Next: weft release promote {name}   ({what})");
        }
        "Paused" => {
            let _written = write!(text, "Next: weft release resume {name}");
        }
        "Completed" => {
            let _written = write!(text, "The weights stay.   weft release rollback {name}");
        }
        _ => text.push_str("Nobody meets the canary."),
    }
    text
}

/// The stage that the next promotion takes.
pub(super) fn upcoming(release: &ReleaseView) -> Option<&StageView> {
    let next = release.next?;
    release.stages.iter().find(|stage| stage.stage == next)
}

/// `stage 2: west-europe to 50 %, callers in eu-west`.
pub(super) fn to(stage: &StageView) -> String {
    format!(
        "stage {}: {} to {} %, {}",
        stage.stage,
        stage.wave,
        stage.percent,
        whom(stage)
    )
}

/// `callers in eu-west`.
pub(super) fn whom(stage: &StageView) -> String {
    match stage.regions.is_empty() {
        true => "no callers".to_owned(),
        false => format!("callers in {}", stage.regions.join(", ")),
    }
}

/// The name as it is typed.
pub(super) fn named(release: &ReleaseView) -> String {
    match release.name.split_once('/') {
        Some((namespace, name)) => format!("{name} -n {namespace}"),
        None => release.name.clone(),
    }
}

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod tests;
