//! What starting a release would do, and starting it.

use serde_json::json;
use weft_gateway::admin::view::{PlanPlaceView, ReleasePlanView};
use weft_model::{Command, ReleaseSpec, ServiceKey, code};

use super::super::Outcome;
use super::super::apply::{changes, namespace_of, read_all};
use super::orders;
use crate::args::{Files, Global};
use crate::client::Client;
use crate::document::Document;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// Where the release stands that a file would start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// There is none, or one with another spec that has ended.
    Startable,
    /// It is under way with this very spec.
    UnderWay,
    /// It has ended, with this very spec.
    Ended,
}

pub(super) async fn plan(files: &Files, global: &Global) -> Outcome {
    let (key, spec) = the_release(files, global)?;
    let mut client = Client::connect(global).await?;
    let plan = ask(&mut client, &key, &spec).await?;
    let index = client.applied_index();
    let now = state_of(&plan, &spec);
    match global.output {
        Format::Json | Format::Yaml => output::value(global.output, &plan),
        Format::Name => output::data(&plan.name),
        Format::Table | Format::Wide => output::data(&text(&plan, &spec, now)),
    }
    if now != Now::Startable {
        return Ok(Exit::Done);
    }
    // The registry's own judgement, by the function that would apply it.
    let put = Command::PutRelease(key, Box::new(spec));
    client.submit(put, None, true).await?;
    if let Some(fault) = fault(&plan) {
        return Err(fault);
    }
    output::narrate(&format!(
        "to start: weft release start {} --if-index {index}",
        flags(files, global)
    ));
    Ok(Exit::Failed)
}

pub(super) async fn start(
    files: &Files,
    if_index: Option<u64>,
    force: bool,
    global: &Global,
) -> Outcome {
    let (key, spec) = the_release(files, global)?;
    let mut client = Client::connect(global).await?;
    let plan = ask(&mut client, &key, &spec).await?;
    if let (Now::Ended, Some(same)) = (state_of(&plan, &spec), &plan.same) {
        let what = format!(
            "release {key} is {} with this very spec: nothing was started",
            same.phase
        );
        let next = format!(
            "To run it anew: weft delete release {} -n {}, or give it another name.",
            key.name, key.namespace
        );
        return Err(Problem::new(code::RELEASE_ENDED, what).next(next));
    }
    for finding in &plan.findings {
        output::narrate(&format!(
            "{}: {} ({})",
            finding.severity, finding.what, finding.code
        ));
    }
    if let Some(fault) = fault(&plan).filter(|_| !force) {
        return Err(fault);
    }
    let first = spec.stages().next();
    let first = first.map(|(stage, wave, weight)| (stage.0, wave.name.to_string(), weight));
    if let Some((stage, wave, weight)) = first {
        let last = spec.last_stage();
        let whom = whom(&plan, &wave);
        output::narrate(&format!(
            "release {key}, stage {stage} of {last}: {} gets {weight} of the audience in wave {wave}, {whom}",
            spec.canary
        ));
    }
    let put = Command::PutRelease(key.clone(), Box::new(spec));
    let index = client.submit(put, if_index, false).await?;
    let asked = json!({ "name": key.name, "namespace": key.namespace });
    let release = client.ask("release", asked).await?;
    Ok(orders::done(global, &release, "started", index))
}

/// The one release that the files hold.
fn the_release(files: &Files, global: &Global) -> Result<(ServiceKey, ReleaseSpec), Problem> {
    let usage = |what: &str| Problem::new(code::USAGE, what);
    let mut documents = read_all(files)?;
    let (Some(document), true) = (documents.pop(), documents.is_empty()) else {
        return Err(
            usage("give one file with one Release").next("Other resources are for `weft apply`.")
        );
    };
    let namespace = namespace_of(&document, global.namespace.as_ref())?;
    match document {
        Document::Release(release) => {
            let key = ServiceKey::new(namespace, release.metadata.name);
            Ok((key, release.spec))
        }
        other => {
            let what = format!("the file holds a {}, not a Release", other.kind());
            Err(usage(&what).next("Other resources are for `weft apply`."))
        }
    }
}

async fn ask(
    client: &mut Client,
    key: &ServiceKey,
    spec: &ReleaseSpec,
) -> Result<ReleasePlanView, Problem> {
    let asked = json!({ "release": key, "spec": spec });
    client.ask("release-plan", asked).await
}

fn state_of(plan: &ReleasePlanView, spec: &ReleaseSpec) -> Now {
    let wanted = serde_json::to_value(spec).ok();
    match &plan.same {
        Some(same) if plan.same_spec == wanted && same.under_way => Now::UnderWay,
        Some(_) if plan.same_spec == wanted => Now::Ended,
        _ => Now::Startable,
    }
}

/// The first finding with which nothing good can come of starting it.
fn fault(plan: &ReleasePlanView) -> Option<Problem> {
    let fault = plan.findings.iter().find(|it| it.severity == "fail")?;
    let what = format!("release {}: {}; nothing was started", plan.name, fault.what);
    Some(Problem::new(code::RELEASE_VERSION, what))
}

fn flags(files: &Files, global: &Global) -> String {
    let files = files
        .files
        .iter()
        .map(|file| format!("-f {}", file.display()));
    let mut flags: Vec<String> = files.collect();
    flags.extend(
        global
            .namespace
            .iter()
            .map(|namespace| format!("-n {namespace}")),
    );
    flags.join(" ")
}

/// `callers in eu-west`.
fn whom(plan: &ReleasePlanView, wave: &str) -> String {
    let of = plan
        .places
        .iter()
        .filter(|place| place.wave.as_deref() == Some(wave));
    let regions: Vec<&str> = of.map(|place| place.region.as_str()).collect();
    match regions.is_empty() {
        true => "which names nobody".to_owned(),
        false => format!("callers in {}", regions.join(", ")),
    }
}

fn text(plan: &ReleasePlanView, spec: &ReleaseSpec, now: Now) -> String {
    let mut lines = vec![format!(
        "release {} of {}: stable {} → canary {}",
        plan.name, plan.service, spec.stable, spec.canary
    )];
    lines.push(String::new());
    let stable = format!("{} READY", spec.stable.to_string().to_uppercase());
    let canary = format!("{} READY", spec.canary.to_string().to_uppercase());
    let header = ["WAVE / REGION", "STAGES", "CLUSTERS", &stable, &canary];
    lines.extend(output::table_text(&header, plan.places.iter().map(row)));
    for finding in &plan.findings {
        lines.push(String::new());
        lines.push(format!(
            "{}: {} ({})",
            finding.severity, finding.what, finding.code
        ));
        lines.push(format!("  next  {}", finding.next));
    }
    lines.push(String::new());
    lines.extend(difference(plan, spec, now));
    lines.join("\n")
}

/// What differs from what runs.
fn difference(plan: &ReleasePlanView, spec: &ReleaseSpec, now: Now) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(other) = &plan.other {
        lines.push(match other.under_way {
            true => format!(
                "{} has release {} under way, {}",
                plan.service, other.name, other.phase
            ),
            false => format!(
                "in effect until now: release {}, {}, which becomes history",
                other.name, other.phase
            ),
        });
    }
    match (now, &plan.same) {
        (Now::UnderWay, Some(same)) => lines.push(format!(
            "it is under way, at stage {} of {}: nothing would change",
            same.stage,
            same.stages.len()
        )),
        (Now::Ended, Some(same)) => lines.push(format!(
            "it is {} with this very spec: nothing would change",
            same.phase
        )),
        (_, Some(same)) => {
            lines.push(format!(
                "~ Release {}, {}; starts anew",
                plan.name, same.phase
            ));
            let wanted = serde_json::to_value(spec).ok();
            changes("spec", plan.same_spec.as_ref(), wanted.as_ref(), &mut lines);
        }
        (_, None) => lines.push(format!("+ Release {}", plan.name)),
    }
    lines
}

fn row(place: &PlanPlaceView) -> Vec<String> {
    let stages = place.stages.iter();
    let stages: Vec<String> = stages
        .map(|(stage, percent)| format!("{stage}: {percent} %"))
        .collect();
    let counted = |ready: u32| match place.unseen_ms {
        Some(_) => format!("{ready}?"),
        None => ready.to_string(),
    };
    vec![
        format!(
            "{} / {}",
            place.wave.as_deref().unwrap_or("-"),
            place.region
        ),
        match stages.is_empty() {
            true => "never".to_owned(),
            false => stages.join(", "),
        },
        place.clusters.join(","),
        counted(place.stable_ready),
        counted(place.canary_ready),
    ]
}

#[cfg(test)]
mod tests {
    use weft_gateway::admin::view::{Freshness, ProblemView};
    use weft_model::spec_from_json;

    use super::*;

    fn spec() -> ReleaseSpec {
        let json = r#"{"service": "checkout", "stable": "v1", "canary": "v2", "waves": [
            {"name": "west-europe", "regions": ["eu-west"], "steps": [{"setWeight": 5}, {"setWeight": 50}]}]}"#;
        spec_from_json(json.as_bytes()).unwrap()
    }

    fn place(
        wave: Option<&str>,
        region: &str,
        stages: &[(u16, u8)],
        ready: (u32, u32),
    ) -> PlanPlaceView {
        PlanPlaceView {
            wave: wave.map(str::to_owned),
            region: region.into(),
            clusters: vec![format!("{region}-1")],
            stages: stages.to_vec(),
            stable_ready: ready.0,
            canary_ready: ready.1,
            unseen_ms: None,
        }
    }

    fn planned() -> ReleasePlanView {
        ReleasePlanView {
            api_version: "weft.dev/v1".into(),
            freshness: Freshness::default(),
            name: "shop/checkout-v2".into(),
            service: "shop/checkout".into(),
            places: vec![
                place(Some("west-europe"), "eu-west", &[(1, 5), (2, 50)], (2, 1)),
                place(None, "us-east", &[], (1, 0)),
            ],
            findings: Vec::new(),
            same: None,
            same_spec: None,
            other: None,
        }
    }

    #[test]
    fn a_plan_says_who_is_moved_and_what_serves_there() {
        let expect = "\
release shop/checkout-v2 of shop/checkout: stable v1 → canary v2

WAVE / REGION          STAGES         CLUSTERS   V1 READY  V2 READY
west-europe / eu-west  1: 5 %, 2: 50 %  eu-west-1  2         1
- / us-east            never          us-east-1  1         0

+ Release shop/checkout-v2";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            squeeze(&text(&planned(), &spec(), Now::Startable)),
            squeeze(expect)
        );
    }

    #[test]
    fn a_fault_keeps_it_from_starting() {
        let mut plan = planned();
        assert!(fault(&plan).is_none());
        plan.findings.push(ProblemView {
            severity: "fail".into(),
            code: code::RELEASE_VERSION.to_string(),
            what: "no endpoint has version v9".into(),
            next: String::new(),
        });
        let fault = fault(&plan).unwrap();
        assert_eq!(fault.exit, Exit::Refused);
        assert!(fault.what.contains("v9"), "{}", fault.what);
    }

    #[test]
    fn the_same_spec_is_no_change() {
        use super::super::show::fixture::at_stage;
        let mut plan = planned();
        assert_eq!(state_of(&plan, &spec()), Now::Startable);
        plan.same = Some(at_stage(2));
        plan.same_spec = serde_json::to_value(spec()).ok();
        assert_eq!(state_of(&plan, &spec()), Now::UnderWay);
        plan.same = plan.same.map(|mut same| {
            same.under_way = false;
            same
        });
        assert_eq!(state_of(&plan, &spec()), Now::Ended);
        plan.same_spec = None;
        assert_eq!(state_of(&plan, &spec()), Now::Startable);
    }
}
