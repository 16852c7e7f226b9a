//! A release for tests: eu-west in two stages, then the rest in one.

use weft_gateway::admin::view::{
    Freshness, HeardView, ObservedView, PlaceTrafficView, ReleaseChangeView, ReleasePlaceView,
    ReleaseTrafficView, ReleaseView, SilentView, StageView, SumView,
};

fn stage(stage: u16, wave: &str, percent: u8, regions: &[&str]) -> StageView {
    StageView {
        stage,
        wave: wave.into(),
        percent,
        regions: regions.iter().map(|region| (*region).into()).collect(),
        clusters: regions.iter().map(|region| format!("{region}-1")).collect(),
        cut: false,
    }
}

fn place(wave: &str, region: &str, step: u16, steps: u16, percent: f64) -> ReleasePlaceView {
    ReleasePlaceView {
        wave: Some(wave.into()),
        region: region.into(),
        clusters: vec![format!("{region}-1")],
        state: if step == 0 { "waiting" } else { "active" }.into(),
        step,
        steps,
        percent,
        why: format!("wave {wave}"),
        unseen_ms: None,
    }
}

/// The release at one of its three stages.
pub(in crate::command::release) fn at_stage(number: u16) -> ReleaseView {
    let eu = [0.0, 5.0, 50.0, 50.0][usize::from(number)];
    let world = if number == 3 { 100.0 } else { 0.0 };
    let begun = u16::from(number == 3);
    ReleaseView {
        api_version: "weft.dev/v1".into(),
        freshness: Freshness::default(),
        as_of: None,
        name: "shop/checkout-v2".into(),
        service: "shop/checkout".into(),
        stable: "v1".into(),
        canary: "v2".into(),
        audience: "every request, each drawn by itself".into(),
        phase: "Progressing".into(),
        under_way: true,
        run: 40,
        generation: 41,
        superseded: None,
        stage: number,
        stages: vec![
            stage(1, "west-europe", 5, &["eu-west"]),
            stage(2, "west-europe", 50, &["eu-west"]),
            stage(3, "world", 100, &["ap-south", "us-east"]),
        ],
        next: (number < 3).then_some(number + 1),
        places: vec![
            place("west-europe", "eu-west", number.min(2), 2, eu),
            place("world", "ap-south", begun, 1, world),
            place("world", "us-east", begun, 1, world),
        ],
        clamps: Vec::new(),
        history: vec![ReleaseChangeView {
            index: 40,
            time_ms: 1_000,
            by: "ana".into(),
            what: "started".into(),
            stage: Some(1),
        }],
        traffic: None,
    }
}

fn sum(requests: u64, failures: u64, p99_ms: f64) -> SumView {
    let any = requests > 0;
    SumView {
        requests,
        rps: requests as f64 / 60.0,
        failures,
        unanswered: 0,
        success: any.then(|| (requests - failures) as f64 / requests as f64),
        p50_ms: any.then_some(p99_ms),
        p95_ms: any.then_some(p99_ms),
        p99_ms: any.then_some(p99_ms),
        local: any.then_some(1.0),
        rerouted: any.then_some(0.0),
    }
}

/// What its versions did in a minute: requests from eu-west to both, from us-east to stable; ap-south
/// sent none.
pub(in crate::command::release) fn traffic() -> ReleaseTrafficView {
    let met = |wave: &str, region: &str, canary, stable| PlaceTrafficView {
        wave: Some(wave.into()),
        region: region.into(),
        canary,
        stable,
    };
    let none = || sum(0, 0, 0.0);
    let heard = ["ap-south-1", "eu-west-1", "us-east-1"].map(|cluster| HeardView {
        cluster: cluster.into(),
        gateway: "gw-1".into(),
        covered_ms: 67_000,
        age_ms: Some(800),
    });
    ReleaseTrafficView {
        window_ms: 60_000,
        observed: ObservedView {
            api_version: "weft.dev/v1".into(),
            freshness: Freshness::default(),
            heard: heard.into(),
            silent: Vec::new(),
            left_out: 0,
            items: vec![
                met(
                    "west-europe",
                    "eu-west",
                    sum(480, 1, 212.0),
                    sum(9311, 0, 8.25),
                ),
                met("world", "ap-south", none(), none()),
                met("world", "us-east", none(), sum(31, 0, 4.0)),
            ],
        },
    }
}

/// The same when a cluster's gateway does not answer.
pub(in crate::command::release) fn traffic_without(cluster: &str) -> ReleaseTrafficView {
    let mut traffic = traffic();
    let seen = &mut traffic.observed;
    seen.heard.retain(|heard| heard.cluster != cluster);
    seen.silent.push(SilentView {
        cluster: cluster.into(),
        gateway: "gw-1".into(),
        why: "no tunnel".into(),
    });
    traffic
}
