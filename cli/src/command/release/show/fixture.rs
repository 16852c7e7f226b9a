//! A release for tests: eu-west in two stages, then the rest in one.

use weft_gateway::admin::view::{
    Freshness, ReleaseChangeView, ReleasePlaceView, ReleaseView, StageView,
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
        }],
    }
}
