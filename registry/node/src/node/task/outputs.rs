//! What the driver wants done, done: sent, written, published, answered.

use std::sync::Arc;
use std::time::Instant;

use weft_model::Index;
use weft_proto::peer::RaftBatch;

use super::Task;
use crate::driver::{Leadership, Output};
use crate::node::status::{Standing, Status};
use crate::node::transport::Transport;
use crate::replica::{Answer, Record};
use crate::watch::Judged;

impl<T: Transport> Task<T> {
    /// Does what the driver wants, until it wants nothing more.
    pub(super) fn carry_out(&mut self) {
        let mut applied = None;
        for output in self.driver.take_outputs() {
            match output {
                Output::Send(to, messages) => self.transport.send(to, RaftBatch { messages }),
                Output::Persist(batch) => self.disk.write(batch),
                Output::Applied(record) => {
                    applied = Some(record.index);
                    self.note_applied(record);
                }
                Output::Installed { index, was_fenced } => {
                    self.counters.installed += 1;
                    self.show_state();
                    self.shared.ring.restart(index);
                    self.note_installed(was_fenced);
                    applied = Some(index);
                }
                Output::ReadReady { read, index } => {
                    self.publish(applied.take());
                    self.reads.ready(read, index);
                }
                Output::Declined { request } => self.declined.push(request),
                Output::Leadership(leadership) => self.note_leadership(leadership),
                Output::MembersChanged => self.publish_status(),
                Output::Removed => {
                    tracing::warn!("this node is no longer part of the group");
                    self.removed = true;
                }
                Output::Suspect { from, suspicion } => {
                    self.counters.suspect += 1;
                    // Who sends many may not fill a disk with what is said of them.
                    if self.counters.suspect.is_power_of_two() {
                        let count = self.counters.suspect;
                        tracing::warn!(%from, %suspicion, count, "dropped a message that no correct peer sends");
                    }
                }
            }
        }
        self.publish(applied);
    }

    /// Makes what was applied visible, before anybody is told of it.
    fn publish(&self, applied: Option<Index>) {
        if let Some(index) = applied {
            self.show_state();
            self.shared.index.send_replace(index);
        }
    }

    fn show_state(&self) {
        let state = self.driver.image().state.clone();
        self.shared.state.store(Arc::new(state));
    }

    fn note_applied(&mut self, record: Record) {
        let Record {
            index,
            checksum: _,
            request,
            origin,
            answer,
            events,
        } = record;
        self.counters.applied += 1;
        match &answer {
            Some(Answer::Judged(Err(_))) => self.counters.refused += 1,
            Some(Answer::Quarantined(reason)) => {
                tracing::error!(%index, reason, "an entry of the log cannot be read here");
            }
            _ => {}
        }
        let judged = answer
            .as_ref()
            .and_then(|answer| Judged::of(index, origin, answer, events));
        if let (Some(request), Some(answer)) = (request, answer) {
            self.shared.shares.give_back(&request);
            // The state first, for a watcher that is awake sees the entry at once; the position
            // last, for it wakes the others.
            self.show_state();
            if let Some(judged) = judged {
                self.shared.ring.push(judged);
            }
            self.shared.index.send_replace(index);
            self.proposals.answer(index, &request, &answer);
        }
    }

    fn note_leadership(&mut self, leadership: Leadership) {
        self.counters.leader_changes += 1;
        self.shared.shares.clear();
        tracing::info!(
            leader = leadership.leader.map(tracing::field::display),
            term = leadership.term,
            "leadership"
        );
        self.proposals.forget();
        if leadership.leader.is_some() {
            self.proposals.hurry(Instant::now());
        }
        self.publish_status();
    }

    pub(super) fn publish_status(&self) {
        let status = Status {
            raft: self.driver.status(),
            removed: self.removed,
            tick: self.shared.clock.tick(),
            disk: self.disk_status,
            counters: self.counters,
            waiting: self.proposals.len(),
            agreement: Standing {
                fenced: self.driver.fenced(),
                repairing: self.driver.is_repairing(),
                last: self.comparison.last.clone(),
                fenced_peers: self.comparison.fenced_peers.clone(),
            },
        };
        self.shared.status.store(Arc::new(status));
    }
}
