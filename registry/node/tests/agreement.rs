//! Replicas compare their states; one that differs keeps apart until it is repaired.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{DEADLINE, Switch, applied, leader, until, write};
use tempfile::tempdir;
use tokio::time::timeout;
use weft_model::{Index, NodeId};
use weft_registry::disk::flip;
use weft_registry::{Agreement, ProposeError, Registry, RegistryConfig, Start, inspect};

/// A node that nothing is connected to yet.
fn unplugged(dir: &Path, switch: &Switch, node: u8, start: Start) -> Registry {
    let node = NodeId(node.into());
    let config = RegistryConfig {
        snapshot_entries: 40,
        tail_entries: 5,
        propose_timeout: DEADLINE,
        compare_every: Duration::from_millis(200),
        ..RegistryConfig::new(folder(dir, node.0 as usize), start)
    };
    Registry::start(config, switch.port(node)).unwrap()
}

fn start(dir: &Path, switch: &Switch, node: u8, start: Start) -> Registry {
    let registry = unplugged(dir, switch, node, start);
    switch.plug(NodeId(node.into()), registry.clone());
    registry
}

async fn propose(node: &Registry, generation: u64) -> Index {
    let proposed = timeout(DEADLINE, node.propose(write(1, generation))).await;
    proposed.expect("an answer in time").unwrap()
}

/// The folder of a node.
fn folder(dir: &Path, node: usize) -> PathBuf {
    dir.join(NodeId(node as u64).to_string())
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
    // In the name of a port.
    flip(&folder(dir.path(), sick + 1), &[b"s49", b"http"]).unwrap();
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
        propose(healthy[0], generation).await;
    }
    assert_eq!(nodes[sick].applied().index, stood);
    assert_eq!(nodes[sick].state().clusters().count(), 3);
    let refused = nodes[sick].propose(write(2, 1)).await.unwrap_err();
    assert!(matches!(refused, ProposeError::Fenced), "{refused}");
    until("its knowledge ages", || {
        nodes[sick].applied().age > Duration::from_millis(500)
    })
    .await;

    // Whoever starts it again has not repaired it: it is fenced before it has asked anybody.
    nodes[sick].shutdown().await;
    let found = inspect(&folder(dir.path(), sick + 1)).unwrap();
    assert!(found.fenced.is_some(), "{found:?}");
    switch.unplug(known);
    nodes[sick] = unplugged(dir.path(), &switch, sick as u8 + 1, Start::Resume(None));
    assert_eq!(nodes[sick].status().agreement.fenced, found.fenced);
    let refused = nodes[sick].propose(write(2, 1)).await.unwrap_err();
    assert!(matches!(refused, ProposeError::Fenced), "{refused}");
    let last = propose(&nodes[lead], 141).await;

    switch.plug(known, nodes[sick].clone());
    assert!(nodes[sick].repair().await);
    applied(&nodes[sick], last).await;
    until("all agree again", || nodes.iter().all(holds)).await;
    assert_eq!(nodes[sick].status().agreement.fenced, None);
    assert_eq!(nodes[sick].state().digest(), nodes[lead].state().digest());
    assert!(!nodes[sick].repair().await, "nothing is left to repair");
    propose(&nodes[sick], 142).await;
    nodes[sick].shutdown().await;
    let found = inspect(&folder(dir.path(), sick + 1)).unwrap();
    assert_eq!(found.fenced, None);
}
