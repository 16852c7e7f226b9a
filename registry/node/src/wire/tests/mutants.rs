//! Records, snapshots and what the consensus says with bytes changed, lost, doubled and mixed: each
//! is read or refused, what is read is applied or refused, and nothing panics. Some thousands here;
//! `WEFT_MUTANTS` says how many (`cargo xtask mutants` runs ten million).

use ::raft::eraftpb::{ConfChangeV2, Entry as RaftEntry, EntryType, Message, MessageType};
use ::rand::SeedableRng;
use ::rand::rngs::SmallRng;
use ::rand::seq::IndexedRandom;
use prost::Message as _;
use weft_mutants::{Decoder, mutate, seeds};
use weft_proto::log::conf_change::Type;
use weft_proto::{log as wire, peer};

use super::*;
use crate::replica::{Answer, Record};

/// A federation with something of everything in it.
fn full() -> Log {
    let mut log = Log::founded();
    log.join(2, "eu-west-1");
    let web = fixture::export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
    log.export(1, "shop/web", &web);
    release_of_everything(&mut log);
    log
}

/// What an author of the federation would sign, whole.
fn signed(log: &Log) -> Vec<Vec<u8>> {
    let authors = [log.admin(), log.gateway(1), log.gateway(2), Author::Founder];
    let generation = log.state.next_order(&name(fixture::ADMIN));
    commands()
        .iter()
        .flat_map(|command| {
            authors.iter().map(move |author| {
                let request = RequestId([3; 16]);
                encode_signed(request, author, None, generation, command).to_vec()
            })
        })
        .collect()
}

fn snapshot(image: &Image, data: Bytes) -> Snapshot {
    let mut snapshot = Snapshot {
        data,
        ..Snapshot::default()
    };
    snapshot.mut_metadata().index = image.index.0;
    snapshot.mut_metadata().term = image.term;
    snapshot.mut_metadata().set_conf_state(image.conf.clone());
    snapshot
}

#[test]
fn a_mutated_record_is_refused_or_applied_and_never_panics() {
    let log = full();
    let records = signed(&log);
    let (mut unread, mut refused, mut applied) = (0, 0, 0);
    for seed in seeds(6_000) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut bytes = records.choose(&mut rng).unwrap().clone();
        let other = records.choose(&mut rng).unwrap();
        mutate(&mut rng, &mut bytes, other);
        let entry = encode_entry(bytes.into(), Bytes::new(), log.state.time());
        let Ok(mut decoded) = decode(entry) else {
            unread += 1;
            continue;
        };
        // As if its author had signed just this: a member may be hostile.
        decoded.entry.authentic = true;
        let mut state = log.state.clone();
        let index = Index(log.entries.len() as u64 + 1);
        match state.apply(index, &decoded.entry).outcome {
            Ok(_) => applied += 1,
            Err(_) => refused += 1,
        }
        assert_eq!(state.applied(), index, "seed {seed}");
        let image = Image {
            index,
            term: 1,
            state,
            ..Image::default()
        };
        let back = decode_image(&snapshot(&image, encode_image(&image)));
        let back = back.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(back.state == image.state, "seed {seed}: a snapshot differs");
    }
    println!("{unread} unread, {refused} refused, {applied} applied");
    assert!(unread > 100 && refused > 100 && applied > 20);
}

#[test]
fn a_mutated_snapshot_is_refused_or_goes_on_and_never_panics() {
    let mut log = full();
    let image = Image {
        index: Index(log.entries.len() as u64),
        term: 3,
        conf: ConfState::from((vec![1, 2], vec![3])),
        state: log.state.clone(),
        ..Image::default()
    };
    let whole = encode_image(&image);
    let next = {
        let web = fixture::export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 81);
        let put = Command::PutExport(name("us-east-1"), name("shop/web"), Box::new(web));
        log.entry(log.gateway(1), put)
    };
    log.append(next.clone());
    let (mut refused, mut read) = (0, 0);
    for seed in seeds(6_000) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut bytes = whole.to_vec();
        mutate(&mut rng, &mut bytes, &whole);
        match decode_image(&snapshot(&image, bytes.into())) {
            Err(_) => refused += 1,
            Ok(mut found) => {
                read += 1;
                let _ = found.state.apply(Index(image.index.0 + 1), &next);
                let _ = encode_image(&found);
                let _ = found.state.digest();
            }
        }
    }
    println!("{refused} refused, {read} read");
    assert!(refused > 100 && read > 20);
}

/// Messages of every kind, with all that one can carry.
fn messages(image: &Image) -> Vec<peer::RaftMessage> {
    let entries = vec![
        RaftEntry {
            index: 13,
            term: 3,
            data: encoded(&commands()[0]),
            ..RaftEntry::default()
        },
        membership(),
    ];
    let kinds = [
        MessageType::MsgAppend,
        MessageType::MsgHeartbeat,
        MessageType::MsgRequestVote,
        MessageType::MsgAppendResponse,
        MessageType::MsgReadIndex,
    ];
    let mut all: Vec<Message> = kinds
        .into_iter()
        .map(|kind| message(kind, &entries))
        .collect();
    let mut whole = message(MessageType::MsgSnapshot, &[]);
    whole.set_snapshot(snapshot(image, encode_image(image)));
    all.push(whole);
    all.iter()
        .map(|it| raft::write_message(it, Index(7)))
        .collect()
}

fn message(kind: MessageType, entries: &[RaftEntry]) -> Message {
    let mut message = Message {
        to: 1,
        from: 2,
        term: 3,
        log_term: 3,
        index: 12,
        entries: entries.to_vec().into(),
        commit: 12,
        reject_hint: 4,
        context: Bytes::from_static(b"a read"),
        ..Message::default()
    };
    message.set_msg_type(kind);
    message
}

/// A change of who votes, as it stands in the log.
fn membership() -> RaftEntry {
    let mut change = ConfChangeV2::default();
    let singles = [
        (Type::AddVoter, 4),
        (Type::Remove, 300),
        (Type::AddLearner, 5),
    ];
    let singles = singles.map(|(kind, node)| raft::conf_change_single(kind, node));
    change.set_changes(Vec::from(singles).into());
    let mut entry = RaftEntry {
        index: 14,
        term: 3,
        data: written(&change),
        ..RaftEntry::default()
    };
    entry.set_entry_type(EntryType::EntryConfChangeV2);
    entry
}

/// Rows of history, one for each thing that can come of an entry.
fn rows(log: &Log) -> Vec<wire::HistoryRow> {
    let entry = |command: &Command| RaftEntry {
        index: 9,
        term: 2,
        data: encoded(command),
        ..RaftEntry::default()
    };
    let mut state = log.state.clone();
    let withdrawn = log.entry(
        log.gateway(1),
        Command::DeleteExport(name("us-east-1"), name("shop/web")),
    );
    let events = state
        .apply(Index(log.entries.len() as u64 + 1), &withdrawn)
        .events;
    let answers = [
        Some(Answer::Judged(Ok(Index(9)))),
        Some(Answer::Judged(Ok(Index(4)))),
        Some(Answer::Judged(Err(Refusal::Unknown("a cluster".into())))),
        Some(Answer::Quarantined("odd".into())),
        None,
    ];
    let record = |answer: &Option<Answer>| Record {
        index: Index(9),
        checksum: 0,
        request: None,
        origin: None,
        answer: answer.clone(),
        events: events.clone(),
    };
    let commands = commands();
    let rows = answers.iter().zip(&commands);
    rows.map(|(answer, command)| write_row(&entry(command), &record(answer)))
        .collect()
}

#[test]
fn no_mutant_of_what_the_consensus_and_history_say_panics() {
    let log = full();
    let image = Image {
        index: Index(12),
        term: 3,
        conf: ConfState::from((vec![1, 2], vec![3])),
        state: log.state.clone(),
        ..Image::default()
    };
    let messages = messages(&image);
    let batch = peer::RaftBatch {
        messages: messages.clone(),
    };
    let entries = [
        membership(),
        message(MessageType::MsgAppend, &[])
            .entries
            .first()
            .cloned()
            .unwrap_or_default(),
    ];
    weft_mutants::check(&[
        Decoder::new(
            "a batch of Raft messages",
            [batch.encode_to_vec()],
            |bytes| {
                let batch = peer::RaftBatch::decode(bytes).map_err(malformed)?;
                let read = batch.messages.into_iter().map(raft::read_message);
                read.collect::<Result<Vec<_>, _>>()
            },
        ),
        Decoder::new(
            "a Raft message",
            messages.iter().map(|it| it.encode_to_vec()),
            |bytes| raft::read_message(peer::RaftMessage::decode(bytes).map_err(malformed)?),
        ),
        Decoder::new(
            "a Raft entry",
            entries
                .iter()
                .map(|it| raft::write_entry(it).encode_to_vec()),
            |bytes| raft::read_entry(peer::RaftEntry::decode(bytes).map_err(malformed)?),
        ),
        Decoder::new("a change of who votes", [membership().data], |bytes| {
            let bytes = Bytes::copy_from_slice(bytes);
            raft::read_conf_change(EntryType::EntryConfChangeV2, bytes)
        }),
        Decoder::new(
            "a Raft snapshot",
            [raft::write_snapshot(&snapshot(&image, encode_image(&image))).encode_to_vec()],
            |bytes| {
                let snapshot = peer::RaftSnapshot::decode(bytes).map_err(malformed)?;
                decode_image(&raft::read_snapshot(snapshot))
            },
        )
        .fewer(4),
        Decoder::new(
            "a row of history",
            rows(&log).iter().map(|it| it.encode_to_vec()),
            |bytes| read_row(wire::HistoryRow::decode(bytes).map_err(malformed)?),
        ),
    ]);
}
