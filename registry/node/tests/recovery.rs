//! A group that lost its majority for good is founded anew from one of its replicas, or from a backup.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

mod support;

use std::path::Path;

use support::{Switch, applied, leader, start, three, until, write};
use tempfile::tempdir;
use weft_model::{Index, NodeId};
use weft_registry::driver::{Outranked, Role};
use weft_registry::{Inspection, ProposeError, Registry, Start, inspect, recover};

fn folder(dir: &Path, node: u8) -> std::path::PathBuf {
    dir.join(NodeId(node.into()).to_string())
}

fn look(dir: &Path, node: u8) -> Inspection {
    inspect(&folder(dir, node)).unwrap()
}

fn leads(node: &Registry) -> bool {
    node.status().raft.leadership.role == Role::Leader
}

async fn stop(switch: &Switch, nodes: &[Registry], number: u8) {
    switch.unplug(NodeId(number.into()));
    nodes[usize::from(number) - 1].shutdown().await;
}

#[tokio::test]
async fn what_one_replica_holds_lives_on_and_the_others_follow_it() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let nodes = three(dir.path(), &switch).await;
    let mut last = Index(0);
    for generation in 1..=150 {
        last = nodes[0].propose(write(1, generation)).await.unwrap();
    }
    for node in &nodes {
        applied(node, last).await;
    }
    let before = nodes[0].state();
    // The first last: the two others would elect a leader, whose first entry it has not.
    for number in [3, 2, 1] {
        stop(&switch, &nodes, number).await;
    }
    drop(nodes);

    let found = look(dir.path(), 1);
    assert!(found.last >= last && found.voters.len() == 3, "{found:?}");
    assert_eq!(found.state.digest(), before.digest());
    let at = recover(&folder(dir.path(), 1)).unwrap();
    assert_eq!(at, Index(found.last.0 + 1));
    let again = look(dir.path(), 1);
    assert_eq!((again.last, again.recovered), (at, at));
    assert_eq!(Vec::from_iter(again.voters), [NodeId(1)]);

    // Alone it leads and writes, and all of its history is there.
    let one = start(dir.path(), &switch, 1, Start::Resume(None));
    let new = one.propose(write(1, 151)).await.unwrap();
    assert!(new > at);
    let trail = one.audit().await.unwrap();
    assert_eq!(
        (trail.after, trail.fault.is_none()),
        (Index(1), true),
        "{trail:?}"
    );

    // The second comes back, and the third: neither has heard of it, and both follow.
    for number in [2, 3] {
        let node = start(dir.path(), &switch, number, Start::Resume(None));
        applied(&node, new).await;
        let status = node.status().raft.clone();
        assert_eq!((status.recovered, status.outranked), (at, None));
        assert_eq!(node.state().digest(), one.state().digest());
    }
    until("all three vote again", || {
        one.status().raft.voters.len() == 3
    })
    .await;
    one.propose(write(1, 152)).await.unwrap();
}

#[tokio::test]
async fn what_only_the_lost_majority_had_committed_does_not_come_back() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let nodes = three(dir.path(), &switch).await;
    let last = nodes[0].propose(write(1, 1)).await.unwrap();
    applied(&nodes[2], last).await;
    stop(&switch, &nodes, 1).await;
    // The other two go on without it.
    until("one of the two leads", || nodes[1..].iter().any(leads)).await;
    let other = 1 + leader(&nodes[1..]).await;
    let mut lost = last;
    for generation in 1..=10 {
        lost = nodes[other]
            .propose(write(other as u8 + 1, generation))
            .await
            .unwrap();
    }
    for node in &nodes[1..] {
        applied(node, lost).await;
    }
    for number in [2, 3] {
        stop(&switch, &nodes, number).await;
    }
    drop(nodes);
    // Each says how far it is: an operator would take another one.
    assert!(look(dir.path(), 2).reach() > look(dir.path(), 1).reach());

    let at = recover(&folder(dir.path(), 1)).unwrap();
    let one = start(dir.path(), &switch, 1, Start::Resume(None));
    one.propose(write(1, 2)).await.unwrap();
    let digest = one.state().digest();
    let returned = [2, 3].map(|number| start(dir.path(), &switch, number, Start::Resume(None)));
    for node in &returned {
        until("it hears that it was given up", || {
            node.status().raft.outranked == Some(Outranked::Ahead(at))
        })
        .await;
        let refused = node.propose(write(2, 50)).await.unwrap_err();
        assert!(
            matches!(refused, ProposeError::Outranked { recovered } if recovered == at),
            "{refused}"
        );
        assert!(
            node.status().raft.last >= lost,
            "what it had stays where it is"
        );
        assert!(!leads(node));
    }
    assert!(leads(&one));
    assert_eq!(one.state().digest(), digest);
}

#[tokio::test]
async fn a_backup_founds_the_group_anew_where_no_folder_is_left() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let nodes = three(dir.path(), &switch).await;
    let last = nodes[0].propose(write(1, 1)).await.unwrap();
    let backup = nodes[0].backup().await.unwrap();
    assert!(backup.image.index >= last);
    for number in 1..=3 {
        stop(&switch, &nodes, number).await;
    }
    drop(nodes);

    std::fs::remove_dir_all(folder(dir.path(), 1)).unwrap();
    let at = backup.restore(&folder(dir.path(), 1), NodeId(1)).unwrap();
    let one = start(dir.path(), &switch, 1, Start::Resume(None));
    assert_eq!(one.state().digest(), backup.image.state.digest());
    let new = one.propose(write(1, 2)).await.unwrap();
    assert!(new > at);
    // A folder that is no newer than the backup follows.
    let two = start(dir.path(), &switch, 2, Start::Resume(None));
    applied(&two, new).await;
}
