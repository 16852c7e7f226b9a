//! History: whole, in order and the same after restarts, compaction, snapshots and a new leader.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use redb::{Builder, ReadableTable, TableDefinition};
use support::{DEADLINE, Switch, applied, leader, three, until, write};
use tempfile::tempdir;
use tokio::time::timeout;
use weft_model::fixture::name;
use weft_model::{Index, Key, NodeId};
use weft_registry::disk::Bounds;
use weft_registry::{HistoryError, Judged, Registry, RegistryConfig, Start, WatchError};

/// A node that compacts often and remembers little, so that history is what answers.
fn start(dir: &Path, switch: &Switch, node: u8, start: Start, history: Bounds) -> Registry {
    let node = NodeId(node.into());
    let config = RegistryConfig {
        snapshot_entries: 40,
        tail_entries: 5,
        watch_changes: 3,
        propose_timeout: DEADLINE,
        history,
        ..RegistryConfig::new(dir.join(node.to_string()), start)
    };
    let registry = Registry::start(config, switch.port(node)).unwrap();
    switch.plug(node, registry.clone());
    registry
}

fn alone(dir: &Path, history: Bounds) -> Registry {
    let found = Start::Found(support::founding());
    start(dir, &Switch::default(), 1, found, history)
}

fn again(dir: &Path) -> Registry {
    let resume = Start::Resume(None);
    start(dir, &Switch::default(), 1, resume, Bounds::default())
}

async fn propose(node: &Registry, generation: u64) -> Index {
    let proposed = timeout(DEADLINE, node.propose(write(1, generation))).await;
    proposed.expect("an answer in time").unwrap()
}

/// What a watcher from `after` on sees up to `last`.
async fn watched(node: &Registry, after: Index, last: Index) -> Vec<Judged> {
    let mut watch = node.watch(after);
    let mut seen = Vec::new();
    while watch.position() < last {
        let next = timeout(DEADLINE, watch.next()).await;
        seen.push((*next.expect("an entry in time").unwrap()).clone());
    }
    seen
}

#[tokio::test]
async fn a_watch_begins_anywhere_in_history_and_misses_and_repeats_nothing() {
    let dir = tempdir().unwrap();
    let node = alone(dir.path(), Bounds::default());
    let mut written = vec![Index(2)];
    for generation in 1..=150 {
        written.push(propose(&node, generation).await);
    }
    let last = *written.last().unwrap();
    let all = watched(&node, Index(1), last).await;
    let seen: Vec<Index> = all.iter().map(|entry| entry.index).collect();
    assert_eq!(seen, written);
    for restart in [false, true] {
        let node = match restart {
            true => {
                node.shutdown().await;
                let node = again(dir.path());
                propose(&node, 151).await;
                node
            }
            false => node.clone(),
        };
        for after in [1, 2, 39, 40, 41, 77, 120, last.0 - 4, last.0 - 1] {
            let expect = all.iter().filter(|entry| entry.index.0 > after).cloned();
            let rest = watched(&node, Index(after), last).await;
            assert_eq!(rest, expect.collect::<Vec<_>>(), "after {after}");
        }
        let page = node.entries(Index(1), 1_000).await.unwrap();
        assert_eq!(page.entries[..all.len()], all);
        node.shutdown().await;
    }
}

#[tokio::test]
async fn the_state_of_every_index_comes_back_as_it_was() {
    let dir = tempdir().unwrap();
    let node = alone(dir.path(), Bounds::default());
    let mut digests = BTreeMap::new();
    for generation in 1..=130 {
        let index = propose(&node, generation).await;
        let state = node.state();
        assert_eq!(state.applied(), index);
        digests.insert(index, state.digest());
    }
    let last = *digests.keys().next_back().unwrap();
    node.shutdown().await;
    let node = again(dir.path());
    until("a leader", || {
        node.status().raft.leadership.leader.is_some()
    })
    .await;
    for (index, digest) in &digests {
        let state = node.state_at(*index).await.unwrap();
        assert_eq!(state.digest(), *digest, "at {index}");
    }
    let ahead = node.state_at(Index(last.0 + 100)).await.unwrap_err();
    assert!(matches!(ahead, HistoryError::Ahead { .. }), "{ahead}");
    let before = node.state_at(Index(0)).await.unwrap_err();
    assert!(matches!(before, HistoryError::Gone { .. }), "{before}");
}

#[tokio::test]
async fn a_record_s_revisions_are_its_changes_alone_with_the_state_after_each() {
    let dir = tempdir().unwrap();
    let node = alone(dir.path(), Bounds::default());
    let mut expect = Vec::new();
    for generation in 1..=120 {
        let index = propose(&node, generation).await;
        if generation % 50 == 7 {
            expect.push(index);
        }
    }
    let key = Key::Export(name("shop/s7"), support::cluster(1));
    let wanted = key.clone();
    let (_, found) = node.revisions(move |key| *key == wanted).await.unwrap();
    let at: Vec<Index> = found.iter().map(|revision| revision.entry.index).collect();
    assert_eq!(at, expect);
    for revision in found {
        assert_eq!(revision.key, key);
        assert_eq!(revision.state.applied(), revision.entry.index);
    }
}

#[tokio::test]
async fn history_keeps_within_its_bounds_and_says_where_it_begins() {
    let dir = tempdir().unwrap();
    let bounds = Bounds {
        entries: 90,
        ..Bounds::default()
    };
    let node = alone(dir.path(), bounds);
    let mut last = Index(0);
    for generation in 1..=300 {
        last = propose(&node, generation).await;
    }
    let span = node.history_span().await.unwrap();
    assert_eq!(span.last, last);
    let kept = last.0 - span.after.0;
    // The bound, and the entries since the newest snapshot.
    assert!((40..=90 + 40).contains(&kept), "{span:?}");
    assert_eq!(watched(&node, span.after, last).await.len() as u64, kept);
    let gone = timeout(DEADLINE, node.watch(Index(span.after.0 - 1)).next()).await;
    let expect = WatchError::Compacted { first: span.after };
    assert_eq!(gone.unwrap(), Err(expect));
    node.state_at(span.after).await.unwrap();
}

#[tokio::test]
async fn the_trail_holds_on_every_replica_and_is_the_same() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let nodes = three(dir.path(), &switch).await;
    let mut last = Index(0);
    for generation in 1..=130 {
        last = last.max(propose(&nodes[0], generation).await);
        // A retry is no second mutation.
        propose(&nodes[1], generation).await;
        if generation == 60 {
            let lost = leader(&nodes).await;
            nodes[lost]
                .transfer(NodeId((lost as u64 + 1) % 3 + 1))
                .await
                .unwrap();
        }
    }
    let mut chains = Vec::new();
    for node in &nodes {
        applied(node, last).await;
        let trail = node.audit().await.unwrap();
        assert_eq!(trail.fault, None);
        assert!(trail.states > 0, "{trail:?}");
        let after = (trail.after == Index(1)).then_some(trail.effected);
        if let Some(effected) = after {
            // The founding, two grants, two redemptions, and the writes.
            assert_eq!(effected, 5 + 130);
        }
        chains.push((
            trail.after,
            node.entries(trail.after, 10_000).await.unwrap(),
        ));
    }
    let all = &chains[0].1.entries;
    for (after, page) in &chains[1..] {
        let same: Vec<&Judged> = all.iter().filter(|entry| entry.index > *after).collect();
        let held: Vec<&Judged> = page.entries.iter().collect();
        let common = same.len().min(held.len());
        assert_eq!(same[..common], held[..common]);
    }
}

/// Changes one byte of an entry's signed bytes in a folder's history, with the checksum made good.
fn forge(dir: &Path, index: u64) {
    const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");
    let database = Builder::new().open(dir.join("1/registry.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut rows = transaction.open_table(ROWS).unwrap();
        let value = rows.get(index).unwrap().unwrap().value().to_vec();
        let mut row = weft_proto::log::HistoryRow::decode(&value[4..]).unwrap();
        let mut data = row.data.to_vec();
        // The name of the export, inside what its author signed.
        let at = data.windows(4).position(|bytes| bytes == b"shop").unwrap();
        data[at] = b'c';
        row.data = Bytes::from(data);
        let message = row.encode_to_vec();
        let sealed = [&crc32fast::hash(&message).to_le_bytes()[..], &message].concat();
        rows.insert(index, &sealed[..]).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_forged_entry_is_found_by_its_signature() {
    let dir = tempdir().unwrap();
    let node = alone(dir.path(), Bounds::default());
    let mut indexes = Vec::new();
    for generation in 1..=60 {
        indexes.push(propose(&node, generation).await);
    }
    assert_eq!(node.audit().await.unwrap().fault, None);
    node.shutdown().await;
    drop(node);
    forge(dir.path(), indexes[20].0);
    let node = again(dir.path());
    until("a leader", || {
        node.status().raft.leadership.leader.is_some()
    })
    .await;
    let trail = node.audit().await.unwrap();
    let fault = trail.fault.expect("the forgery is found");
    assert_eq!(fault.index, indexes[20]);
    assert!(fault.what.contains("signature"), "{fault:?}");
}

#[tokio::test]
async fn a_replica_that_was_sent_a_snapshot_says_where_its_history_begins() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let nodes = three(dir.path(), &switch).await;
    let lost = (leader(&nodes).await + 1) % 3;
    let asked = &nodes[(lost + 1) % 3];
    switch.unplug(NodeId(lost as u64 + 1));
    let before = nodes[lost].applied().index;
    let mut last = Index(0);
    for generation in 1..=250 {
        last = propose(asked, generation).await;
    }
    switch.plug(NodeId(lost as u64 + 1), nodes[lost].clone());
    applied(&nodes[lost], last).await;
    let span = nodes[lost].history_span().await.unwrap();
    assert!(span.after > before, "{span:?}");
    assert!(nodes[lost].status().counters.installed > 0);
    let gone = nodes[lost].watch(before).next().await;
    let expect = WatchError::Compacted { first: span.after };
    assert_eq!(gone, Err(expect));
    let seen = watched(&nodes[lost], span.after, last).await;
    let elsewhere = watched(asked, span.after, last).await;
    assert_eq!(seen, elsewhere);
    // The others still have what it missed.
    assert!(asked.history_span().await.unwrap().after <= before);
}
