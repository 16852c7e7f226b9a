//! A gateway that starts with nobody reachable.

use std::sync::Arc;

use weft_model::fixture::{self, name};
use weft_model::{Digest, DigestRow};

use super::*;

/// Whoever starts alone an hour later must not call what it has new, nor forget what it covers.
#[test]
fn what_else_was_on_disk_keeps_its_age() {
    let mut us = catalog(US, GATEWAY, 9, at(3600));
    us.restore([endpoint(EU, 1, 4)], at(3600));
    let mut digest = Digest::default();
    let row = DigestRow {
        ready: 3,
        capacity: 300,
    };
    digest.rows.insert((checkout(), None, None), row);
    let last = LastKnown {
        heard: at(5),
        covered: Interest::Everything,
        digest: Arc::new(digest),
    };
    us.recall(&name(EU), last.clone());
    us.recall(&name("ap-south-1"), last.clone());
    us.recall(&name(US), last);
    us.poll(at(3601));
    let (view, _) = us.refresh();
    let stale = Knowledge::Stale(at(5));
    assert_eq!(view.knowledge(&name(EU), &checkout()), stale);
    let none = view.knowledge(&name("ap-south-1"), &checkout());
    assert_eq!(none, stale, "it was known to have no endpoint");
    assert_eq!(
        view.liveness(&name(EU)).unwrap().digest.ready(&checkout()),
        3
    );
    let own = view.liveness(&name(US)).unwrap();
    let recovers = Freshness::Stale(at(3600));
    assert_eq!(
        (own.freshness, own.digest.ready(&checkout())),
        (recovers, 0)
    );
    // Whoever speaks for the cluster again counts alone.
    let eu = running(1..=1, at(3700));
    Link::open(&eu, EU, GATEWAY, &mut us, at(3700)).deliver(&eu, &mut us, 10, at(3700));
    us.poll(at(3701));
    let (view, _) = us.refresh();
    assert_eq!(view.knowledge(&name(EU), &checkout()), Knowledge::Current);
}

/// Else it would wait for the gateways that it heard before, and then doubt its owner's word.
#[test]
fn who_starts_again_hears_at_once_what_was_withdrawn_meanwhile() {
    let mut eu = running(1..=4, at(100));
    for n in 1..=3 {
        let session = session(u8::try_from(n).unwrap());
        assert_eq!(eu.withdraw(session, id(n), 2, at(101)), Ok(()));
    }
    let mut us = catalog(US, GATEWAY, 9, at(102));
    us.restore((1..=4).map(|n| endpoint(EU, n, 1)), at(102));
    Link::open(&eu, EU, GATEWAY, &mut us, at(102)).deliver(&eu, &mut us, 10, at(102));
    assert_eq!(all(&mut us, EU), [4]);
    assert!(us.take_alarms().is_empty());
}

/// The disk may have what was before a removal that the log has by now.
#[test]
fn who_is_no_member_is_forgotten_with_its_endpoints() {
    let mut us = catalog(US, GATEWAY, 9, at(0));
    us.restore([endpoint(EU, 1, 4), endpoint("gone-1", 2, 4)], at(0));
    let members = fixture::federation();
    assert_eq!(us.keep_members(&members), [name("gone-1")]);
    let (view, _) = us.refresh();
    let shown = view.service(&checkout()).unwrap().endpoints.iter();
    let shown: Vec<_> = shown.map(|e| e.cluster.to_string()).collect();
    assert_eq!(shown, [EU]);
    assert!(view.liveness(&name("gone-1")).is_none());
    assert_eq!(us.keep_members(&members), []);
    // Its own it keeps, whatever the log says.
    us.restore([endpoint(US, 3, 4)], at(1));
    assert_eq!(us.keep_members(&Default::default()), [name(EU)]);
    assert!(us.refresh().0.service(&checkout()).is_some());
}
