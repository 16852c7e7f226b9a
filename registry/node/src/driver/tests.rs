mod fenced;
mod follower;
mod leading;
mod mutants;
mod poison;
mod trio;
mod voteless;

use proptest::prelude::*;
use weft_proto::peer::{RaftConfState, RaftEntry, RaftSnapshot};

use super::*;
use crate::disk::{Space, Stored};

const ME: NodeId = NodeId(1);

/// A founder's driver whose group is made to be 1, 2 and 3.
fn driver() -> Driver {
    let (_, mut first) =
        crate::found(&crate::node::founding_for_tests(), weft_model::WallTime(1)).unwrap();
    first.image.conf = raft::eraftpb::ConfState::from((vec![1, 2, 3], vec![4]));
    Driver::open(Settings::new(ME, 1), first).unwrap()
}

/// Does what the driver wants at once, as a perfect disk would.
fn settle(driver: &mut Driver) {
    loop {
        let outputs = driver.take_outputs();
        if outputs.is_empty() {
            return;
        }
        for output in outputs {
            if let Output::Persist(batch) = output {
                driver.handle(Input::Persisted {
                    batch: batch.number,
                });
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Tick(u8),
    Message(NodeId, Box<RaftMessage>),
}

fn entry() -> impl Strategy<Value = RaftEntry> {
    (
        0_u32..3,
        0_u64..6,
        0_u64..8,
        prop::collection::vec(any::<u8>(), 0..20),
    )
        .prop_map(|(kind, term, index, data)| RaftEntry {
            r#type: kind,
            term,
            index,
            data: data.into(),
            context: Default::default(),
        })
}

fn snapshot() -> impl Strategy<Value = RaftSnapshot> {
    let nodes = || prop::collection::vec(0_u64..5, 0..4);
    (0_u64..9, 0_u64..6, nodes(), nodes(), nodes(), any::<bool>()).prop_map(
        |(index, term, voters, learners, outgoing, real)| RaftSnapshot {
            index,
            term,
            conf_state: Some(RaftConfState {
                voters,
                learners,
                voters_outgoing: outgoing,
                ..RaftConfState::default()
            }),
            data: match real {
                true => wire::encode_image(driver().image()),
                false => b"no image".as_slice().into(),
            },
        },
    )
}

fn message() -> impl Strategy<Value = RaftMessage> {
    let numbers = prop::array::uniform6(prop_oneof![9 => 0_u64..9, 1 => Just(u64::MAX)]);
    let kind = prop::sample::select(vec![3_u32, 4, 5, 6, 7, 8, 9, 14, 15, 16, 17, 18, 2, 99]);
    let entries = prop::collection::vec(entry(), 0..4);
    let snapshot = prop::option::of(snapshot());
    (
        kind,
        1_u64..5,
        numbers,
        entries,
        snapshot,
        any::<[bool; 2]>(),
    )
        .prop_map(
            |(kind, from, numbers, mut entries, snapshot, [reject, follow])| {
                let [term, log_term, index, commit, commit_term, reject_hint] = numbers;
                if follow {
                    // Most of the rest would be refused for its order alone.
                    for (position, entry) in (1..).zip(&mut entries) {
                        entry.index = index.saturating_add(position);
                        entry.term = log_term.max(1);
                    }
                }
                RaftMessage {
                    r#type: kind,
                    to: ME.0,
                    from,
                    term,
                    log_term,
                    index,
                    entries,
                    commit,
                    commit_term,
                    snapshot,
                    reject,
                    reject_hint,
                    ..RaftMessage::default()
                }
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (1_u8..25).prop_map(Step::Tick),
        6 => message().prop_map(|message| Step::Message(NodeId(message.from), Box::new(message))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What peers say is data: whatever it is, the driver lives.
    #[test]
    fn no_message_of_a_peer_panics_a_node(steps in prop::collection::vec(step(), 1..40)) {
        let mut driver = driver();
        settle(&mut driver);
        for step in steps {
            match step {
                Step::Tick(count) => (0..count).for_each(|_| driver.handle(Input::Tick)),
                Step::Message(from, message) => {
                    let message = *message;
                    driver.handle(Input::Message { from, message });
                }
            }
            settle(&mut driver);
        }
    }
}

#[test]
fn a_joiner_without_a_log_waits_and_does_not_campaign() {
    let mut driver = Driver::open(Settings::new(NodeId(9), 1), Stored::default()).unwrap();
    for _ in 0..1_000 {
        driver.handle(Input::Tick);
        assert!(driver.take_outputs().is_empty());
    }
}

/// A driver that leads itself, 2 and 3, with an answer from both to all it sent.
fn leader() -> Driver {
    let mut driver = driver();
    for _ in 0..100 {
        driver.handle(Input::Tick);
        exchange(&mut driver);
        if driver.is_leader() {
            return driver;
        }
    }
    panic!("it does not lead: {:?}", driver.status());
}

/// Does what the driver wants; nodes 2 and 3 grant and store whatever is asked of them.
/// Returns to whom it handed over.
fn exchange(driver: &mut Driver) -> Vec<NodeId> {
    let mut heirs = Vec::new();
    loop {
        let outputs = driver.take_outputs();
        if outputs.is_empty() {
            return heirs;
        }
        for output in outputs {
            match output {
                Output::Persist(batch) => driver.handle(Input::Persisted {
                    batch: batch.number,
                }),
                Output::Send(to, messages) if to.0 < 4 => {
                    for message in messages {
                        if message.r#type == MessageType::MsgTimeoutNow as u32 {
                            heirs.push(to);
                        }
                        if let Some(message) = agree(&message) {
                            driver.handle(Input::Message { from: to, message });
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn agree(asked: &RaftMessage) -> Option<RaftMessage> {
    let kinds = [
        (
            MessageType::MsgRequestPreVote,
            MessageType::MsgRequestPreVoteResponse,
        ),
        (
            MessageType::MsgRequestVote,
            MessageType::MsgRequestVoteResponse,
        ),
        (MessageType::MsgAppend, MessageType::MsgAppendResponse),
        (MessageType::MsgHeartbeat, MessageType::MsgHeartbeatResponse),
    ];
    let of = |(kind, _): &&(MessageType, MessageType)| *kind as u32 == asked.r#type;
    let (_, answer) = kinds.iter().find(of)?;
    Some(RaftMessage {
        r#type: *answer as u32,
        to: asked.from,
        from: asked.to,
        term: asked.term,
        index: asked.index + asked.entries.len() as u64,
        context: asked.context.clone(),
        ..RaftMessage::default()
    })
}

#[test]
fn a_leader_short_of_room_takes_nothing_and_asks_one_voter_after_the_other() {
    let mut driver = leader();
    driver.handle(Input::Space(Space::Low));
    let proposal = crate::node::founding_for_tests();
    let now = weft_model::WallTime(2);
    driver.handle(Input::Propose { proposal, now });
    let outputs = driver.take_outputs();
    assert!(
        matches!(&outputs[..], [Output::Declined { .. }]),
        "{outputs:?}"
    );
    let mut heirs = Vec::new();
    for _ in 0..100 {
        driver.handle(Input::Tick);
        heirs.extend(exchange(&mut driver));
    }
    for voter in [2, 3] {
        assert!(
            heirs.contains(&NodeId(voter)),
            "{voter} is not in {heirs:?}"
        );
    }
    driver.handle(Input::Space(Space::Enough));
    for _ in 0..100 {
        driver.handle(Input::Tick);
        assert!(exchange(&mut driver).is_empty());
    }
}

#[test]
fn a_full_disk_holds_back_promises_and_no_answer_to_a_heartbeat() {
    let mut driver = driver();
    driver.handle(Input::Space(Space::Full));
    let from = NodeId(2);
    let heartbeat = RaftMessage {
        r#type: MessageType::MsgHeartbeat as u32,
        to: ME.0,
        from: from.0,
        term: 7,
        ..RaftMessage::default()
    };
    let message = heartbeat.clone();
    driver.handle(Input::Message { from, message });
    let append = RaftMessage {
        r#type: MessageType::MsgAppend as u32,
        log_term: 1,
        index: 2,
        entries: vec![RaftEntry {
            term: 7,
            index: 3,
            ..RaftEntry::default()
        }],
        ..heartbeat
    };
    driver.handle(Input::Message {
        from,
        message: append,
    });
    // Nothing is persisted.
    let said: Vec<u32> = driver
        .take_outputs()
        .iter()
        .filter_map(|output| match output {
            Output::Send(_, messages) => Some(messages),
            _ => None,
        })
        .flatten()
        .map(|message| message.r#type)
        .collect();
    assert_eq!(said, [MessageType::MsgHeartbeatResponse as u32]);
}

/// A member's word of a founding that never was locked a newcomer out until it restarted.
#[test]
fn a_newcomer_takes_nobodys_word_for_a_new_founding() {
    let mut newcomer = Driver::open(Settings::new(ME, 1), Stored::default()).unwrap();
    let heartbeat = RaftMessage {
        r#type: 8,
        to: ME.0,
        from: 2,
        term: 5,
        recovered: 1 << 50,
        ..RaftMessage::default()
    };
    newcomer.handle(Input::Message {
        from: NodeId(2),
        message: heartbeat,
    });
    settle(&mut newcomer);
    assert_eq!(newcomer.status().outranked, None);
}

/// What is sent now, of batches that are written and not on the disk.
fn sent(driver: &mut Driver, waiting: &mut Vec<u64>) -> usize {
    let mut sent = 0;
    for output in driver.take_outputs() {
        match output {
            Output::Send(_, messages) => sent += messages.len(),
            Output::Persist(batch) => waiting.push(batch.number),
            _ => {}
        }
    }
    sent
}

#[test]
fn a_lone_voter_leads_nobody_in_a_term_that_its_disk_does_not_know() {
    let (_, mut first) =
        crate::found(&crate::node::founding_for_tests(), weft_model::WallTime(1)).unwrap();
    first.image.conf = raft::eraftpb::ConfState::from((vec![1], vec![2]));
    let mut driver = Driver::open(Settings::new(ME, 1), first).unwrap();
    // What it makes of its first entry is written, since nobody campaigns before that.
    driver.handle(Input::Tick);
    settle(&mut driver);
    assert!(!driver.is_leader());
    let mut waiting = Vec::new();
    // It leads, and its disk is full.
    for _ in 0..100 {
        driver.handle(Input::Tick);
        assert_eq!(sent(&mut driver, &mut waiting), 0);
    }
    assert!(driver.is_leader());
    assert_eq!(driver.leadership().role, Role::Candidate);
    assert_eq!(driver.status().leadership, driver.leadership());
    let batch = *waiting.last().unwrap();
    driver.handle(Input::Persisted { batch });
    for _ in 0..2 {
        driver.handle(Input::Tick);
    }
    assert!(sent(&mut driver, &mut waiting) > 0);
    assert_eq!(driver.leadership().role, Role::Leader);
}
