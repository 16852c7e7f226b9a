//! Why callers get what they get.

use serde_json::Value;
use tonic::Status;
use weft_decide::Bucket;
use weft_model::{Clamp, ClampId, Federation, ReleaseRecord, ReleaseSpec, ServiceKey, code};
use weft_plan::release::{self, CallerPlace};

use super::super::status::freshness;
use super::super::view::{ExplanationView, Freshness, StepView};
use super::{asked, callers, clamps, named, places};
use crate::api::refusal;
use crate::hub::Hub;

/// What callers of each place get, and why: every wave and clamp that was looked at. Of the past,
/// what the records alone gave them.
pub(in crate::admin) fn explain(
    hub: &Hub,
    arguments: &Value,
    past: Option<&Federation>,
) -> Result<ExplanationView, Status> {
    let asked = asked(arguments)?;
    let now = hub.registry().state();
    let state = past.unwrap_or(&now);
    let (key, record) = named(state, &asked)?;
    let from = asked.from.unwrap_or_else(|| hub.cluster().to_string());
    let callers = callers(state, &from)?;
    let clamps = past.map_or_else(|| clamps(hub, &key), |_| Vec::new());
    let mut steps = vec![fact(format!(
        "{key} is {} at stage {} of {}, for {}",
        record.phase,
        record.stage,
        record.spec.last_stage(),
        record.spec.key(&key.namespace)
    ))];
    if let Some(since) = record.superseded {
        steps.push(fact(format!(
            "a later release of its service began at index {since}: this one decides nothing"
        )));
    }
    steps.extend(past.map(|_| fact(CLAMPS_OF_THEN.to_owned())));
    let mut results = Vec::new();
    for caller in callers {
        steps.extend(wave_steps(&record, &caller));
        steps.extend(clamp_steps(&key, &record, &caller, &clamps));
        let effective = release::weight(&key, &record, &caller, &clamps);
        let cluster = &caller.cluster;
        results.push(format!(
            "{cluster}: {}, since {}",
            effective.weight, effective.why
        ));
    }
    Ok(ExplanationView {
        api_version: "weft.dev/v1".into(),
        freshness: fresh(hub, past),
        question: format!(
            "what {} gets of {key}'s audience in {from}",
            record.spec.canary
        ),
        steps,
        result: results.join("\n  "),
        code: None,
    })
}

/// Clamps are told from gateway to gateway, and are in no entry of the log.
const CLAMPS_OF_THEN: &str = "clamps of then are not recorded: one may have lowered it";

fn fresh(hub: &Hub, past: Option<&Federation>) -> Freshness {
    let now = freshness(hub);
    Freshness {
        applied_index: past.map_or(now.applied_index, |state| state.applied().0),
        ..now
    }
}

fn wave_steps(record: &ReleaseRecord, caller: &CallerPlace) -> Vec<StepView> {
    let mut counts = false;
    let steps = record.spec.waves.iter().map(|wave| {
        let holds = wave.holds(&caller.cluster, &caller.region);
        let (verdict, reason) = match (holds, counts) {
            (false, _) => ("refused", "does not name it".to_owned()),
            (true, true) => ("refused", "names it, but an earlier wave does".to_owned()),
            (true, false) => {
                counts = true;
                let reason = match record.taken(wave) {
                    _ if record.cut.contains(&wave.name) => "names it, and was aborted".to_owned(),
                    Some((stage, weight)) => format!("names it: stage {stage}, {weight}"),
                    None => "names it, and has not begun".to_owned(),
                };
                ("chosen", reason)
            }
        };
        StepView {
            verdict: verdict.into(),
            subject: format!("wave {} for {}", wave.name, caller.cluster),
            reason,
        }
    });
    steps.collect()
}

fn clamp_steps(
    key: &ServiceKey,
    record: &ReleaseRecord,
    caller: &CallerPlace,
    clamps: &[Clamp],
) -> Vec<StepView> {
    let steps = clamps.iter().map(|clamp| {
        let (verdict, reason) = if !record.heeds(key, clamp) {
            ("refused", "lifted, or of another run".to_owned())
        } else if clamp.region != caller.region {
            ("refused", format!("is for callers in {}", clamp.region))
        } else {
            let (cluster, gateway, by) = (&clamp.cluster, &clamp.gateway, &clamp.by);
            (
                "chosen",
                format!("at most {}, by {by} on {cluster}/{gateway}", clamp.weight),
            )
        };
        StepView {
            verdict: verdict.into(),
            subject: format!("clamp {}", short(clamp.id)),
            reason,
        }
    });
    steps.collect()
}

/// Which version one client meets, place by place.
pub(in crate::admin) fn who(
    hub: &Hub,
    arguments: &Value,
    past: Option<&Federation>,
) -> Result<ExplanationView, Status> {
    let asked = asked(arguments)?;
    let client = asked.client.clone().unwrap_or_default();
    let now = hub.registry().state();
    let state = past.unwrap_or(&now);
    let (key, record) = named(state, &asked)?;
    let ReleaseSpec {
        stable,
        canary,
        audience,
        ..
    } = &record.spec;
    let Some(sticky) = &audience.stickiness else {
        let what = format!("{key} tells no client apart: each request is drawn by itself");
        return Err(refusal(code::RELEASE_AUDIENCE, what));
    };
    let callers = match &asked.from {
        Some(from) => callers(state, from)?,
        None => places(state),
    };
    // The data plane's own function.
    let bucket = Bucket::of(&key, client.as_bytes());
    let mut steps = vec![fact(format!(
        "a client with {}: {client} is in bucket {bucket}",
        sticky.name
    ))];
    if !audience.matches.is_empty() {
        let conditions = audience.matches.len();
        steps.push(fact(format!(
            "only its requests that satisfy one of {conditions} condition(s) count"
        )));
    }
    steps.extend(past.map(|_| fact(CLAMPS_OF_THEN.to_owned())));
    let clamps = past.map_or_else(|| clamps(hub, &key), |_| Vec::new());
    let mut results = Vec::new();
    for caller in &callers {
        let effective = release::weight(&key, &record, caller, &clamps);
        let meets = match bucket.is_below(effective.weight) {
            true => canary,
            false => stable,
        };
        results.push(format!(
            "{}: {meets} ({}, {})",
            caller.cluster, effective.weight, effective.why
        ));
    }
    Ok(ExplanationView {
        api_version: "weft.dev/v1".into(),
        freshness: fresh(hub, past),
        question: format!(
            "which version of {} a client {client:?} meets",
            record.spec.key(&key.namespace)
        ),
        steps,
        result: results.join("\n  "),
        code: None,
    })
}

fn fact(reason: String) -> StepView {
    StepView {
        verdict: "fact".into(),
        subject: String::new(),
        reason,
    }
}

/// The first eight digits: enough for people.
fn short(id: ClampId) -> String {
    id.to_string().chars().take(8).collect()
}
