//! A member without a vote that speaks as a leader or a candidate.

use weft_model::fixture::{Log, cluster_spec, name};
use weft_model::{ClusterRole, Command};

use super::*;

/// A node of a cluster that replicates the log and has no vote.
const MEMBER: NodeId = NodeId(4);

/// The driver of [`driver`], in a federation whose fourth cluster is a member without a vote.
fn with_member() -> Driver {
    let mut log = Log::founded();
    for (node, cluster) in [(2, "b"), (3, "c"), (4, "d")] {
        log.join(node, cluster);
    }
    let mut spec = cluster_spec("d");
    spec.role = ClusterRole::Member;
    spec.virtual_ips = log.state.cluster(&name("d")).unwrap().spec.virtual_ips;
    log.accept(log.admin(), Command::PutCluster(name("d"), Box::new(spec)));
    let (_, mut first) =
        crate::found(&crate::node::founding_for_tests(), weft_model::WallTime(1)).unwrap();
    first.image.conf = raft::eraftpb::ConfState::from((vec![1, 2, 3], vec![4]));
    first.image.state = log.state;
    Driver::open(Settings::new(ME, 1), first).unwrap()
}

fn says(kind: MessageType, from: NodeId, term: u64) -> RaftMessage {
    RaftMessage {
        r#type: kind as u32,
        to: ME.0,
        from: from.0,
        term,
        context: b"CampaignTransfer".as_slice().into(),
        ..RaftMessage::default()
    }
}

/// Why the driver drops a message, if it does.
fn suspicion(driver: &mut Driver, from: NodeId, message: RaftMessage) -> Option<Suspicion> {
    driver.handle(Input::Message { from, message });
    let outputs = driver.take_outputs();
    outputs.into_iter().find_map(|output| match output {
        Output::Suspect { suspicion, .. } => Some(suspicion),
        _ => None,
    })
}

const OF_VOTERS: [MessageType; 5] = [
    MessageType::MsgAppend,
    MessageType::MsgHeartbeat,
    MessageType::MsgTimeoutNow,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestPreVote,
];

#[test]
fn who_has_no_vote_neither_leads_nor_asks_for_votes() {
    let mut driver = with_member();
    settle(&mut driver);
    let term = driver.leadership().term;
    for kind in OF_VOTERS {
        let said = says(kind, MEMBER, term + 1);
        assert_eq!(
            suspicion(&mut driver, MEMBER, said),
            Some(Suspicion::NoVote),
            "{kind:?}"
        );
    }
    // Answers may be those to a leader that this node has not heard yet.
    for (kind, expect) in [
        (MessageType::MsgAppendResponse, None),
        (MessageType::MsgHeartbeatResponse, None),
        (MessageType::MsgRequestVoteResponse, Some(Suspicion::NoVote)),
    ] {
        let later = says(kind, MEMBER, term + 1);
        assert_eq!(suspicion(&mut driver, MEMBER, later), expect, "{kind:?}");
        let now = says(kind, MEMBER, term.max(1));
        assert_eq!(suspicion(&mut driver, MEMBER, now), None, "{kind:?}");
    }
    assert_eq!(driver.leadership().term, term, "it yielded");
    // The control: of a voter each is heard.
    let heard = says(MessageType::MsgHeartbeat, NodeId(2), term + 1);
    assert_eq!(suspicion(&mut driver, NodeId(2), heard), None);
    assert_eq!(driver.leadership().leader, Some(NodeId(2)));
}

#[test]
fn only_its_leader_tells_a_node_to_campaign() {
    let mut driver = with_member();
    settle(&mut driver);
    let term = driver.leadership().term + 1;
    let heartbeat = says(MessageType::MsgHeartbeat, NodeId(2), term);
    assert_eq!(suspicion(&mut driver, NodeId(2), heartbeat), None);
    let order = |from| says(MessageType::MsgTimeoutNow, from, term);
    let odd = suspicion(&mut driver, NodeId(3), order(NodeId(3)));
    assert_eq!(odd, Some(Suspicion::NotLeader));
    assert_eq!(driver.leadership().term, term, "it campaigns");
    assert_eq!(suspicion(&mut driver, NodeId(2), order(NodeId(2))), None);
    assert!(driver.leadership().term > term, "it does not campaign");
}

#[test]
fn a_node_that_has_long_heard_no_leader_hears_whoever_may_have_become_one() {
    let mut driver = with_member();
    settle(&mut driver);
    for _ in 0..LOST_TICKS {
        driver.handle(Input::Tick);
        settle(&mut driver);
    }
    let heartbeat = says(
        MessageType::MsgHeartbeat,
        MEMBER,
        driver.leadership().term + 1,
    );
    assert_eq!(suspicion(&mut driver, MEMBER, heartbeat), None);
    assert_eq!(driver.leadership().leader, Some(MEMBER));
}
