//! Stories of one endpoint, then many with chance.

mod alone;
mod foreign;
mod runs;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_model::fixture::{self, name};
use weft_model::{ClusterName, Endpoint, Health};

use super::fixture::*;
use super::*;
use crate::Moment;

const GATEWAY: &str = "gw";

fn session(n: u8) -> SessionId {
    SessionId([n; 16])
}

/// A catalog of eu-west-1 past its recovery, with one session per endpoint number.
fn running(numbers: std::ops::RangeInclusive<u32>, now: Moment) -> Catalog {
    let mut catalog = catalog(EU, GATEWAY, 1, at(0));
    catalog.poll(at(20));
    for n in numbers {
        register(&mut catalog, n, now);
    }
    catalog
}

fn register(catalog: &mut Catalog, n: u32, now: Moment) {
    let session = session(u8::try_from(n).unwrap());
    catalog.open_session(session, identity(EU), now);
    let put = catalog.put(session, endpoint(EU, n, 1), &fixture::federation(), now);
    assert_eq!(put, Ok(()));
}

fn beat(catalog: &mut Catalog, n: u32, now: Moment) {
    catalog.heard(session(u8::try_from(n).unwrap()), now);
}

#[test]
fn a_lost_session_is_no_withdrawal() {
    let mut eu = running(1..=5, at(100));
    for second in 101..=105 {
        (2..=5).for_each(|n| beat(&mut eu, n, at(second)));
        eu.poll(at(second));
        assert_eq!(ready(&mut eu, EU), [1, 2, 3, 4, 5], "within its grace");
    }
    (2..=5).for_each(|n| beat(&mut eu, n, at(106)));
    eu.poll(at(106));
    assert_eq!(ready(&mut eu, EU), [2, 3, 4, 5], "no new work");
    assert_eq!(all(&mut eu, EU), [1, 2, 3, 4, 5], "still there");
    beat(&mut eu, 1, at(107));
    assert_eq!(ready(&mut eu, EU), [1, 2, 3, 4, 5], "it was only slow");
    for second in 108..=119 {
        (2..=5).for_each(|n| beat(&mut eu, n, at(second)));
        eu.poll(at(second));
    }
    assert_eq!(all(&mut eu, EU), [2, 3, 4, 5], "ended on its behalf");
}

#[test]
fn a_process_in_the_place_of_another_supersedes_it_at_once() {
    let mut eu = running(1..=3, at(100));
    let address = endpoint(EU, 1, 1).address;
    // Killed and started again: another id and session, the same place.
    eu.close_session(session(1));
    eu.open_session(session(9), identity(EU), at(101));
    let again = Endpoint {
        address,
        ..endpoint(EU, 9, 1)
    };
    let put = eu.put(session(9), again, &fixture::federation(), at(101));
    assert_eq!(put, Ok(()));
    assert_eq!(all(&mut eu, EU), [2, 3, 9]);
    assert_eq!(ready(&mut eu, EU), [2, 3, 9]);
    let late = eu.put(
        session(1),
        endpoint(EU, 1, 1),
        &fixture::federation(),
        at(102),
    );
    assert_eq!(late, Ok(()), "an old word is no error");
    assert_eq!(all(&mut eu, EU), [2, 3, 9], "and changes nothing");
}

#[test]
fn a_withdrawal_is_final_at_once_however_many() {
    let mut eu = running(1..=5, at(100));
    for n in 1..=5 {
        let session = session(u8::try_from(n).unwrap());
        assert_eq!(eu.withdraw(session, id(n), 2, at(101)), Ok(()));
        let again = eu.put(session, endpoint(EU, n, 1), &fixture::federation(), at(102));
        assert_eq!(again, Ok(()), "an old word is no error");
    }
    assert!(all(&mut eu, EU).is_empty());
    assert_eq!(eu.take_alarms(), []);
}

#[test]
fn a_shrink_beyond_belief_is_held_then_confirmed_by_time() {
    let mut eu = running(1..=5, at(100));
    for second in 101..=135 {
        (1..=2).for_each(|n| beat(&mut eu, n, at(second)));
        eu.poll(at(second));
        assert_eq!(ready(&mut eu, EU), [1, 2, 3, 4, 5], "held at {second}");
    }
    let (view, _) = eu.refresh();
    let suspect = &view.service(&checkout()).unwrap().suspect;
    assert_eq!(*suspect, BTreeSet::from([name(EU)]));
    let held = Alarm::ShrinkHeld {
        cluster: name(EU),
        service: checkout(),
        doubted: 3,
        total: 5,
    };
    assert_eq!(eu.take_alarms(), [held]);
    (1..=2).for_each(|n| beat(&mut eu, n, at(136)));
    eu.poll(at(136));
    assert_eq!(all(&mut eu, EU), [1, 2]);
    let settled = Alarm::ShrinkSettled {
        cluster: name(EU),
        service: checkout(),
    };
    assert_eq!(eu.take_alarms(), [settled]);
}

#[test]
fn an_endpoint_lives_while_any_gateway_of_its_cluster_attests_it() {
    let mut first = running(1..=2, at(100));
    let mut second = catalog(EU, "gw-2", 2, at(0));
    second.poll(at(20));
    register(&mut second, 1, at(100));
    let mut us = catalog(US, GATEWAY, 9, at(0));
    us.poll(at(20));
    let mut from_first = Link::open(&first, EU, GATEWAY, &mut us, at(100));
    let mut from_second = Link::open(&second, EU, "gw-2", &mut us, at(100));
    from_first.deliver(&first, &mut us, 100, at(100));
    from_second.deliver(&second, &mut us, 100, at(100));
    assert_eq!(ready(&mut us, EU), [1, 2]);
    // Both sessions with the first gateway fall silent, the one with the second goes on.
    for second_now in 101..=120 {
        beat(&mut second, 1, at(second_now));
        first.poll(at(second_now));
        from_first.deliver(&first, &mut us, 100, at(second_now));
        us.poll(at(second_now));
        assert!(ready(&mut us, EU).contains(&1));
    }
    assert_eq!(all(&mut us, EU), [1]);
}

#[test]
fn a_gateway_that_starts_alone_serves_what_was_on_disk() {
    let mut us = catalog(US, GATEWAY, 9, at(0));
    us.restore([endpoint(EU, 1, 4), endpoint(US, 2, 4)], at(0));
    us.poll(at(10));
    assert_eq!(ready(&mut us, EU), [1]);
    assert_eq!(ready(&mut us, US), [2]);
    let (view, _) = us.refresh();
    let stale = view.liveness(&name(EU)).unwrap().freshness;
    assert_eq!(stale, Freshness::Stale(at(0)));
    for second in 16..600 {
        us.poll(at(second));
    }
    assert_eq!(ready(&mut us, EU), [1], "nobody speaks for that cluster");
    assert!(
        ready(&mut us, US).is_empty(),
        "this gateway does for its own"
    );
    let eu = running(1..=1, at(600));
    Link::open(&eu, EU, GATEWAY, &mut us, at(600)).deliver(&eu, &mut us, 10, at(600));
    let (view, _) = us.refresh();
    assert_eq!(view.knowledge(&name(EU), &checkout()), Knowledge::Current);
    assert_eq!(
        view.knowledge(&name("ap-south-1"), &checkout()),
        Knowledge::Unknown
    );
}

/// Doubt is kept on disk as unreadiness, under the count of the owner's word.
#[test]
fn what_was_doubted_on_disk_is_ready_again_by_the_same_word() {
    let doubted = |cluster: &str| Endpoint {
        health: Health::NotReady,
        ..endpoint(cluster, 1, 1)
    };
    let mut eu = catalog(EU, GATEWAY, 1, at(0));
    eu.restore([doubted(EU)], at(0));
    assert!(ready(&mut eu, EU).is_empty());
    register(&mut eu, 1, at(1));
    assert_eq!(ready(&mut eu, EU), [1], "its own gateway hears it");
    let mut us = catalog(US, GATEWAY, 9, at(0));
    us.restore([doubted(EU)], at(0));
    Link::open(&eu, EU, GATEWAY, &mut us, at(2)).deliver(&eu, &mut us, 10, at(2));
    assert_eq!(ready(&mut us, EU), [1], "another cluster is told");
}

#[test]
fn an_endpoint_of_another_identity_is_refused() {
    let federation = fixture::federation();
    let mut eu = running(1..=1, at(100));
    let other = SessionId([99; 16]);
    eu.open_session(
        other,
        name("spiffe://eu-west-1.fed.example.org/ns/shop/sa/web"),
        at(100),
    );
    let put = |eu: &mut Catalog, endpoint| eu.put(other, endpoint, &federation, at(100));
    let claims = put(&mut eu, endpoint(EU, 2, 1));
    assert!(
        matches!(&claims, Err(PutError::Admission(why)) if matches!(**why, AdmissionError::Claim { .. })),
        "{claims:?}"
    );
    let mut exported = endpoint(EU, 2, 1);
    exported.identity = name("spiffe://eu-west-1.fed.example.org/ns/shop/sa/web");
    let refused = put(&mut eu, exported.clone()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "spiffe://eu-west-1.fed.example.org/ns/shop/sa/web may not serve shop/checkout; allowed: ns/shop/sa/checkout"
    );
    let mut local = exported.clone();
    local.service = name("shop/web");
    assert_eq!(
        put(&mut eu, local),
        Ok(()),
        "not exported: its own namespace"
    );
    let mut outside = exported.clone();
    outside.service = name("data/web");
    assert!(put(&mut eu, outside).is_err(), "not its own namespace");
    let mut stolen = exported;
    stolen.id = id(1);
    stolen.service = name("shop/web");
    assert_eq!(put(&mut eu, stolen), Err(PutError::Foreign(id(1))));
    assert_eq!(
        eu.withdraw(other, id(1), 9, at(100)),
        Err(PutError::Foreign(id(1)))
    );
    assert_eq!(ready(&mut eu, EU), [1]);
    let foreign = SessionId([98; 16]);
    eu.open_session(foreign, identity(US), at(100));
    let mut elsewhere = endpoint(EU, 3, 1);
    elsewhere.identity = identity(US);
    let refused = eu.put(foreign, elsewhere, &federation, at(100));
    assert!(
        matches!(refused, Err(PutError::Admission(why)) if matches!(*why, AdmissionError::TrustDomain { .. }))
    );
}

#[test]
fn a_local_service_exists_by_registration() {
    let federation = fixture::federation();
    let mut eu = running(1..=1, at(100));
    let mut local = endpoint(EU, 2, 1);
    local.service = name("shop/cart");
    eu.put(session(1), local, &federation, at(100)).unwrap();
    let (view, _) = eu.refresh();
    let locals = view.local_services(&federation);
    assert_eq!(locals.len(), 1);
    assert_eq!(locals[0].key, name("shop/cart"));
    assert_eq!(locals[0].ports[0].port.get(), 80);
}

#[test]
fn the_digest_counts_what_is_ready() {
    let mut eu = running(1..=3, at(100));
    (2..=3).for_each(|n| beat(&mut eu, n, at(106)));
    eu.poll(at(106));
    let (view, _) = eu.refresh();
    let digest = &view.liveness(&name(EU)).unwrap().digest;
    assert_eq!(digest.ready(&checkout()), 2);
}

#[test]
fn services_that_did_not_change_are_shared_between_views() {
    let mut eu = running(1..=1, at(100));
    let (before, _) = eu.refresh();
    let mut cart = endpoint(EU, 2, 1);
    cart.service = name("shop/cart");
    eu.put(session(1), cart, &fixture::federation(), at(100))
        .unwrap();
    let (after, touched) = eu.refresh();
    assert_eq!(touched, BTreeSet::from([name("shop/cart")]));
    let checkout = checkout();
    let (old, new) = (before.service(&checkout), after.service(&checkout));
    assert!(Arc::ptr_eq(old.unwrap(), new.unwrap()));
    let (again, touched) = eu.refresh();
    assert!(Arc::ptr_eq(&after, &again) && touched.is_empty());
}

#[test]
fn a_differing_hash_is_noticed() {
    let mut eu = running(1..=3, at(100));
    let mut us = catalog(US, GATEWAY, 9, at(0));
    Link::open(&eu, EU, GATEWAY, &mut us, at(100)).deliver(&eu, &mut us, 10, at(100));
    register(&mut eu, 4, at(101));
    let mark = us.peer_mark(&name(EU), eu.epoch(), eu.journal().hash(|_| true), at(101));
    assert!(mark.is_err(), "one endpoint was never delivered");
}

/// Endpoint, sequence, and whether it ended.
type Spoken = (u32, u64, bool);

/// What owners said of ten endpoints, in order: puts, and withdrawals that may be followed by puts.
fn history(chance: &mut Chance) -> (Vec<Spoken>, BTreeMap<u32, (u64, bool)>) {
    let mut words = Vec::new();
    let mut last = BTreeMap::new();
    for n in 0..10 {
        for sequence in 1..=1 + chance.below(6) as u64 {
            let ended = chance.below(3) == 0;
            words.push((n, sequence, ended));
            last.insert(n, (sequence, ended));
        }
    }
    (words, last)
}

#[test]
fn any_order_of_an_owners_words_ends_with_its_last() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let (words, last) = history(&mut chance);
        let mut deliveries: Vec<_> = words
            .iter()
            .chain(&words)
            .map(|w| (chance.below(2), *w))
            .collect();
        chance.shuffle(&mut deliveries);
        let mut set = ClusterSet::new(Timing::default());
        let epochs = [Epoch([1; 16]), Epoch([2; 16])];
        set.open(epochs[0], &name("gw-1"), false, at(0));
        set.open(epochs[1], &name("gw-2"), false, at(0));
        for (witness, (n, sequence, ended)) in deliveries {
            if ended {
                set.withdraw(epochs[witness], id(n), sequence, at(1));
            } else {
                set.attest(epochs[witness], Arc::new(endpoint(EU, n, sequence)));
            }
        }
        for (n, (sequence, ended)) in last {
            let held = set.endpoint(id(n)).map(|e| e.sequence);
            let expected = (!ended).then_some(sequence);
            assert_eq!(held, expected, "endpoint {n}, seed {seed}");
        }
    }
}

#[test]
fn hashes_are_equal_just_when_sets_are() {
    let hash = |words: &BTreeSet<(u32, u64)>, order: &mut Chance| {
        let mut set = ClusterSet::new(Timing::default());
        let epoch = Epoch([1; 16]);
        set.open(epoch, &name(GATEWAY), false, at(0));
        let mut words: Vec<_> = words.iter().copied().collect();
        order.shuffle(&mut words);
        for (n, sequence) in words {
            set.attest(epoch, Arc::new(endpoint(EU, n, sequence)));
        }
        set.hash(epoch)
    };
    let mut seen: BTreeMap<SetHash, BTreeSet<(u32, u64)>> = BTreeMap::new();
    for seed in 0..2000 {
        let mut chance = Chance(seed);
        let count = chance.below(4);
        let words: BTreeMap<u32, u64> = (0..count)
            .map(|_| (chance.below(4) as u32, 1 + chance.below(3) as u64))
            .collect();
        let words: BTreeSet<(u32, u64)> = words.into_iter().collect();
        let first = hash(&words, &mut chance);
        assert_eq!(
            first,
            hash(&words, &mut chance),
            "order does not matter, seed {seed}"
        );
        let known = seen.entry(first).or_insert_with(|| words.clone());
        assert_eq!(*known, words, "two sets with one hash, seed {seed}");
    }
    assert!(seen.len() > 50, "sets differed");
}

/// Gateways of eu-west-1 restart at random while sidecars live on and come
/// back to them within their longest pause; somebody in us-east-1 looks on.
#[test]
fn restarts_of_gateways_never_shrink_the_set() {
    const SIDECARS: u32 = 8;
    const PAUSE_MAX: u64 = 10;
    let federation = fixture::federation();
    let everyone: Vec<u32> = (0..SIDECARS).collect();
    for seed in 0..100 {
        let mut chance = Chance(seed);
        let gateways = 1 + chance.below(2);
        let mut us = catalog(US, GATEWAY, 200, at(0));
        let mut epoch = 0;
        let mut eu: Vec<(String, Catalog, Link, BTreeSet<u32>, u64)> = Vec::new();
        for n in 0..gateways {
            let gateway = format!("gw-{n}");
            epoch += 1;
            let started = catalog(EU, &gateway, epoch, at(0));
            let link = Link::open(&started, EU, &gateway, &mut us, at(0));
            eu.push((gateway, started, link, BTreeSet::new(), 0));
        }
        for second in 1..300 {
            let now = at(second);
            for (gateway, catalog_here, link, joined, started) in &mut eu {
                if second > 40 && chance.below(40) == 0 {
                    us.lose_peer(&name(EU), catalog_here.epoch(), now);
                    epoch += 1;
                    let last: Vec<Endpoint> = on_disk(catalog_here);
                    *catalog_here = catalog(EU, gateway, epoch, now);
                    catalog_here.restore(last, now);
                    *link = Link::open(catalog_here, EU, gateway, &mut us, now);
                    joined.clear();
                    *started = second;
                }
                for n in 0..SIDECARS {
                    let session = session(u8::try_from(n).unwrap());
                    let due = chance.below(4) == 0 || second - *started >= PAUSE_MAX;
                    if !joined.contains(&n) && due {
                        catalog_here.open_session(session, identity(EU), now);
                        let put = catalog_here.put(session, endpoint(EU, n, 1), &federation, now);
                        assert_eq!(put, Ok(()));
                        joined.insert(n);
                    }
                    catalog_here.heard(session, now);
                }
                catalog_here.poll(now);
                us.open_peer(
                    &name(EU),
                    &name(gateway),
                    catalog_here.epoch(),
                    catalog_here.is_recovering(),
                    now,
                );
                link.deliver(catalog_here, &mut us, 1 + chance.below(20), now);
                if second > 40 {
                    assert_eq!(
                        ready(catalog_here, EU),
                        everyone,
                        "at home, seed {seed}, {second} s"
                    );
                }
            }
            us.poll(now);
            if second > 40 {
                assert_eq!(
                    ready(&mut us, EU),
                    everyone,
                    "abroad, seed {seed}, {second} s"
                );
            }
        }
    }
}

fn on_disk(catalog: &mut Catalog) -> Vec<Endpoint> {
    let (view, _) = catalog.refresh();
    let services = view.services().flat_map(|(_, service)| &service.endpoints);
    services.map(|endpoint| Endpoint::clone(endpoint)).collect()
}
