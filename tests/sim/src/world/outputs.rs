//! What drivers want done, and what is checked on the way.

use rand::Rng;
use weft_model::NodeId;
use weft_registry::disk::Space;
use weft_registry::driver::{Output, Suspicion};
use weft_registry::{Answer, Record};

use super::World;
use crate::coverage::Seen;
use crate::member::Member;
use crate::network::Letter;

impl World {
    /// Does what a driver wants.
    pub(super) fn drain(&mut self, node: NodeId) -> Result<(), String> {
        let outputs = match self.members.get_mut(&node) {
            Some(member) if member.resumes_at.is_none() => member.take_outputs(),
            _ => return Ok(()),
        };
        for output in outputs {
            self.carry_out(node, output)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, node: NodeId, output: Output) -> Result<(), String> {
        let now = self.now;
        match output {
            Output::Send(to, messages) => {
                self.trace
                    .note(&[2, now, node.0, to.0, messages.len() as u64], || {
                        format!("{now} {node} -> {to}: {messages:?}")
                    });
                self.invariants.follower.says(node, &messages)?;
                for message in messages {
                    let letter = Letter::Raft(Box::new(message));
                    self.network
                        .send(now, &mut self.rng, &mut self.seen, (node, to), letter);
                }
            }
            Output::Persist(batch) => {
                self.trace.note(&[3, now, node.0, batch.number], || {
                    format!(
                        "{now} {node} writes batch {} of {}",
                        batch.number,
                        batch.entries()
                    )
                });
                let soon = now + self.rng.random_range(1..=4);
                if let Some(member) = self.members.get_mut(&node) {
                    member.disk.write(batch);
                    member.synced_at.get_or_insert(soon);
                }
            }
            Output::Applied(record) => self.note_applied(node, &record)?,
            Output::Installed { index, .. } => {
                self.seen.note(match self.follower == Some(node) {
                    true => Seen::FollowerInstalled,
                    false => Seen::SnapshotInstalled,
                });
                self.trace.note(&[5, now, node.0, index.0], || {
                    format!("{now} {node} installs a snapshot at {index}")
                });
                self.invariants.order.restart(node, index);
                if let Some(member) = self.members.get_mut(&node) {
                    member.jump(index);
                }
            }
            Output::ReadReady { read, index } => {
                let applied = self.applied(node);
                self.invariants.reads.check(node, read, index, applied)?;
            }
            Output::Leadership(leadership) => {
                let leader = leadership.leader.map_or(0, |leader| leader.0);
                self.trace
                    .note(&[6, now, node.0, leader, leadership.term], || {
                        format!("{now} {node} sees {leadership:?}")
                    });
                self.invariants.leaders.check(node, leadership)?;
                self.invariants.follower.leads(node, leadership)?;
            }
            // It goes on for a while, not knowing.
            Output::Suspect {
                suspicion: Suspicion::RemovedSender,
                ..
            } => {}
            // Who knows nothing waits for those whom it may believe.
            Output::Suspect {
                suspicion: Suspicion::NoVote,
                ..
            } if self.is_anew(node) => {}
            Output::Suspect { from, suspicion } => {
                return Err(format!("node {node} suspects {from}: {suspicion}"));
            }
            Output::Declined { .. } => {
                let short = |member: &Member| member.space != Space::Enough;
                let leads = self.leader() == Some(node);
                let refused = leads && self.members.get(&node).is_some_and(short);
                self.seen.add(Seen::RefusedForRoom, usize::from(refused));
            }
            Output::MembersChanged => {
                self.seen.note(Seen::MembersChanged);
                let cut = !self.network.cuts.is_empty();
                self.seen.add(Seen::MembersChangedInCut, usize::from(cut));
            }
            Output::Removed => {}
        }
        Ok(())
    }

    fn note_applied(&mut self, node: NodeId, record: &Record) -> Result<(), String> {
        let now = self.now;
        self.trace.note(
            &[4, now, node.0, record.index.0, record.checksum.into()],
            || format!("{now} {node} applies {record:?}"),
        );
        if let Some(Answer::Quarantined(reason)) = &record.answer {
            return Err(format!(
                "node {node} cannot read {}: {reason}",
                record.index
            ));
        }
        if self.follower == Some(node) {
            self.seen.note(Seen::FollowerApplied);
        }
        self.invariants.order.check(node, record.index)?;
        self.invariants.agreement.check(node, record)?;
        self.invariants.once.check(record)?;
        self.invariants.removed.note(record)?;
        if let Some(member) = self.members.get_mut(&node) {
            member.show(record);
        }
        self.answer_clients(node, record)
    }
}
