use weft_gateway::admin::view::MomentView;

use super::fixture::{at_stage, traffic, traffic_without};
use super::*;

fn seen(release: &ReleaseView) -> String {
    screen(release, Of::Now, WallTime(13_000))
}

#[test]
fn the_screen_says_who_gets_what_and_what_comes_next() {
    let text = "\
release shop/checkout-v2   stable v1 → canary v2   Progressing   stage 1 of 3   index 41
audience: every request, each drawn by itself

WAVE / REGION          STEP     WEIGHT  REQUESTS v2 / v1  SUCCESS v2 / v1  P99 v2 / v1    VERDICT
west-europe / eu-west  1/2      5 %     480 / 9311        99.79% / 100%    212ms / 8.2ms  holds until promoted
world / ap-south       waiting  0 %     -                 -                -              after west-europe
world / us-east        waiting  0 %     0 / 31            - / 100%         - / 4.0ms      after west-europe

requests of the last 60 s, told by 3 of 3 gateways

index 40   started, by ana, 12 s ago
Next: weft release promote checkout-v2 -n shop   (stage 2: west-europe to 50 %, callers in eu-west)
";
    let mut release = at_stage(1);
    release.traffic = Some(traffic());
    assert_eq!(seen(&release), text);
}

#[test]
fn what_nobody_told_is_no_figure() {
    let mut release = at_stage(1);
    release.traffic = Some(traffic_without("ap-south-1"));
    release.traffic.as_mut().unwrap().observed.heard[0].covered_ms = 9_400;
    let text = seen(&release);
    for part in [
        "world / ap-south       waiting  0 %     ?                 ?                ?              after",
        "requests of the last 60 s, told by 2 of 3 gateways\n",
        "eu-west-1/gw-1 knows the last 9 s alone\n",
        "ap-south-1/gw-1 does not answer (no tunnel): its callers are missing\n",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let just_begun = release.traffic.as_mut().unwrap();
    just_begun.window_ms = 0;
    just_begun.observed.items.clear();
    let text = seen(&release);
    assert!(text.contains("5 %     ?    "), "{text}");
    assert!(text.contains("\nrequests are not known yet: "), "{text}");
    release.traffic = None;
    let text = seen(&release);
    assert!(text.contains("requests are not known"), "{text}");
    assert!(!text.contains(" 0 / "), "{text}");
}

#[test]
fn a_region_that_is_not_seen_is_said_so() {
    let mut release = at_stage(1);
    release.places[2].unseen_ms = Some(38_400);
    let text = seen(&release);
    assert!(text.contains("not visible for 38 s (WEFT-5023)"), "{text}");
}

#[test]
fn clamps_are_shown_with_who_when_and_where() {
    let mut release = at_stage(2);
    release.places[0].percent = 0.0;
    release.places[0].why = "clamp 0123456789abcdef".into();
    release.clamps = vec![ClampView {
        id: "0123456789abcdef0123456789abcdef".into(),
        release: release.name.clone(),
        run: 40,
        region: "eu-west".into(),
        percent: 0,
        cluster: "eu-west-1".into(),
        gateway: "gw-1".into(),
        by: "ana".into(),
        made_ms: 3_000,
    }];
    let text = seen(&release);
    for part in [
        "west-europe / eu-west  2/2      0 %     ?                 ?                ?            clamp 01234567\n",
        "clamp 01234567: at most 0 % in eu-west, by ana on eu-west-1/gw-1, 10 s ago\n",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn each_phase_says_what_can_be_done() {
    let ends = |phase: &str| {
        let mut release = at_stage(3);
        release.phase = phase.into();
        let text = seen(&release);
        text.lines().last().unwrap_or_default().to_owned()
    };
    for (phase, part) in [
        ("Progressing", "completes it"),
        ("Paused", "release resume checkout-v2 -n shop"),
        ("Completed", "release rollback checkout-v2 -n shop"),
        ("Aborted", "Nobody meets the canary"),
        ("RolledBack", "Nobody meets the canary"),
    ] {
        assert!(ends(phase).contains(part), "{}", ends(phase));
    }
}

#[test]
fn of_then_it_says_what_is_not_recorded_and_offers_nothing() {
    let text = "\
release shop/checkout-v2   stable v1 → canary v2   Progressing   stage 1 of 3   index 41
audience: every request, each drawn by itself

WAVE / REGION          STEP     WEIGHT  VERDICT
west-europe / eu-west  1/2      5 %     holds until promoted
world / ap-south       waiting  0 %     after west-europe
world / us-east        waiting  0 %     after west-europe

not recorded: requests, clamps, and who was seen

index 40   started, by ana, 12 s ago
";
    let mut release = at_stage(1);
    release.as_of = Some(MomentView {
        index: 41,
        time_ms: 13_000,
    });
    assert_eq!(screen(&release, Of::Then, WallTime(86_400_000)), text);
}
