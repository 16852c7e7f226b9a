use std::time::Duration;

use weft_model::Health;

use super::*;
use crate::fixture::{endpoint, place, remote, routes};

#[test]
fn levels_are_nearest_first_and_one_per_remote_cluster() {
    let near = endpoint(1).zone("a");
    let other_zone = endpoint(2).zone("b");
    let far = remote(endpoint(3), "ap-south-1", "ap-south", 140);
    let region = remote(endpoint(4), "eu-west-2", "eu-west", 200);
    let routes = routes([far, region, other_zone, near]);
    let levels: Vec<_> = routes.ports()[0]
        .levels
        .iter()
        .map(|l| (l.level.clone(), l.members.to_vec()))
        .collect();
    assert!(matches!(levels[0], (Level::SameZone, ref m) if m == &[0]));
    assert!(matches!(levels[1], (Level::SameCluster, ref m) if m == &[1]));
    assert!(matches!(levels[2], (Level::SameRegion { .. }, ref m) if m == &[3]));
    assert!(matches!(levels[3], (Level::OtherRegion { rtt, .. }, ref m)
            if m == &[2] && rtt == Duration::from_millis(140)));
}

#[test]
fn each_refusal_has_its_reason() {
    let identities = routes([]).identities().clone();
    let port = crate::fixture::PORT;
    let check = |view: Arc<EndpointView>, expect: EndpointRefusal| {
        assert_eq!(view.admit(port, &identities), Err(expect));
    };
    check(
        endpoint(1).health(Health::NotReady).view(),
        EndpointRefusal::NotReady,
    );
    check(
        endpoint(1).health(Health::Draining).view(),
        EndpointRefusal::Draining,
    );
    check(endpoint(1).weight(0).view(), EndpointRefusal::NoWeight);
    check(
        endpoint(1).account("intruder").view(),
        EndpointRefusal::IdentityNotAllowed,
    );
    check(endpoint(1).address(None).view(), EndpointRefusal::NoAddress);
    check(endpoint(1).port(9).view(), EndpointRefusal::PortNotServed);
    for (path, expect) in [
        (PathState::Down, EndpointRefusal::PathDown),
        (PathState::Draining, EndpointRefusal::ClusterDraining),
        (PathState::Lapsed, EndpointRefusal::LeaseLapsed),
    ] {
        check(
            remote(endpoint(1), "us-east-1", "us-east", 80)
                .path(path)
                .view(),
            expect,
        );
    }
}

#[test]
fn a_service_is_found_by_key_host_and_virtual_ip() {
    let routes = Arc::new(routes([endpoint(1)]));
    let ip = routes.virtual_ips()[0];
    let table = ServiceTable::new(place(), Index(7), [Arc::clone(&routes)]);
    assert_eq!(table.applied(), Index(7));
    assert!(Arc::ptr_eq(table.service(routes.key()).unwrap(), &routes));
    assert!(Arc::ptr_eq(table.by_virtual_ip(ip).unwrap(), &routes));
    assert!(Arc::ptr_eq(
        table.by_short_host("checkout.shop").unwrap(),
        &routes
    ));
    assert!(table.by_short_host("shop.checkout").is_none());
}
