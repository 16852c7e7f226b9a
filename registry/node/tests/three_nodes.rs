//! Three registries in one process: real disks, channels for a network.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

mod support;

use std::time::{Duration, Instant};

use prost::Message;
use support::{
    DEADLINE, Switch, applied, founding, grant, leader, put_route, redemption, start, three, until,
    write,
};
use tempfile::tempdir;
use tokio::time::timeout;
use weft_identity::SigningKey;
use weft_model::fixture::name;
use weft_model::{
    Author, Event, FormatLevel, Generation, Index, Key, NodeId, Refusal, SignerEpoch, WallTime,
};
use weft_proto::log;
use weft_proto::peer::ProposeAnswer;
use weft_proto::peer::propose_answer::Early;
use weft_registry::{
    CallError, METHOD_PROPOSE, ProposeError, Registry, RegistryConfig, Start, WatchError,
};

async fn propose(registry: &Registry, number: u8, generation: u64) -> Index {
    let proposed = timeout(DEADLINE, registry.propose(write(number, generation)));
    proposed.await.expect("an answer in time").unwrap()
}

fn newest(registry: &Registry, number: u8) -> Generation {
    let state = registry.state();
    state.cluster(&support::cluster(number)).unwrap().generation
}

#[tokio::test]
async fn writes_through_any_node_reach_all() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let nodes = three(dir.path(), &switch).await;
    let mut last = Index(0);
    for generation in 1..=20 {
        for (number, node) in (1..).zip(&nodes) {
            last = last.max(propose(node, number, generation).await);
        }
    }
    for node in &nodes {
        applied(node, last).await;
        assert_eq!(node.state().digest(), nodes[0].state().digest());
        let read = timeout(DEADLINE, node.read_index()).await.unwrap().unwrap();
        assert!(read >= last);
    }
}

#[tokio::test]
async fn a_leader_lost_under_load_costs_no_acknowledged_write() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let nodes = three(dir.path(), &switch).await;
    let lost = leader(&nodes).await;
    let survivors: Vec<usize> = (0..3).filter(|node| *node != lost).collect();
    for generation in 1..=60 {
        if generation == 20 {
            // No goodbye: from here on it might as well not exist.
            switch.unplug(NodeId(lost as u64 + 1));
        }
        for node in &survivors {
            propose(&nodes[*node], *node as u8 + 1, generation).await;
        }
    }
    for node in &survivors {
        let number = *node as u8 + 1;
        until("both survivors have all", || {
            survivors
                .iter()
                .all(|n| newest(&nodes[*n], number) == Generation(60))
        })
        .await;
    }
    // The lost one comes back as it was, by then behind the compacted log, and catches up.
    switch.plug(NodeId(lost as u64 + 1), nodes[lost].clone());
    until("it has caught up", || {
        nodes[lost].state().digest() == nodes[survivors[0]].state().digest()
    })
    .await;
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_all_restart() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let nodes = three(dir.path(), &switch).await;
    for generation in 1..=80 {
        for (number, node) in (1..).zip(&nodes) {
            propose(node, number, generation).await;
        }
    }
    for node in &nodes {
        node.shutdown().await;
    }
    drop(nodes);
    let switch = Switch::default();
    let again: Vec<Registry> = (1..=3)
        .map(|number| start(dir.path(), &switch, number, Start::Resume(None)))
        .collect();
    leader(&again).await;
    for node in &again {
        node.read_index().await.unwrap();
        for number in 1..=3 {
            assert_eq!(newest(node, number), Generation(80));
        }
    }
    propose(&again[1], 2, 81).await;
}

#[tokio::test]
async fn a_retried_request_gets_its_first_answer() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let node = start(dir.path(), &switch, 1, Start::Found(founding()));
    let first = propose(&node, 1, 1).await;
    assert_eq!(propose(&node, 1, 1).await, first);
    let forged = {
        let mut bytes = write(1, 2).encode().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        weft_registry::Proposal::decode(bytes.into())
    };
    if let Ok(forged) = forged {
        let refused = node.propose(forged).await.unwrap_err();
        assert!(
            matches!(refused, ProposeError::Refused(Refusal::Signature)),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_watch_resumes_by_index_without_a_gap_or_says_that_it_cannot() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let node = start(dir.path(), &switch, 1, Start::Found(founding()));
    let begin = node.applied().index;
    for generation in 1..=10 {
        propose(&node, 1, generation).await;
    }
    let mut watch = node.watch(begin);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(watch.next().await.unwrap());
    }
    let mut resumed = node.watch(watch.position());
    for _ in 0..6 {
        seen.push(resumed.next().await.unwrap());
    }
    assert!(seen.is_sorted_by(|a, b| a.index < b.index));
    for (generation, entry) in (1..).zip(&seen) {
        let key = Key::Export(name(&format!("shop/s{generation}")), support::cluster(1));
        let changed = entry.result.as_ref().unwrap();
        assert!(changed.contains(&Event::Put(key.clone())), "{entry:?}");
        let origin = &entry.origin;
        assert_eq!(origin.author, Author::Gateway(NodeId(1), SignerEpoch(1)));
        assert_eq!(origin.target, Some(key));
        assert_ne!(origin.time, WallTime(0));
    }
    let mut late = node.watch(Index(0));
    assert!(matches!(
        late.next().await,
        Err(WatchError::Compacted { .. })
    ));
    // Nothing new: it waits, and ends with the registry.
    let waiting = tokio::spawn(async move { resumed.next().await });
    node.shutdown().await;
    let ended = timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert_eq!(ended, Err(WatchError::Stopped));
}

#[tokio::test]
async fn without_a_quorum_reads_go_on_and_a_write_says_why_not() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let nodes = three(dir.path(), &switch).await;
    nodes[0].shutdown().await;
    nodes[1].shutdown().await;
    nodes[2].shutdown().await;
    drop(nodes);
    let config = RegistryConfig {
        propose_timeout: Duration::from_millis(300),
        ..RegistryConfig::new(dir.path().join("1"), Start::Resume(None))
    };
    let alone = Registry::start(config, Switch::default().port(NodeId(1))).unwrap();
    assert_eq!(
        alone.state().clusters().count(),
        3,
        "the disk's state is there at once"
    );
    let error = alone.propose(write(1, 1)).await.unwrap_err();
    assert!(matches!(error, ProposeError::NoLeader { .. }), "{error}");
}

#[tokio::test]
async fn a_write_on_its_way_to_the_leader_is_not_said_to_have_no_effect() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let mut nodes = three(dir.path(), &switch).await;
    let writer = (leader(&nodes).await + 1) % 3;
    let (number, node) = (writer as u8 + 1, NodeId(writer as u64 + 1));
    propose(&nodes[writer], number, 1).await;
    nodes[writer].shutdown().await;
    let config = RegistryConfig {
        // Less than an election takes.
        propose_timeout: Duration::from_millis(300),
        ..RegistryConfig::new(dir.path().join(number.to_string()), Start::Resume(None))
    };
    nodes[writer] = Registry::start(config, switch.port(node)).unwrap();
    switch.plug(node, nodes[writer].clone());
    until("it follows again", || {
        let leader = nodes[writer].status().raft.leadership.leader;
        leader.is_some_and(|leader| leader != node)
            && newest(&nodes[writer], number) == Generation(1)
    })
    .await;
    // The leader hears it; it hears neither the answer nor what is committed.
    switch.deafen(node);
    let told = nodes[writer].propose(write(number, 2)).await.unwrap_err();
    assert!(matches!(told, ProposeError::Timeout { .. }), "{told}");
    until("it has its effect", || {
        let mut others = (0..3).filter(|other| *other != writer);
        others.all(|other| newest(&nodes[other], number) == Generation(2))
    })
    .await;
}

/// Both write within this time, or the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// It sends as much as a gateway answers at once, over and over. Its writes are well signed.
#[tokio::test]
async fn a_cluster_that_sends_too_much_is_held_to_a_rate_beside_others() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let nodes = three(dir.path(), &switch).await;
    let leader = leader(&nodes).await;
    let [greedy, honest] = [1, 2].map(|other| (leader + other) % 3);
    let number = |place: usize| u8::try_from(place + 1).unwrap();
    propose(&nodes[honest], number(honest), 1).await;
    let (before, begun) = (nodes[leader].applied().index, Instant::now());
    let flood: Vec<_> = (0..128_u64)
        .map(|sender| {
            let (leader, from) = (nodes[leader].clone(), number(greedy));
            tokio::spawn(async move {
                for count in 0.. {
                    let body = write(from, sender * 100_000 + count).encode();
                    let asked = leader.answer(NodeId(from.into()), METHOD_PROPOSE, body);
                    asked.await.unwrap();
                }
            })
        })
        .collect();
    // Long enough for both to have had a part, however busy the machine is.
    let (mut writes, mut others) = (1, 0);
    while begun.elapsed() < Duration::from_secs(3) || writes <= 30 || others <= 50 {
        writes += 1;
        propose(&nodes[honest], number(honest), writes).await;
        others = (nodes[leader].applied().index.0 - before.0).saturating_sub(writes);
        assert!(begun.elapsed() < PATIENCE, "{others} and {writes}");
    }
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    others = nodes[leader].applied().index.0 - before.0 - writes;
    let took = begun.elapsed();
    // A hundred a second, sixteen more at once; some are the consensus's own.
    let most = took.as_secs_f64() * 100.0 + 16.0 + 10.0;
    assert!(others as f64 <= most, "{others} in {took:?}");
}

#[tokio::test]
async fn a_command_of_a_level_that_is_not_in_force_enters_no_log() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let nodes = three(dir.path(), &switch).await;
    let leader = leader(&nodes).await;
    let first = propose(&nodes[leader], 1, 1).await;
    let (needs, has) = (FormatLevel::ROUTES, FormatLevel::FIRST);
    for (number, node) in (1..).zip(&nodes) {
        let said = timeout(DEADLINE / 2, node.propose(put_route(number))).await;
        match said.expect("an answer in time").unwrap_err() {
            ProposeError::Refused(why) => assert_eq!(why, Refusal::Format { needs, has }),
            other => panic!("{other}"),
        }
    }
    // A member that asks nobody, and sends it to the leader.
    let from = NodeId((leader as u64 + 1) % 3 + 1);
    let body = put_route(4).encode();
    let said = nodes[leader].answer(from, METHOD_PROPOSE, body.clone());
    let said = ProposeAnswer::decode(said.await.unwrap()).unwrap();
    let early = Some(Early { needs: 2, has: 1 });
    assert!(
        !said.taken && !said.unproven && said.early == early,
        "{said:?}"
    );
    // And one of which the library would skip what it does not know, well signed.
    let mut more = log::Entry::decode(write(1, 2).encode()).unwrap();
    more.signed = [&more.signed[..], &[0xf0, 0x01, 0x01]].concat().into();
    let key = SigningKey::from_seed([1; 32]);
    let signature = key.sign(&weft_registry::wire::signing_input(&more.signed));
    more.signature = signature.to_vec().into();
    let body = more.encode_to_vec().into();
    let said = nodes[leader].answer(from, METHOD_PROPOSE, body).await;
    assert!(matches!(said, Err(CallError::Request(_))), "{said:?}");
    assert_eq!(propose(&nodes[0], 1, 2).await.0, first.0 + 1);
}

#[tokio::test]
async fn leadership_moves_on_request_and_on_shutdown() {
    let dir = tempdir().unwrap();
    let switch = Switch::default();
    let nodes = three(dir.path(), &switch).await;
    let old = leader(&nodes).await;
    let new = (old + 1) % 3;
    // Asked of one that does not lead itself.
    nodes[(old + 2) % 3]
        .transfer(NodeId(new as u64 + 1))
        .await
        .unwrap();
    until("it leads", || {
        nodes
            .iter()
            .all(|n| n.status().raft.leadership.leader == Some(NodeId(new as u64 + 1)))
    })
    .await;
    nodes[new].shutdown().await;
    let rest: Vec<Registry> = nodes
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != new)
        .map(|(_, node)| node.clone())
        .collect();
    until("somebody else leads", || {
        rest.iter().all(|node| {
            let leader = node.status().raft.leadership.leader;
            leader.is_some() && leader != Some(NodeId(new as u64 + 1))
        })
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_was_never_heard_gets_no_vote() {
    let (dir, switch) = (tempdir().unwrap(), Switch::default());
    let founder = start(dir.path(), &switch, 1, Start::Found(founding()));
    for number in [2, 3] {
        founder.propose(grant(number)).await.unwrap();
        founder.propose(redemption(number)).await.unwrap();
    }
    // They never start.
    until("both are learners", || {
        founder.status().raft.learners.len() == 2
    })
    .await;
    let ticks = founder.status().tick * 20;
    let begun = tokio::time::Instant::now();
    let mut generation = 0;
    while begun.elapsed() < ticks {
        generation += 1;
        founder.propose(write(1, generation)).await.unwrap();
        assert_eq!(founder.status().raft.voters, [NodeId(1)]);
    }
}
