//! A follower's new life, from both ends.

use std::collections::BTreeSet;

use weft_model::fixture::{Log, gateway, name};
use weft_model::{
    ClusterRole, Command, FormatLevel, GatewayRecord, GatewayRole, Redemption, TokenGrant, TokenId,
    WallTime,
};

use super::*;

/// A further gateway of the founder's cluster.
const OTHER: NodeId = NodeId(2);

/// A leader, the only voter, of a group in which gateway 2 has this role and no vote.
fn leader_of(role: GatewayRole) -> Driver {
    let mut log = Log::founded();
    log.raise(FormatLevel::FOLLOWERS);
    let (own, member) = {
        let (name, member) = log.state.clusters().next().unwrap();
        (name.clone(), member.clone())
    };
    let key = weft_model::PublicKey([102; 32]);
    let grant = TokenGrant {
        key,
        cluster: own,
        region: member.spec.region.clone(),
        role: ClusterRole::Voter,
        expires: WallTime(log.state.time().0 + 600_000),
    };
    log.accept(log.admin(), Command::GrantToken(grant));
    let redemption = Redemption {
        token: TokenId::of(&key),
        bundle: member.bundle.clone(),
        spec: member.spec.clone(),
        gateway: GatewayRecord {
            name: name("gw-2"),
            format: FormatLevel::FOLLOWERS,
            role,
            ..gateway(2)
        },
    };
    let author = weft_model::Author::Token(redemption.token);
    log.accept(author, Command::RedeemToken(Box::new(redemption)));
    let (_, mut first) = crate::found(&crate::node::founding_for_tests(), WallTime(1)).unwrap();
    first.image.conf = raft::eraftpb::ConfState::from((vec![1], vec![2]));
    first.image.state = log.state;
    let mut driver = Driver::open(Settings::new(ME, 1), first).unwrap();
    while !driver.is_leader() {
        driver.handle(Input::Tick);
        settle(&mut driver);
    }
    driver
}

fn answer(leader: &Driver, index: u64, hint: Option<u64>) -> RaftMessage {
    RaftMessage {
        r#type: MessageType::MsgAppendResponse as u32,
        to: ME.0,
        from: OTHER.0,
        term: leader.leadership().term,
        index,
        reject: hint.is_some(),
        reject_hint: hint.unwrap_or(0),
        ..RaftMessage::default()
    }
}

/// What the leader takes the other one to lack, once that had all and then says that it has nothing.
fn lacks_after_a_restart(role: GatewayRole) -> (u64, u64) {
    let mut leader = leader_of(role);
    let last = leader.commit().0;
    for message in [answer(&leader, last, None), answer(&leader, last, Some(0))] {
        let from = OTHER;
        leader.handle(Input::Message { from, message });
        settle(&mut leader);
    }
    let lacks = leader.status().progress[&OTHER].behind;
    // What the old life had said, late.
    let late = answer(&leader, last, None);
    leader.handle(Input::Message {
        from: OTHER,
        message: late,
    });
    (lacks, last)
}

#[test]
fn a_leader_forgets_what_a_follower_had_and_what_nobody_else_had() {
    let (lacks, last) = lacks_after_a_restart(GatewayRole::Follower);
    assert_eq!(lacks, last);
    let (lacks, _) = lacks_after_a_restart(GatewayRole::Member);
    assert_eq!(lacks, 0);
}

#[test]
fn a_voter_is_never_a_follower_whatever_its_record_says() {
    let mut leader = leader_of(GatewayRole::Follower);
    let last = leader.commit().0;
    let has_all = answer(&leader, last, None);
    leader.handle(Input::Message {
        from: OTHER,
        message: has_all,
    });
    // No plan does this.
    let conf = raft::eraftpb::ConfState::from((vec![1, 2], vec![]));
    let mut change = raft::eraftpb::ConfChangeV2::default();
    change.set_changes(
        vec![wire::raft::conf_change_single(
            weft_proto::log::conf_change::Type::AddVoter,
            OTHER.0,
        )]
        .into(),
    );
    assert_eq!(leader.raw.apply_conf_change(&change).unwrap(), conf);
    let lost = answer(&leader, last, Some(0));
    assert!(!leader.begins_anew(OTHER, &wire::raft::read_message(lost).unwrap()));
}

fn follower(heeds: &[u64]) -> Driver {
    let following = Following {
        heeds: heeds.iter().copied().map(NodeId).collect(),
    };
    let settings = Settings {
        following: Some(following),
        ..Settings::new(ME, 1)
    };
    Driver::open(settings, Stored::default()).unwrap()
}

fn heartbeat(from: u64, commit: u64) -> RaftMessage {
    RaftMessage {
        r#type: MessageType::MsgHeartbeat as u32,
        to: ME.0,
        from,
        term: 5,
        commit,
        ..RaftMessage::default()
    }
}

/// What it says, and why it drops the message if it does.
fn hear(
    driver: &mut Driver,
    from: u64,
    message: RaftMessage,
) -> (Vec<RaftMessage>, Option<Suspicion>) {
    let from = NodeId(from);
    driver.handle(Input::Message { from, message });
    let (mut said, mut suspicion) = (Vec::new(), None);
    for output in driver.take_outputs() {
        match output {
            Output::Send(_, messages) => said.extend(messages),
            Output::Suspect { suspicion: why, .. } => suspicion = Some(why),
            _ => {}
        }
    }
    (said, suspicion)
}

#[test]
fn a_follower_that_begins_anew_says_so_and_one_with_a_disk_keeps_out() {
    let mut anew = follower(&[2]);
    let (said, suspicion) = hear(&mut anew, 2, heartbeat(2, 40));
    assert_eq!(suspicion, None);
    let end = said.iter().find(|it| it.reject).unwrap();
    assert_eq!(
        (end.to, end.term, end.index, end.reject_hint),
        (2, 5, 40, 0)
    );
    assert_eq!(anew.leadership().leader, Some(NodeId(2)));
    let mut lost = Driver::open(Settings::new(ME, 1), Stored::default()).unwrap();
    let (said, suspicion) = hear(&mut lost, 2, heartbeat(2, 40));
    let expect = Suspicion::LostLog {
        counted: 40,
        last: 0,
    };
    assert_eq!((said.len(), suspicion), (0, Some(expect)));
}

#[test]
fn a_follower_that_knows_nothing_believes_only_whom_it_was_told_to() {
    let mut anew = follower(&[2]);
    let stranger = |driver: &mut Driver| hear(driver, 3, heartbeat(3, 0)).1;
    assert_eq!(stranger(&mut anew), Some(Suspicion::NoVote));
    assert_eq!(anew.leadership().leader, None);
    anew.handle(Input::Heed(BTreeSet::from([NodeId(3)])));
    assert_eq!(stranger(&mut anew), None);
}

#[test]
fn a_follower_gives_no_vote() {
    let mut anew = follower(&[2]);
    for kind in [
        MessageType::MsgRequestVote,
        MessageType::MsgRequestPreVote,
        MessageType::MsgTimeoutNow,
    ] {
        let asked = RaftMessage {
            r#type: kind as u32,
            index: 9,
            log_term: 4,
            ..heartbeat(2, 0)
        };
        let (said, suspicion) = hear(&mut anew, 2, asked);
        assert!(said.is_empty() && suspicion.is_some(), "{kind:?}");
    }
}
