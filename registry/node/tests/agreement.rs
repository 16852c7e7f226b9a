//! Replicas compare their states; one that differs keeps apart until it is repaired.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

mod support;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use redb::{Builder, ReadableTable, TableDefinition};
use support::{DEADLINE, Switch, applied, leader, until, write};
use tempfile::tempdir;
use tokio::time::timeout;
use weft_model::{Index, NodeId};
use weft_registry::{Agreement, ProposeError, Registry, RegistryConfig, Start};

fn start(dir: &Path, switch: &Switch, node: u8, start: Start) -> Registry {
    let node = NodeId(node.into());
    let config = RegistryConfig {
        snapshot_entries: 40,
        tail_entries: 5,
        propose_timeout: DEADLINE,
        compare_every: Duration::from_millis(200),
        ..RegistryConfig::new(dir.join(node.to_string()), start)
    };
    let registry = Registry::start(config, switch.port(node)).unwrap();
    switch.plug(node, registry.clone());
    registry
}

async fn propose(node: &Registry, generation: u64) -> Index {
    let proposed = timeout(DEADLINE, node.propose(write(1, generation))).await;
    proposed.expect("an answer in time").unwrap()
}

/// Flips one byte of the state in a folder: in the name of a port, with the checksum made good,
/// as a fault between the memory and the checksum would.
fn flip(dir: &Path, node: usize) {
    const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let file = dir.join(node.to_string()).join("registry.redb");
    let database = Builder::new().open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        let value = meta.get("snapshot").unwrap().unwrap().value().to_vec();
        let mut snapshot = weft_proto::peer::RaftSnapshot::decode(&value[4..]).unwrap();
        let mut data = snapshot.data.to_vec();
        let find = |data: &[u8], what: &[u8], from: usize| {
            let at = data[from..].windows(what.len()).position(|it| it == what);
            from + at.expect("it is there")
        };
        let export = find(&data, b"s49", 0);
        let port = find(&data, b"http", export);
        data[port + 3] ^= 1;
        snapshot.data = Bytes::from(data);
        let message = snapshot.encode_to_vec();
        let sealed = [&crc32fast::hash(&message).to_le_bytes()[..], &message].concat();
        meta.insert("snapshot", &sealed[..]).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn one_flipped_byte_fences_the_replica_that_has_it_until_it_is_repaired() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let mut nodes = support::three_by(start, dir.path(), &switch).await;
    let mut last = Index(0);
    for generation in 1..=90 {
        last = propose(&nodes[0], generation).await;
    }
    for node in &nodes {
        applied(node, last).await;
    }
    let holds = |node: &Registry| {
        let last = node.status().agreement.last.clone();
        matches!(last, Some(Agreement::Holds { others, .. }) if others.is_empty())
    };
    until("all agree", || nodes.iter().all(holds)).await;

    let lead = leader(&nodes).await;
    let sick = (lead + 1) % 3;
    nodes[sick].shutdown().await;
    flip(dir.path(), sick + 1);
    nodes[sick] = start(dir.path(), &switch, sick as u8 + 1, Start::Resume(None));
    until("it is fenced", || {
        nodes[sick].status().agreement.fenced.is_some()
    })
    .await;
    let known = NodeId(sick as u64 + 1);
    let healthy: Vec<&Registry> = (0..3)
        .filter(|at| *at != sick)
        .map(|at| &nodes[at])
        .collect();
    until("the others say who differs", || {
        healthy.iter().all(|node| {
            let last = node.status().agreement.last.clone();
            matches!(last, Some(Agreement::Holds { others, .. }) if others.contains(&known))
                || node.status().agreement.fenced_peers.contains(&known)
        })
    })
    .await;

    // The others go on; it does not follow, takes no writes, and its state is still read.
    let stood = nodes[sick].applied().index;
    for generation in 91..=140 {
        last = propose(healthy[0], generation).await;
    }
    assert_eq!(nodes[sick].applied().index, stood);
    assert_eq!(nodes[sick].state().clusters().count(), 3);
    let refused = nodes[sick].propose(write(2, 1)).await.unwrap_err();
    assert!(matches!(refused, ProposeError::Fenced), "{refused}");
    until("its knowledge ages", || {
        nodes[sick].applied().age > Duration::from_millis(500)
    })
    .await;

    assert!(nodes[sick].repair().await);
    applied(&nodes[sick], last).await;
    until("all agree again", || nodes.iter().all(holds)).await;
    assert_eq!(nodes[sick].status().agreement.fenced, None);
    assert_eq!(nodes[sick].state().digest(), healthy[0].state().digest());
    assert!(!nodes[sick].repair().await, "nothing is left to repair");
    propose(&nodes[sick], 141).await;
}
