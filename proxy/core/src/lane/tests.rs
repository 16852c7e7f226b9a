use std::num::NonZeroU16;

use proptest::prelude::*;
use weft_model::{Percent, spec_from_json};

use super::*;
use crate::{HeaderList, NO_HEADERS, Rng};

fn release(audience: &str, weight: u16) -> ReleaseView {
    ReleaseView {
        key: "shop/checkout-v2".parse().unwrap(),
        run: Index(7),
        generation: Index(9),
        stable: "v1".parse().unwrap(),
        canary: "v2".parse().unwrap(),
        weight: BasisPoints::new(weight).unwrap(),
        audience: Arc::new(spec_from_json(audience.as_bytes()).unwrap()),
    }
}

const BETA: &str = r#"{"match":[{"headers":[{"name":"x-beta","value":"1"}]},
    {"path":{"value":"/v2"},"method":"GET"}]}"#;
const STICKY: &str = r#"{"stickiness":{"by":"Header","name":"x-user-id"}}"#;
const BOTH: &str = r#"{"match":[{"headers":[{"name":"x-beta","value":"1"}]}],
    "stickiness":{"by":"Header","name":"x-user-id"}}"#;

fn head<'a>(path: &'a str, headers: &'a HeaderList<'a>) -> RequestHead<'a> {
    RequestHead {
        method: "GET",
        authority: "checkout.shop",
        path,
        port_default: NonZeroU16::MIN,
        headers,
    }
}

#[test]
fn a_request_stands_where_its_head_says() {
    let check = |audience, path, headers: &[(&str, &str)], expect: Standing| {
        let list = HeaderList(headers);
        let stands = release(audience, 500).stand(Some(&head(path, &list)));
        assert_eq!(stands, expect, "{audience} {path} {headers:?}");
    };
    let outside = Standing::Outside;
    let sticky = |key: &[u8]| Standing::Sticky(Bucket::of(&release("{}", 0).key, key));
    check("{}", "/", &[], Standing::Drawn);
    check(BETA, "/", &[], outside(OutsideReason::NotInAudience));
    check(
        BETA,
        "/",
        &[("x-beta", "2")],
        outside(OutsideReason::NotInAudience),
    );
    check(BETA, "/", &[("X-Beta", "1")], Standing::Drawn);
    check(BETA, "/v2/a", &[], Standing::Drawn);
    check(BETA, "/v23", &[], outside(OutsideReason::NotInAudience));
    check(STICKY, "/", &[], outside(OutsideReason::NoKey));
    check(
        STICKY,
        "/",
        &[("x-user-id", "")],
        outside(OutsideReason::NoKey),
    );
    check(STICKY, "/", &[("x-user-id", "ana")], sticky(b"ana"));
    // The first line counts.
    let twice = [("x-user-id", "ana"), ("x-user-id", "ben")];
    check(STICKY, "/", &twice, sticky(b"ana"));
    check(
        BOTH,
        "/",
        &[("x-user-id", "ana")],
        outside(OutsideReason::NotInAudience),
    );
    check(BOTH, "/", &[("x-beta", "1")], outside(OutsideReason::NoKey));
    let user = [("x-beta", "1"), ("x-user-id", "ana")];
    check(BOTH, "/", &user, sticky(b"ana"));
}

#[test]
fn a_connection_meets_the_canary_only_where_everybody_may() {
    let check = |audience, expect: Standing| {
        assert_eq!(release(audience, 500).stand(None), expect, "{audience}");
    };
    check("{}", Standing::Drawn);
    for told in [BETA, STICKY, BOTH] {
        check(told, Standing::Outside(OutsideReason::NotHttp));
    }
}

/// The function is a contract between processes and versions: these must never change. They were
/// computed apart, by a program of another language.
#[test]
fn buckets_are_what_they_always_were() {
    let release = "shop/checkout-v2".parse().unwrap();
    let buckets =
        ["", "ana", "ben", "user-1"].map(|key| Bucket::of(&release, key.as_bytes()).number());
    assert_eq!(buckets, BUCKETS_EVER);
    let other = "shop/checkout-v3".parse().unwrap();
    assert_ne!(Bucket::of(&release, b"ana"), Bucket::of(&other, b"ana"));
}

const BUCKETS_EVER: [u16; 4] = [2272, 5884, 4454, 5819];

#[test]
fn a_lane_that_was_chosen_before_means_what_is_in_effect_now() {
    let canary = Lane::Canary { run: Index(7) };
    assert_eq!(release("{}", 500).meant(canary), LaneKind::Canary);
    // Aborted since, or another run.
    assert_eq!(release("{}", 0).meant(canary), LaneKind::Stable);
    let other = Lane::Canary { run: Index(6) };
    assert_eq!(release("{}", 500).meant(other), LaneKind::Stable);
    for lane in [Lane::Any, Lane::Stable] {
        assert_eq!(release("{}", 10_000).meant(lane), LaneKind::Stable);
    }
}

/// Six standard deviations around the expected number: once in a billion runs by chance, and the
/// seed is fixed.
fn is_fair(met: u32, of: u32, weight: u16) -> bool {
    let share = f64::from(weight) / 10_000.0;
    let expected = f64::from(of) * share;
    let deviation = (expected * (1.0 - share)).sqrt();
    (f64::from(met) - expected).abs() <= 6.0 * deviation
}

#[test]
fn drawn_requests_meet_the_canary_by_its_weight() {
    const DRAWS: u32 = 100_000;
    for weight in [0, 1, 100, 500, 2_500, 5_000, 9_999, 10_000] {
        let release = release("{}", weight);
        let mut rng = Rng::seeded(7);
        let list = HeaderList(&[]);
        let head = head("/", &list);
        let lanes = (0..DRAWS).map(|_| release.lane(Some(&head), &mut rng));
        let met = lanes.filter(|lane| *lane != Lane::Stable).count();
        assert!(is_fair(met as u32, DRAWS, weight), "{weight}: {met}");
    }
}

#[test]
fn sticky_clients_meet_it_by_its_weight() {
    const CLIENTS: u32 = 100_000;
    for weight in [0, 1, 100, 500, 2_500, 5_000, 9_999, 10_000] {
        let release = release(STICKY, weight);
        let mut rng = Rng::seeded(7);
        let met = (0..CLIENTS).filter(|client| {
            let key = format!("user-{client}");
            let fields = [("x-user-id", &*key)];
            let list = HeaderList(&fields);
            release.lane(Some(&head("/", &list)), &mut rng) != Lane::Stable
        });
        let met = met.count() as u32;
        assert!(is_fair(met, CLIENTS, weight), "{weight}: {met}");
    }
}

#[test]
fn of_a_million_requests_out_of_scope_none_meets_it() {
    let mut rng = Rng::seeded(7);
    let all = release(BETA, 10_000);
    let sticky = release(STICKY, 10_000);
    let nobody = release("{}", 0);
    for number in 0..1_000_000_u32 {
        let path = format!("/{number}");
        let value = number.to_string();
        let fields = [("x-beta", if number == 1 { "2" } else { &*value })];
        let list = HeaderList(&fields);
        let head = head(&path, &list);
        let release = [&all, &sticky, &nobody][number as usize % 3];
        assert_eq!(release.lane(Some(&head), &mut rng), Lane::Stable);
    }
    let head = RequestHead {
        headers: NO_HEADERS,
        ..head("/", &HeaderList(&[]))
    };
    assert_eq!(all.lane(Some(&head), &mut rng), Lane::Stable);
}

mod picks;

proptest! {
    #[test]
    fn cohorts_only_grow(key in prop::collection::vec(any::<u8>(), 1..40), a in 0u8..=100, b in 0u8..=100) {
        let (less, more) = (a.min(b), a.max(b));
        let weight = |percent| BasisPoints::from(Percent::new(percent).unwrap());
        let bucket = Bucket::of(&"shop/checkout-v2".parse().unwrap(), &key);
        prop_assert!(!bucket.is_below(weight(less)) || bucket.is_below(weight(more)));
        prop_assert!(bucket.is_below(BasisPoints::ALL) && !bucket.is_below(BasisPoints::NONE));
    }
}
