//! What a snapshot says, and what happens meanwhile.

use super::*;

/// The peer's hello says that it recovers no longer, between two words of its snapshot.
#[test]
fn a_hello_amid_a_snapshot_leaves_it_whole() {
    let mut eu = catalog(EU, GATEWAY, 1, at(0));
    (1..=3).for_each(|n| register(&mut eu, n, at(1)));
    let mut us = catalog(US, GATEWAY, 9, at(0));
    us.restore([endpoint(EU, 7, 1)], at(0));
    let mut link = Link::open(&eu, EU, GATEWAY, &mut us, at(14));
    link.deliver(&eu, &mut us, 2, at(14));
    (1..=3).for_each(|n| beat(&mut eu, n, at(15)));
    eu.poll(at(15));
    assert!(!eu.is_recovering());
    us.open_peer(&name(EU), &name(GATEWAY), eu.epoch(), false, at(15));
    link.deliver(&eu, &mut us, 10, at(15));
    let (view, _) = us.refresh();
    assert_eq!(view.knowledge(&name(EU), &checkout()), Knowledge::Current);
    (16..90).for_each(|second| us.poll(at(second)));
    assert_eq!(all(&mut us, EU), [1, 2, 3], "what it does not have is gone");
}

/// What a stream that ended had said of its snapshot counts for nothing in the next one.
#[test]
fn a_snapshot_that_broke_off_is_no_snapshot() {
    let eu = running(1..=3, at(100));
    let mut us = catalog(US, GATEWAY, 9, at(0));
    Link::open(&eu, EU, GATEWAY, &mut us, at(100)).deliver(&eu, &mut us, 2, at(100));
    us.lose_peer(&name(EU), eu.epoch(), at(101));
    us.open_peer(&name(EU), &name(GATEWAY), eu.epoch(), false, at(102));
    // It goes on without one, as if all had been heard.
    let said = us.peer_hash(&name(EU), eu.epoch());
    us.peer_mark(&name(EU), eu.epoch(), said, at(102)).unwrap();
    let (view, _) = us.refresh();
    assert_ne!(view.knowledge(&name(EU), &checkout()), Knowledge::Current);
}

/// A run was heard for a moment while it recovered, then out of earshot until it had: what its last
/// snapshot lacked is no absence before its next one is whole. Two endpoints: more would be held back by
/// the shrink guard.
#[test]
fn what_an_earlier_stream_said_tells_nothing_of_the_next() {
    let before = running(1..=2, at(100));
    let mut us = catalog(US, GATEWAY, 9, at(0));
    Link::open(&before, EU, GATEWAY, &mut us, at(100)).deliver(&before, &mut us, 10, at(100));
    us.lose_peer(&name(EU), before.epoch(), at(101));
    let mut after = catalog(EU, GATEWAY, 2, at(101));
    Link::open(&after, EU, GATEWAY, &mut us, at(102)).deliver(&after, &mut us, 10, at(102));
    us.lose_peer(&name(EU), after.epoch(), at(103));
    (1..=2).for_each(|n| register(&mut after, n, at(110)));
    (111..=120).for_each(|second| {
        (1..=2).for_each(|n| beat(&mut after, n, at(second)));
        after.poll(at(second));
    });
    assert!(!after.is_recovering());
    let mut link = Link::open(&after, EU, GATEWAY, &mut us, at(120));
    us.poll(at(120));
    assert_eq!(ready(&mut us, EU), [1, 2], "its words are on their way");
    link.deliver(&after, &mut us, 10, at(121));
    us.poll(at(121));
    assert_eq!(ready(&mut us, EU), [1, 2]);
}
