//! T2: the certificate of a member's gateway, used to speak as a voter or as an operator.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use prost::Message;
use weft_mallory::GATEWAYS;
use weft_model::NodeId;
use weft_proto::peer::{
    RaftConfState, RaftEntry, RaftMessage, RaftSnapshot, TransferAnswer, TransferRequest,
};
use weft_registry::METHOD_TRANSFER;
use weft_test_support::{SOON, eventually};

use crate::{Stage, metric};

// Kinds of Raft messages, as the wire numbers them.
const APPEND: u32 = 3;
const APPEND_ANSWER: u32 = 4;
const VOTE: u32 = 5;
const SNAPSHOT: u32 = 7;
const HEARTBEAT: u32 = 8;
const HEARTBEAT_ANSWER: u32 = 9;
const TIMEOUT_NOW: u32 = 14;
const PRE_VOTE: u32 = 17;
/// What counts them.
const SUSPECT: &str = "weft_registry_suspect_messages";
/// The context by which a leader's chosen successor overrides the others' patience.
const TRANSFER: &[u8] = b"CampaignTransfer";

/// Voters say who leads; a member's gateway may not move leadership about.
pub(crate) fn transfer(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    let before = term(stage)?;
    let leader = mallory.leader().context("no leader")?;
    let voters = mallory.registry.status().raft.voters.clone();
    for to in voters.into_iter().chain([mallory.id(), NodeId(9_999)]) {
        let body = TransferRequest { to: to.0 }.encode_to_vec();
        let answer = mallory.call(leader, METHOD_TRANSFER, body)?;
        let begun = TransferAnswer::decode(answer)?.begun;
        ensure!(!begun, "the leader hands over to {to}");
    }
    ensure!(term(stage)? == before, "there was an election");
    Ok(())
}

/// Appends, heartbeats, snapshots and orders to campaign, in this term and in later ones.
pub(crate) fn leader(stage: &Stage<'_>) -> Result<()> {
    let forged = stage.mallory.loot.sign(
        stage.mallory.loot.author(),
        1 << 50,
        weft_model::Command::RemoveCluster("us-east-1".parse()?),
    );
    let data = forged.encode();
    shout(stage, |of| {
        let entry = |index, term| RaftEntry {
            term,
            index,
            data: data.clone(),
            ..RaftEntry::default()
        };
        let mut said = Vec::new();
        for term in [of.term, of.term + 1, of.term + 1_000] {
            let from_leader = |kind| RaftMessage {
                r#type: kind,
                term,
                log_term: of.term,
                index: of.commit,
                commit: of.commit + 1,
                ..RaftMessage::default()
            };
            said.push(RaftMessage {
                entries: vec![entry(of.commit + 1, term)],
                ..from_leader(APPEND)
            });
            said.push(from_leader(HEARTBEAT));
            said.push(RaftMessage {
                context: Bytes::from_static(TRANSFER),
                ..from_leader(TIMEOUT_NOW)
            });
            said.push(RaftMessage {
                snapshot: Some(RaftSnapshot {
                    index: of.commit + 10,
                    term,
                    conf_state: Some(RaftConfState {
                        voters: vec![of.mallory],
                        ..RaftConfState::default()
                    }),
                    data: Bytes::new(),
                }),
                ..from_leader(SNAPSHOT)
            });
        }
        said
    })
}

/// Requests for votes, and answers of a later term, to which a leader would yield.
pub(crate) fn candidate(stage: &Stage<'_>) -> Result<()> {
    shout(stage, |of| {
        let later = |kind| RaftMessage {
            r#type: kind,
            term: of.term + 1_000,
            log_term: of.term + 999,
            index: of.commit + 1_000,
            context: Bytes::from_static(TRANSFER),
            ..RaftMessage::default()
        };
        let kinds = [APPEND_ANSWER, HEARTBEAT_ANSWER, VOTE, PRE_VOTE];
        kinds.map(later).into()
    })
}

/// What a victim's log has come to.
struct Of {
    term: u64,
    commit: u64,
    mallory: u64,
}

/// Says to each victim what `words` makes of its log; all of it must be dropped, and no election
/// follow. All but answers is no correct peer's and so is counted: who follows a later leader
/// answers like that. What comes last is counted, so that all before it was heard.
fn shout(stage: &Stage<'_>, words: impl Fn(&Of) -> Vec<RaftMessage>) -> Result<()> {
    let mallory = &stage.mallory;
    let before = term(stage)?;
    for (cluster, gateway) in GATEWAYS {
        let to = mallory.node_of(cluster, gateway)?;
        let raft = &mallory.registry.status().raft;
        let said = words(&Of {
            term: raft.leadership.term,
            commit: raft.commit.0,
            mallory: mallory.id().0,
        });
        let said = said.into_iter().map(|message| RaftMessage {
            to: to.0,
            from: mallory.id().0,
            ..message
        });
        let said: Vec<RaftMessage> = said.collect();
        let answers = |it: &&RaftMessage| matches!(it.r#type, APPEND_ANSWER | HEARTBEAT_ANSWER);
        let count = (said.len() - said.iter().filter(answers).count()) as u64;
        let dropped = metric(stage, cluster, SUSPECT)?;
        mallory.say_raft(to, said);
        eventually("it drops all of that", SOON, || {
            let now = metric(stage, cluster, SUSPECT)?;
            ensure!(
                now >= dropped + count,
                "{cluster}: {} of {count}",
                now - dropped
            );
            Ok(())
        })?;
    }
    ensure!(term(stage)? == before, "there was an election");
    Ok(())
}

/// The term and the leader, as the victims have them.
fn term(stage: &Stage<'_>) -> Result<Vec<(u64, u64)>> {
    let of = |(cluster, gateway): (&str, &str)| {
        let status = stage.victims.status(&format!("{cluster}/{gateway}"))?;
        let raft = &status["raft"];
        let leader = raft["leader"].as_u64().context("no leader")?;
        Ok((raft["term"].as_u64().context("no term")?, leader))
    };
    GATEWAYS.into_iter().map(of).collect()
}
