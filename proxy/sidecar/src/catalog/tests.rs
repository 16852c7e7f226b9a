//! Mirrors and their merge, without a network.

mod mutants;

use std::time::Duration;

use weft_decide::{Locality, PathState, Place, ServiceTable};
use weft_model::{Endpoint, Health, Percent, ServiceKey};
use weft_proto::catalog as wire;

use super::fixture::endpoint;
use super::merge::{Merge, Source};
use super::mirror::{Change, MirrorError};
use super::wire as convert;

const EU: &str = "eu-west-1";
const US: &str = "us-east-1";

fn place() -> Place {
    Place {
        cluster: EU.parse().unwrap(),
        region: "eu-west".parse().unwrap(),
        zone: None,
    }
}

fn checkout() -> ServiceKey {
    "shop/checkout".parse().unwrap()
}

fn source(gateway: &str, run: u8) -> Source {
    (gateway.into(), [run; 16])
}

fn service() -> bytes::Bytes {
    let identity =
        |cluster: &str| format!("spiffe://{cluster}.fed.example.org/ns/shop/sa/checkout");
    convert::encode_item(wire::item::Item::Service(wire::Service {
        key: Some(convert::to_service_key(&checkout())),
        ports: vec![wire::ServicePort {
            name: "http".into(),
            port: 80,
            protocol: wire::AppProtocol::Http.into(),
        }],
        identities: vec![identity(EU), identity(US)],
        ..wire::Service::default()
    }))
}

fn item(endpoint: &Endpoint) -> bytes::Bytes {
    convert::encode_item(wire::item::Item::Endpoint(convert::to_endpoint(endpoint)))
}

fn path(up: bool, rtt_us: u32) -> bytes::Bytes {
    let path = if up {
        wire::PathState::Up
    } else {
        wire::PathState::Down
    };
    convert::encode_item(wire::item::Item::Cluster(wire::ClusterState {
        cluster: US.into(),
        region: "us-east".into(),
        path: path.into(),
        rtt_us,
        max_share: Some(20),
        ..wire::ClusterState::default()
    }))
}

fn mark(items: &[bytes::Bytes], recovering: bool) -> wire::Mark {
    let hash = items
        .iter()
        .fold(0u64, |sum, item| sum.wrapping_add(convert::item_hash(item)));
    wire::Mark {
        applied_index: 7,
        hash,
        recovering,
    }
}

fn snapshot(merge: &mut Merge, from: &Source, items: &[bytes::Bytes], recovering: bool) {
    merge.open(from, false);
    let mirror = merge.mirror(from).unwrap();
    mirror.begin_snapshot();
    for item in items {
        assert_eq!(mirror.apply(1, item.clone()), Ok(Change::Nothing));
    }
    let change = mirror.mark(9, &mark(items, recovering)).unwrap();
    merge.note(change);
}

fn ids(table: &ServiceTable) -> Vec<(u8, Health)> {
    let routes = table.service(&checkout()).expect("the service is known");
    let views = routes.endpoints().iter();
    views
        .map(|v| (v.endpoint.id.0[0], v.endpoint.health))
        .collect()
}

#[test]
fn a_gateway_that_goes_away_takes_nothing_with_it() {
    let mut merge = Merge::new(place());
    let first = source("a:1", 1);
    snapshot(
        &mut merge,
        &first,
        &[service(), item(&endpoint(EU, 1, 1))],
        false,
    );
    assert_eq!(ids(&merge.table().unwrap()), [(1, Health::Ready)]);
    merge.lose(&first);
    assert_eq!(ids(&merge.table().unwrap()), [(1, Health::Ready)]);
    // Its next run has lost its disk and its sidecars are not back yet.
    let second = source("a:1", 2);
    snapshot(&mut merge, &second, &[service()], true);
    assert_eq!(ids(&merge.table().unwrap()), [(1, Health::Ready)]);
    let change = merge
        .mirror(&second)
        .unwrap()
        .mark(10, &mark(&[service()], false));
    merge.note(change.unwrap());
    assert_eq!(
        ids(&merge.table().unwrap()),
        [],
        "settled, and it knows none"
    );
}

/// A workload that ended was called for as long as the gateway that was left recovered: what the
/// dead one had said of it stood.
#[test]
fn an_endpoint_that_ended_is_not_kept_by_a_dead_gateways_word() {
    let mut merge = Merge::new(place());
    let (dead, left) = (source("a:1", 1), source("b:1", 1));
    let both = [
        service(),
        item(&endpoint(EU, 1, 1)),
        item(&endpoint(US, 2, 1)),
    ];
    snapshot(&mut merge, &dead, &both, true);
    snapshot(&mut merge, &left, &both, true);
    merge.lose(&dead);
    let known = [(1, Health::Ready), (2, Health::Ready)];
    assert_eq!(ids(&merge.table().unwrap()), known);
    let tell = |merge: &mut Merge, item: bytes::Bytes| {
        let change = merge.mirror(&left).unwrap().apply(10, item).unwrap();
        merge.note(change);
    };
    let gone = convert::encode_item(wire::item::Item::EndpointGone(wire::EndpointGone {
        service: Some(convert::to_service_key(&checkout())),
        cluster: EU.into(),
        id: bytes::Bytes::copy_from_slice(&endpoint(EU, 1, 1).id.0),
    }));
    tell(&mut merge, gone);
    assert_eq!(ids(&merge.table().unwrap()), [(2, Health::Ready)]);
    // A later word of its owner counts again.
    tell(&mut merge, item(&endpoint(EU, 1, 2)));
    assert_eq!(ids(&merge.table().unwrap()), known);
}

/// Sidecars grew by a whole mirror with each restart of such a gateway.
#[test]
fn a_gateway_that_restarts_again_and_again_leaves_two_runs_behind() {
    let mut merge = Merge::new(place());
    let first = source("a:1", 1);
    let whole = [service(), item(&endpoint(EU, 1, 1))];
    snapshot(&mut merge, &first, &whole, false);
    merge.lose(&first);
    for run in 2..20 {
        let next = source("a:1", run);
        snapshot(&mut merge, &next, &[service()], true);
        merge.lose(&next);
        assert_eq!(ids(&merge.table().unwrap()), [(1, Health::Ready)]);
    }
    let kept: Vec<u8> = (0..20)
        .filter(|run| merge.mirror(&source("a:1", *run)).is_some())
        .collect();
    assert_eq!(kept, [1, 19], "the last one that had settled, and the last");
}

#[test]
fn the_later_word_wins_and_of_one_word_the_believing_gateway() {
    let mut merge = Merge::new(place());
    let doubted = Endpoint {
        health: Health::NotReady,
        ..endpoint(EU, 1, 5)
    };
    let older = Endpoint {
        health: Health::NotReady,
        ..endpoint(EU, 2, 5)
    };
    let a = [service(), item(&doubted), item(&older)];
    let b = [
        service(),
        item(&endpoint(EU, 1, 5)),
        item(&endpoint(EU, 2, 6)),
    ];
    snapshot(&mut merge, &source("a:1", 1), &a, false);
    snapshot(&mut merge, &source("b:1", 2), &b, false);
    assert_eq!(
        ids(&merge.table().unwrap()),
        [(1, Health::Ready), (2, Health::Ready)]
    );
}

#[test]
fn the_best_path_of_any_gateway_counts() {
    let mut merge = Merge::new(place());
    let mut remote = endpoint(US, 1, 1);
    remote.address = None;
    let a = [service(), item(&remote), path(false, 1000)];
    let b = [service(), item(&remote), path(true, 80_000)];
    snapshot(&mut merge, &source("a:1", 1), &a, false);
    let table = merge.table().unwrap();
    let locality = |table: &ServiceTable| {
        let routes = table.service(&checkout()).unwrap();
        routes.endpoints()[0].locality.clone()
    };
    assert!(matches!(
        locality(&table),
        Locality::Remote {
            path: PathState::Down,
            ..
        }
    ));
    snapshot(&mut merge, &source("b:1", 2), &b, false);
    let table = merge.table().unwrap();
    let expected = Locality::Remote {
        region: "us-east".parse().unwrap(),
        rtt: Duration::from_millis(80),
        path: PathState::Up,
        max_share: Percent::new(20),
    };
    assert_eq!(locality(&table), expected);
}

#[test]
fn a_lost_item_is_noticed_by_the_hash() {
    let mut merge = Merge::new(place());
    let from = source("a:1", 1);
    snapshot(&mut merge, &from, &[service()], false);
    assert_eq!(merge.resume("a:1"), Some(([1; 16], 9)));
    let missed = item(&endpoint(EU, 1, 1));
    let mirror = merge.mirror(&from).unwrap();
    let told = mirror.mark(11, &mark(&[service(), missed], false));
    assert!(matches!(told, Err(MirrorError::Mismatch { .. })));
    assert_eq!(merge.resume("a:1"), None, "only a snapshot helps");
    assert!(
        merge.table().unwrap().service(&checkout()).is_some(),
        "it serves on"
    );
}

#[test]
fn the_state_survives_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut merge = Merge::new(place());
    let items = [service(), item(&endpoint(EU, 1, 1))];
    snapshot(&mut merge, &source("a:1", 1), &items, false);
    let (mirror, releases) = merge.for_disk().unwrap();
    let bytes = super::disk::encode(mirror, releases, &place());
    super::disk::store(&path, &bytes).unwrap();
    let mut restarted = Merge::new(place());
    restarted.restore(super::disk::load(&path, &place()).unwrap().unwrap());
    assert_eq!(ids(&restarted.table().unwrap()), [(1, Health::Ready)]);
    assert_eq!(restarted.resume("a:1"), None);
    let elsewhere = Place {
        cluster: US.parse().unwrap(),
        ..place()
    };
    assert!(super::disk::load(&path, &elsewhere).is_err());
    std::fs::write(&path, b"\x0a\xff").unwrap();
    assert!(super::disk::load(&path, &place()).is_err());
}
