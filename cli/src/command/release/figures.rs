//! What the versions of a release did, as cells and lines. Pure.

use weft_gateway::admin::view::{
    HeardView, PlaceTrafficView, ReleasePlaceView, ReleaseTrafficView, ReleaseView, SumView,
};

use super::super::top;
use super::show;

/// Nothing was sent.
const NONE: &str = "-";
/// Nobody who would know has told.
const UNKNOWN: &str = "?";
/// A gateway is expected to cover the time asked for but for this much, milliseconds.
const SLACK_MS: u64 = 1_000;

/// REQUESTS, SUCCESS and P99 of a place: the canary's, then the stable version's.
pub(super) fn cells(release: &ReleaseView, place: &ReleasePlaceView) -> [String; 3] {
    let all = |text: &str| [(); 3].map(|()| text.to_owned());
    let Some(met) = met(release, place) else {
        return all(UNKNOWN);
    };
    let (canary, stable) = (&met.canary, &met.stable);
    if canary.requests + stable.requests == 0 {
        return all(if is_silent(release, place) {
            UNKNOWN
        } else {
            NONE
        });
    }
    let both = |cell: fn(&SumView) -> String| format!("{} / {}", cell(canary), cell(stable));
    [
        both(|sum| sum.requests.to_string()),
        both(|sum| top::percent(sum.success)),
        both(|sum| top::time(sum.p99_ms)),
    ]
}

fn met<'r>(release: &'r ReleaseView, place: &ReleasePlaceView) -> Option<&'r PlaceTrafficView> {
    let mut places = release.traffic.iter().flat_map(|it| &it.observed.items);
    places.find(|it| it.wave == place.wave && it.region == place.region)
}

/// Whether a gateway of the place did not answer: its callers are not in the figures.
fn is_silent(release: &ReleaseView, place: &ReleasePlaceView) -> bool {
    let mut silent = release.traffic.iter().flat_map(|it| &it.observed.silent);
    silent.any(|silent| place.clusters.contains(&silent.cluster))
}

/// What the figures are of, and what is not in them.
pub(super) fn notes(release: &ReleaseView) -> Vec<String> {
    let Some(traffic) = &release.traffic else {
        return vec!["requests are not known: the gateway that was asked does not tell".into()];
    };
    if traffic.window_ms == 0 {
        return vec![
            "requests are not known yet: those of before the release are still told".into(),
        ];
    }
    let seen = &traffic.observed;
    let told = format!(
        "requests of the last {} s, told by {} of {} gateways",
        traffic.window_ms / 1000,
        seen.heard.len(),
        seen.heard.len() + seen.silent.len(),
    );
    let short = seen.heard.iter().filter(|heard| is_short(heard, traffic));
    let short = short.map(|heard| {
        format!(
            "{}/{} knows the last {} s alone",
            heard.cluster,
            heard.gateway,
            heard.covered_ms / 1000
        )
    });
    [told]
        .into_iter()
        .chain(short)
        .chain(top::missing(seen))
        .collect()
}

fn is_short(heard: &HeardView, traffic: &ReleaseTrafficView) -> bool {
    heard.covered_ms + SLACK_MS < traffic.window_ms
}

/// A line for each place with requests, for those who read in a pipe.
pub(super) fn lines(release: &ReleaseView) -> Vec<String> {
    let window = release.traffic.as_ref().map_or(0, |it| it.window_ms / 1000);
    let line = |place: &ReleasePlaceView| {
        let met = met(release, place)?;
        if met.canary.requests + met.stable.requests == 0 {
            return None;
        }
        let [requests, success, p99] = cells(release, place);
        Some(format!(
            "{}  {}  {} / {} in {window} s: {requests} requests, success {success}, p99 {p99}",
            release.name,
            show::at(place),
            release.canary,
            release.stable,
        ))
    };
    release.places.iter().filter_map(line).collect()
}
