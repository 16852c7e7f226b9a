//! Three voters and a follower: it has no vote and no disk, and each start is its first.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

mod support;

use std::path::Path;
use std::time::Duration;

use support::{Switch, applied, follow, three_at_newest_level, until, write};
use tempfile::tempdir;
use tokio::time::timeout;
use weft_model::{Index, NodeId};
use weft_registry::Registry;

const FOLLOWER: NodeId = NodeId(4);

/// The power fails: nothing is said, and nothing was kept.
async fn kill(switch: &Switch, follower: Registry) {
    switch.unplug(FOLLOWER);
    follower.shutdown().await;
}

async fn has_all(follower: &Registry, nodes: &[Registry], last: Index) {
    applied(follower, last).await;
    assert_eq!(follower.state().digest(), nodes[0].state().digest());
}

fn votes(nodes: &[Registry]) -> Vec<NodeId> {
    nodes[0].status().raft.voters.clone()
}

#[tokio::test]
async fn a_follower_begins_anew_and_is_sent_everything_each_time() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let nodes = three_at_newest_level(dir.path(), &switch).await;
    let mut follower = follow(dir.path(), &switch, &nodes[0], &[1, 2, 3]).await;
    let mut generation = 0;
    let mut last = Index(0);
    // Compacted between the lives, hardly anything, nothing at all, and compacted again.
    for writes in [150, 3, 0, 150] {
        for _ in 0..writes {
            generation += 1;
            last = nodes[0].propose(write(1, generation)).await.unwrap();
        }
        has_all(&follower, &nodes, last).await;
        // It writes like any other, and reads what is committed now.
        generation += 1;
        last = follower.propose(write(1, generation)).await.unwrap();
        assert!(follower.read_index().await.unwrap() >= last);
        kill(&switch, follower).await;
        for _ in 0..writes {
            generation += 1;
            last = nodes[0].propose(write(1, generation)).await.unwrap();
        }
        follower = support::start_following(dir.path(), &switch, &[1, 2, 3]);
        assert_eq!(follower.applied().index, Index(0), "it knows nothing");
        has_all(&follower, &nodes, last).await;
        assert_eq!(votes(&nodes), [NodeId(1), NodeId(2), NodeId(3)]);
    }
    until("it is a learner", || {
        nodes[0].status().raft.learners == [FOLLOWER]
    })
    .await;
    assert!(!Path::new(&dir.path().join("4")).exists(), "it has no disk");
}

#[tokio::test]
async fn no_majority_counts_a_follower_and_none_waits_for_it() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let nodes = three_at_newest_level(dir.path(), &switch).await;
    let follower = follow(dir.path(), &switch, &nodes[0], &[1, 2, 3]).await;
    let last = nodes[0].propose(write(1, 1)).await.unwrap();
    has_all(&follower, &nodes, last).await;
    let written = || follower.state().next_generation(&support::cluster(1)).0 - 1;
    // Two of the four are left, one of them with a vote.
    for lost in [2, 3] {
        switch.unplug(NodeId(lost));
    }
    let patience = Duration::from_secs(3);
    let wrote = timeout(patience, nodes[0].propose(write(1, 2))).await;
    assert!(wrote.is_err(), "{wrote:?}");
    assert_eq!(written(), 1);
    // And two with a vote go on without it.
    switch.plug(NodeId(2), nodes[1].clone());
    kill(&switch, follower).await;
    let wrote = nodes[0].propose(write(1, 3)).await.unwrap();
    assert!(wrote > last);
}

#[tokio::test]
async fn a_follower_takes_its_first_state_from_whom_it_may_believe() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let nodes = three_at_newest_level(dir.path(), &switch).await;
    let follower = follow(dir.path(), &switch, &nodes[0], &[]).await;
    let last = nodes[0].propose(write(1, 1)).await.unwrap();
    let ticks = nodes[0].status().tick * 20;
    let mut changed = follower.changed();
    let early = timeout(ticks, changed.wait_for(|index| index.0 > 0)).await;
    assert!(early.is_err(), "it believes nobody");
    let leaders = [1, 2, 3].map(NodeId);
    follower.heed(leaders.into()).await;
    has_all(&follower, &nodes, last).await;
}
