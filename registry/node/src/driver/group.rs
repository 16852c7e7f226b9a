//! The driver's part in the group's configuration: planning it as the leader,
//! following it as a member.

use raft::eraftpb::{ConfChangeTransition, ConfChangeV2, Entry, EntryType};
use weft_model::NodeId;
use weft_proto::log::conf_change;

use super::Driver;
use super::output::{self, Output};
use crate::members::{self, MemberChange};
use crate::replica::Record;
use crate::wire;

impl Driver {
    /// The voter that could lead soonest after this leader; none if it is alone, or no leader.
    pub fn successor(&self) -> Option<NodeId> {
        let voters = self.image().conf.get_voters().iter().copied().map(NodeId);
        members::successor(
            &self.image().state,
            &voters.collect(),
            &output::progress(&self.raw),
            self.settings.node,
        )
    }

    pub(super) fn apply_conf_change(&mut self, kind: EntryType, entry: &Entry) -> Record {
        let change = match wire::raft::read_conf_change(kind, entry.data.clone()) {
            Ok(change) => change,
            Err(error) => return self.raw.mut_store().quarantine(entry, error.to_string()),
        };
        match self.raw.apply_conf_change(&change) {
            Ok(conf) => {
                let store = self.raw.mut_store();
                store.set_conf(conf);
                let record = store.pass(entry);
                self.step_down_if_voteless();
                self.note_membership();
                record
            }
            Err(error) => self.raw.mut_store().quarantine(entry, error.to_string()),
        }
    }

    pub(super) fn note_membership(&mut self) {
        let member = self.image().counts(self.settings.node);
        if self.was_member && !member {
            self.outputs.push(Output::Removed);
        }
        self.was_member = member;
        self.outputs.push(Output::MembersChanged);
    }

    /// A leader that its own log has just taken the vote from leads no more. It
    /// is no plan's doing (a leader hands over first), but it may have become
    /// leader with that entry under way, and the library would go on, and panic
    /// for want of its own progress.
    fn step_down_if_voteless(&mut self) {
        let votes = self
            .raw
            .raft
            .prs()
            .conf()
            .voters()
            .contains(self.settings.node.0);
        if self.is_leader() && !votes {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
    }

    /// The leader keeps the group's configuration in step with the state, one change at a time.
    pub(super) fn plan_membership(&mut self) {
        let raft = &self.raw.raft;
        if raft.has_pending_conf() || raft.lead_transferee.is_some() {
            return;
        }
        let image = self.image();
        if image.conf.get_voters_outgoing().is_empty() {
            let progress = output::progress(&self.raw);
            let change =
                members::plan_members(&image.state, &image.conf, &progress, self.settings.node);
            #[cfg(feature = "bugs")]
            let change = self.misplan().or(change);
            match change {
                Some(MemberChange::Transfer(to)) => self.raw.transfer_leader(to.0),
                Some(change) => self.propose_change(change.singles()),
                None => {}
            }
        } else {
            // The library leaves a joint configuration by itself, unless the leader that entered it is gone.
            self.propose_change(Vec::new());
        }
    }

    fn propose_change(&mut self, singles: Vec<(conf_change::Type, NodeId)>) {
        let mut change = ConfChangeV2::default();
        change.set_transition(ConfChangeTransition::Auto);
        let singles: Vec<_> = singles
            .into_iter()
            .map(|(kind, node)| wire::raft::conf_change_single(kind, node.0))
            .collect();
        change.set_changes(singles.into());
        // Refused only while leadership is being handed over; the next tick plans anew.
        let _ = self.raw.propose_conf_change(Vec::new(), change);
    }
}
