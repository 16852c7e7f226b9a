//! What the balancer picks in a lane, and that explanations say the same.

use std::time::Duration;

use weft_model::Health;

use super::*;
use crate::fixture::{Draft, PORT, endpoint, id, place, remote, routes_under};
use crate::{Backend, Balancer, Demand, EndpointRefusal, Outcome, OutlierConfig, Reason, Scope};
use crate::{ServiceTable, Tick};

const CANARY: Lane = Lane::Canary { run: Index(7) };

/// Every endpoint that a request in `lane` gets, over many picks.
fn picked(
    endpoints: impl IntoIterator<Item = Draft>,
    weight: u16,
    lane: Lane,
    tried: &[u32],
) -> Result<Vec<u32>, Reason> {
    let routes = Arc::new(routes_under(endpoints, release("{}", weight)));
    let mut balancer = Balancer::new(OutlierConfig::default());
    let mut rng = Rng::seeded(7);
    let tried: Vec<_> = tried.iter().map(|n| id(*n)).collect();
    let demand = Demand {
        port: PORT,
        scope: &Scope::Any,
        lane,
        tried: &tried,
    };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let view = balancer.pick(&routes, &demand, Tick::default(), &mut rng)?;
        let number = view.endpoint.id.0[12..].try_into().unwrap();
        seen.insert(u32::from_be_bytes(number));
    }
    Ok(seen.into_iter().collect())
}

/// 1 and 2 are stable, 3 and 4 canaries, 5 is of another version, 6 of none.
fn two_of_each() -> Vec<Draft> {
    let mut endpoints = vec![
        endpoint(1).version("v1"),
        endpoint(2).version("v1"),
        endpoint(3).version("v2"),
        endpoint(4).version("v2"),
        endpoint(5).version("v3"),
        endpoint(6),
    ];
    endpoints.rotate_left(2);
    endpoints
}

#[test]
fn each_lane_has_its_version_and_other_versions_have_nothing() {
    for stable in [Lane::Any, Lane::Stable] {
        assert_eq!(picked(two_of_each(), 10_000, stable, &[]), Ok(vec![1, 2]));
    }
    assert_eq!(picked(two_of_each(), 500, CANARY, &[]), Ok(vec![3, 4]));
    // Chosen before an abort, or in another run.
    assert_eq!(picked(two_of_each(), 0, CANARY, &[]), Ok(vec![1, 2]));
    let other = Lane::Canary { run: Index(1) };
    assert_eq!(picked(two_of_each(), 500, other, &[]), Ok(vec![1, 2]));
}

#[test]
fn retries_stay_in_the_lane_and_the_canary_alone_falls_back() {
    assert_eq!(picked(two_of_each(), 500, CANARY, &[3]), Ok(vec![4]));
    assert_eq!(picked(two_of_each(), 500, CANARY, &[3, 4]), Ok(vec![1, 2]));
    let none = Err(Reason::NoEndpoints);
    assert_eq!(picked(two_of_each(), 500, CANARY, &[1, 2, 3, 4]), none);
    assert_eq!(picked(two_of_each(), 10_000, Lane::Stable, &[1, 2]), none);
    let sick = |draft: Draft| draft.health(Health::NotReady);
    let canaries = || [endpoint(3), endpoint(4)].map(|draft| draft.version("v2"));
    let stable = || [endpoint(1), endpoint(2)].map(|draft| draft.version("v1"));
    let ill = canaries().map(sick).into_iter().chain(stable());
    assert_eq!(picked(ill, 500, CANARY, &[]), Ok(vec![1, 2]));
    let ill = stable().map(sick).into_iter().chain(canaries());
    assert_eq!(picked(ill, 10_000, Lane::Stable, &[]), none);
}

#[test]
fn a_canary_far_away_is_nearer_than_the_wrong_version() {
    let far = remote(endpoint(3).version("v2"), "us-east-1", "us-east", 80);
    let both = [endpoint(1).version("v1"), far];
    assert_eq!(picked(both, 500, CANARY, &[]), Ok(vec![3]));
}

#[test]
fn a_ceiling_holds_over_both_lanes() {
    // Endpoints of both versions in a cluster with a ceiling, and of the stable one elsewhere.
    let capped = |n, version| {
        let it = endpoint(n).version(version);
        remote(it, "eu-west-2", "eu-west", 8).max_share(20)
    };
    let far = |n, version| remote(endpoint(n).version(version), "us-east-1", "us-east", 80);
    let share = |others: &[Draft], lane, scope: &Scope| {
        let endpoints = [capped(1, "v1"), capped(2, "v2")];
        let endpoints = endpoints.into_iter().chain(others.iter().cloned());
        let routes = Arc::new(routes_under(endpoints, release("{}", 5_000)));
        let (mut balancer, mut rng) = (Balancer::new(OutlierConfig::default()), Rng::seeded(7));
        let demand = Demand {
            port: PORT,
            scope,
            lane,
            tried: &[],
        };
        let hers = (0..10_000).filter(|_| {
            let view = balancer.pick(&routes, &demand, Tick::default(), &mut rng);
            view.unwrap().endpoint.id < id(3)
        });
        hers.count() as f64 / 10_000.0
    };
    let stable = [far(3, "v1")];
    let both = [far(3, "v1"), far(4, "v2")];
    let hers = Scope::Cluster("eu-west-2".parse().unwrap());
    for (others, lane, scope, expect) in [
        (&stable[..], Lane::Stable, &Scope::Any, 0.2),
        // What is beyond it falls to the stable version, and there to the others.
        (&stable[..], CANARY, &Scope::Any, 0.2),
        (&both[..], CANARY, &Scope::Any, 0.2),
        (&both[..], CANARY, &hers, 1.0),
        (&[], CANARY, &Scope::Any, 1.0),
    ] {
        let share = share(others, lane, scope);
        assert!((share - expect).abs() < 0.02, "{lane:?}: {share}");
    }
}

#[test]
fn canaries_that_are_ejected_leave_their_requests_to_stable_ones() {
    let release = release("{}", 10_000);
    let endpoints = [endpoint(1).version("v1"), endpoint(3).version("v2")];
    let routes = Arc::new(routes_under(endpoints, release));
    let mut balancer = Balancer::new(OutlierConfig::default());
    let mut rng = Rng::seeded(7);
    let demand = Demand {
        port: PORT,
        scope: &Scope::Any,
        lane: CANARY,
        tried: &[],
    };
    let now = Tick::default();
    for _ in 0..5 {
        let view = balancer.pick(&routes, &demand, now, &mut rng).unwrap();
        assert_eq!(view.endpoint.id, id(3));
        balancer.on_start(id(3));
        balancer.on_response(id(3), Outcome::ServerError, Duration::ZERO, now);
    }
    assert!(balancer.is_ejected(id(3)));
    let view = balancer.pick(&routes, &demand, now, &mut rng).unwrap();
    assert_eq!(view.endpoint.id, id(1));
}

#[test]
fn one_endpoint_asked_for_by_name_is_asked_for_in_spite_of_a_release() {
    let routes = Arc::new(routes_under(two_of_each(), release("{}", 0)));
    let mut balancer = Balancer::new(OutlierConfig::default());
    for number in 1..=6 {
        let demand = Demand {
            port: PORT,
            scope: &Scope::Endpoint(id(number)),
            lane: Lane::Stable,
            tried: &[],
        };
        let view = balancer.pick(&routes, &demand, Tick::default(), &mut Rng::seeded(7));
        assert_eq!(view.unwrap().endpoint.id, id(number));
    }
}

/// A random table: endpoints of four versions, some unusable, near and far.
fn random(rng: &mut Rng) -> Vec<Draft> {
    let count = rng.below(7) as u32;
    let ceiling = [0, 20, 100][rng.below(3) as usize];
    let mut drafts = Vec::new();
    for number in 0..count {
        let mut draft = endpoint(number);
        draft = match rng.below(4) {
            0 | 1 => draft.version("v1"),
            2 => draft.version("v2"),
            _ => draft.version("v3"),
        };
        draft = match rng.below(5) {
            0 => draft.health(Health::NotReady),
            1 => remote(draft, "us-east-1", "us-east", 80).max_share(ceiling),
            _ => draft,
        };
        drafts.push(draft);
    }
    drafts
}

#[test]
fn explanations_say_what_is_picked() {
    let mut rng = Rng::seeded(7);
    let audiences = ["{}", BETA, STICKY, BOTH];
    for _ in 0..100_000 {
        let audience = audiences[rng.below(4) as usize];
        let weight = [0, 500, 5_000, 10_000][rng.below(4) as usize];
        let release = release(audience, weight);
        let routes = Arc::new(routes_under(random(&mut rng), release.clone()));
        let table = ServiceTable::new(place(), Index(1), [Arc::clone(&routes)]);
        let backend = Backend {
            service: &routes,
            port: &routes.ports()[0],
            scope: [Scope::Any, Scope::Cluster("us-east-1".parse().unwrap())]
                [rng.below(2) as usize]
                .clone(),
        };
        let user = rng.below(20).to_string();
        let fields = [
            ("x-user-id", &*user),
            ("x-beta", ["1", "2"][rng.below(2) as usize]),
        ];
        let list = HeaderList(&fields);
        let head = head("/", &list);
        let lane = routes.lane(Some(&head), &mut rng);
        match release.stand(Some(&head)) {
            Standing::Outside(_) => assert_eq!(lane, Lane::Stable),
            Standing::Sticky(bucket) => {
                assert_eq!(lane == CANARY, bucket.is_below(release.weight));
            }
            Standing::Drawn => {}
        }
        let demand = Demand {
            port: PORT,
            scope: &backend.scope,
            lane,
            tried: &[],
        };
        let mut balancer = Balancer::new(OutlierConfig::default());
        let picked = balancer.pick(&routes, &demand, Tick::default(), &mut rng);
        let mut candidates = 0;
        for (view, verdict) in backend.candidates(&table, lane, |_| false) {
            candidates += usize::from(verdict.is_ok());
            let is_picked = picked
                .as_ref()
                .is_ok_and(|p| p.endpoint.id == view.endpoint.id);
            assert!(!is_picked || verdict.is_ok(), "{lane:?}: {verdict:?}");
            if lane == Lane::Stable && view.endpoint.version.as_ref() != Some(&release.stable) {
                assert!(verdict.is_err());
            }
            if verdict == Err(EndpointRefusal::OtherLane) {
                assert!(!is_picked);
            }
        }
        assert_eq!(picked.is_err(), candidates == 0);
    }
}
