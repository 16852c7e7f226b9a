//! Watches against an oracle: every acknowledged write once, in order, whatever happens in between;
//! and a thousand of them that stall.
//!
//! `cargo xtask watches` runs the long form: a million events, and figures.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use support::{DEADLINE, Switch, applied, leader, until, write};
use tempfile::tempdir;
use tokio::time::timeout;
use weft_model::fixture::name;
use weft_model::{Index, NodeId};
use weft_registry::{Registry, RegistryConfig, Start, WatchError};

/// Events of the short form.
const EVENTS: u64 = 1_200;
/// Writes under way at once: of different records, so that their order does not matter.
const UNDER_WAY: u64 = 20;

fn events() -> Option<u64> {
    std::env::var("WEFT_EVENTS").ok()?.parse().ok()
}

fn start(dir: &Path, switch: &Switch, node: u8, start: Start, snapshot: u64) -> Registry {
    let node = NodeId(node.into());
    let config = RegistryConfig {
        snapshot_entries: snapshot,
        tail_entries: snapshot,
        watch_changes: 20,
        propose_timeout: DEADLINE,
        ..RegistryConfig::new(dir.join(node.to_string()), start)
    };
    let registry = Registry::start(config, switch.port(node)).unwrap();
    switch.plug(node, registry.clone());
    registry
}

/// The nodes as they are now: one that restarts is another handle.
#[derive(Clone)]
struct Nodes(Arc<Mutex<Vec<Registry>>>);

impl Nodes {
    async fn three(dir: &Path, switch: &Switch, snapshot: u64) -> Self {
        let found = Start::Found(support::founding());
        let mut nodes = vec![start(dir, switch, 1, found, snapshot)];
        for number in [2, 3] {
            nodes[0].propose(support::grant(number)).await.unwrap();
            nodes[0].propose(support::redemption(number)).await.unwrap();
            let join = Start::Join {
                node: NodeId(number.into()),
                domain: name("fed.example.org"),
            };
            nodes.push(start(dir, switch, number, join, snapshot));
        }
        for node in &nodes {
            until("three voters", || node.status().raft.voters.len() == 3).await;
        }
        Self(Arc::new(Mutex::new(nodes)))
    }

    fn at(&self, at: usize) -> Registry {
        self.0.lock().unwrap()[at % 3].clone()
    }

    fn all(&self) -> Vec<Registry> {
        self.0.lock().unwrap().clone()
    }
}

/// Writes, and takes down where each acknowledged one stands.
async fn load(nodes: Nodes, events: u64, acknowledged: Arc<Mutex<BTreeSet<Index>>>) {
    let mut begun = 0;
    while begun < events {
        let mut writes = tokio::task::JoinSet::new();
        for generation in begun + 1..=(begun + UNDER_WAY).min(events) {
            let (nodes, acknowledged) = (nodes.clone(), acknowledged.clone());
            writes.spawn(async move {
                // Under one request id, until it is answered: a node that restarts answers nothing.
                for attempt in 0.. {
                    let node = nodes.at((generation + attempt) as usize);
                    let answer = timeout(DEADLINE, node.propose(write(1, generation))).await;
                    match answer.expect("an answer in time") {
                        Ok(index) => {
                            acknowledged.lock().unwrap().insert(index);
                            return;
                        }
                        Err(error) => assert!(attempt < 50, "{error}"),
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        while let Some(done) = writes.join_next().await {
            done.unwrap();
        }
        begun += UNDER_WAY;
    }
}

/// Follows from one node to the next, as a client does whose connection breaks, up to `until`.
async fn follow(
    nodes: Nodes,
    first: usize,
    end: tokio::sync::watch::Receiver<Option<Index>>,
) -> Vec<Index> {
    let mut seen = Vec::new();
    let mut cursor = Index(8);
    for turn in first.. {
        let mut watch = nodes.at(turn).watch(cursor);
        for _ in 0..97 {
            if end.borrow().is_some_and(|end| cursor >= end) {
                return seen;
            }
            match timeout(Duration::from_millis(500), watch.next()).await {
                Ok(Ok(entry)) => {
                    assert!(entry.index > cursor, "{} after {cursor}", entry.index);
                    seen.push(entry.index);
                    cursor = entry.index;
                }
                // It stopped, or was sent a snapshot: another one has what is missed.
                Ok(Err(WatchError::Stopped | WatchError::Compacted { .. })) | Err(_) => break,
                Ok(Err(error)) => panic!("{error}"),
            }
        }
    }
    seen
}

/// What happens meanwhile: a node is cut off, leadership moves, a node restarts.
async fn trouble(dir: &Path, switch: &Switch, nodes: &Nodes, turn: usize, snapshot: u64) {
    let at = turn % 3;
    let id = NodeId(at as u64 + 1);
    match turn % 4 {
        0 => {
            switch.unplug(id);
            // It has noticed, be it as a follower or as the leader.
            let cut = nodes.at(at);
            let alone = || cut.status().raft.leadership.leader.is_none();
            until("a node that is cut off knows no leader", alone).await;
            switch.plug(id, cut.clone());
        }
        1 => {
            let lead = leader(&nodes.all()).await;
            let to = NodeId((lead as u64 + 1) % 3 + 1);
            let _ = nodes.at(lead).transfer(to).await;
        }
        _ => {
            nodes.at(at).shutdown().await;
            let again = start(dir, switch, at as u8 + 1, Start::Resume(None), snapshot);
            nodes.0.lock().unwrap()[at] = again;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_is_watched_once_and_in_order() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let count = events().unwrap_or(EVENTS);
    let snapshot = (count / 20).clamp(60, 10_000);
    let nodes = Nodes::three(dir.path(), &switch, snapshot).await;
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let (say_end, end) = tokio::sync::watch::channel(None);
    let watchers: Vec<_> = (0..3)
        .map(|first| tokio::spawn(follow(nodes.clone(), first, end.clone())))
        .collect();
    let mut writes = tokio::spawn(load(nodes.clone(), count, acknowledged.clone()));
    let mut turns = 0;
    while timeout(Duration::from_millis(700), &mut writes)
        .await
        .is_err()
    {
        trouble(dir.path(), &switch, &nodes, turns, snapshot).await;
        turns += 1;
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert_eq!(acknowledged.len() as u64, count);
    let last = *acknowledged.last().unwrap();
    for node in nodes.all() {
        applied(&node, last).await;
    }
    say_end.send_replace(Some(last));
    let mut streams = Vec::new();
    for watcher in watchers {
        streams.push(
            timeout(DEADLINE * 4, watcher)
                .await
                .expect("it ends")
                .unwrap(),
        );
    }
    for seen in &streams {
        let set: BTreeSet<Index> = seen.iter().copied().collect();
        assert_eq!(set.len(), seen.len(), "each once");
        let missed = acknowledged.difference(&set).count();
        assert_eq!(missed, 0, "of {count} after {turns} troubles");
        assert_eq!(*seen, streams[0], "the same for everybody");
    }
    println!(
        "{count} events, {turns} troubles, 3 watchers: nothing lost, repeated or out of order"
    );
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How long the slowest hundredth of `count` writes takes, one after the other.
async fn p99(node: &Registry, first: u64, count: u64) -> Duration {
    let mut took = Vec::new();
    for generation in first..first + count {
        let begun = Instant::now();
        timeout(DEADLINE, node.propose(write(1, generation)))
            .await
            .unwrap()
            .unwrap();
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_that_stall_hold_little_and_hold_up_nobody() {
    let dir = tempdir().unwrap();
    let count = events().map_or(150, |events| (events / 100).max(1_000));
    let found = Start::Found(support::founding());
    let node = start(dir.path(), &Switch::default(), 1, found, 100);
    let before = p99(&node, 1, count).await;
    let memory = resident();
    let mut stalled = Vec::new();
    for _ in 0..1_000 {
        let mut watch = node.watch(Index(1));
        // It has read one entry, holds the few that came with it, and reads no more.
        watch.next().await.unwrap();
        stalled.push(watch);
    }
    let during = p99(&node, count + 1, count).await;
    let grown = resident().saturating_sub(memory) / 1024;
    println!(
        "p99 of a write {before:?} without, {during:?} with 1,000 stalled watchers; {grown} MiB more"
    );
    assert!(grown <= 256, "{grown} MiB");
    if events().is_some() {
        assert!(during <= before * 2, "{during:?} against {before:?}");
    }
    // And none of them has lost its place.
    let mut last = stalled.swap_remove(500);
    let mut seen = 1;
    let end = node.applied().index;
    while last.position() < end {
        last.next().await.unwrap();
        seen += 1;
    }
    assert_eq!(seen, 1 + 2 * count);
}

/// Who is shown an entry looks up in the state what it speaks of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_finds_no_state_older_than_what_it_was_shown() {
    let dir = tempdir().unwrap();
    let found = Start::Found(support::founding());
    let node = start(dir.path(), &Switch::default(), 1, found, 1_000);
    let (mut watch, watched) = (node.watch(node.applied().index), node.clone());
    let runtime = tokio::runtime::Handle::current();
    // It looks all the time, to be there as soon as there is something to see.
    let watcher = std::thread::spawn(move || {
        let _runtime = runtime.enter();
        let mut shown = 0;
        while shown < 500 {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(entry) = pin!(watch.next()).poll(&mut context) {
                let (state, index) = (watched.state().applied(), entry.unwrap().index);
                assert!(state >= index, "{index} with the state at {state}");
                shown += 1;
            }
        }
    });
    for generation in 1..=500 {
        node.propose(write(1, generation)).await.unwrap();
    }
    tokio::task::spawn_blocking(|| watcher.join())
        .await
        .unwrap()
        .unwrap();
}
