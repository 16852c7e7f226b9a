//! The Raft driver: everything the registry decides, with neither clock, socket, disk nor runtime.
//!
//! ```text
//!            ┌────────────── Driver ───────────────┐
//!  Input ──> │ screen → RawNode ⇄ Replica → apply  │ ──> Output
//!            └─────────────────────────────────────┘
//!  Tick, Message, Propose, Read,         Send, Persist, Applied, ReadReady,
//!  Persisted, Transfer                   Leadership, …
//! ```
//!
//! The order that keeps promises: what a [`crate::disk::Batch`] holds goes to the disk; what
//! may only be said once it is there (votes, acknowledgements) waits for
//! [`Input::Persisted`]; a leader's appends need not wait (Raft thesis §10.2.1), once its
//! disk knows the term.
//! A record is applied only when it is committed and on this node's disk.
//! Equal inputs give equal outputs: election timeouts come from a seed.

mod fence;
mod follower;
mod group;
mod history;
mod input;
mod output;
mod persist;
mod recovery;
mod screen;
mod shortage;
mod snapshots;
mod timeouts;
mod writers;

use std::collections::VecDeque;
use std::sync::Arc;

use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{RawNode, ReadOnlyOption, StateRole};
use weft_model::{Federation, Index, NodeId, Refusal};
use weft_proto::peer::RaftMessage;

use crate::agreement::Checkpoints;
use crate::disk::Stored;
use crate::image::Image;
use crate::proposal::Proposal;
use crate::replica::{Repeats, Replica};
use crate::wire;

use fence::Fence;
pub use follower::Following;
use history::History;
#[cfg(feature = "bugs")]
pub use input::Bug;
pub use input::{Input, ReadId, Settings};
pub use output::{Leadership, Output, RaftStatus, Role};
use persist::Unpersisted;
pub use recovery::Outranked;
pub(crate) use recovery::TERMS_AHEAD;
use screen::Bearings;
pub use screen::Suspicion;
use shortage::Shortage;
use snapshots::Snapshots;
use timeouts::Timeouts;
use writers::Writers;

/// One node's part in the registry.
pub struct Driver {
    settings: Settings,
    raw: RawNode<Replica>,
    timeouts: Timeouts,
    snapshots: Snapshots,
    outputs: Vec<Output>,
    /// Batches that are not on the disk yet, oldest first.
    unpersisted: VecDeque<Unpersisted>,
    /// The term that the disk knows.
    saved_term: u64,
    shortage: Shortage,
    batches: u64,
    /// Whether the disk lags in what it knows to be committed.
    commit_unsaved: bool,
    /// Where the newest snapshot on the disk, or on its way there, ends.
    compacted: u64,
    /// A leader's snapshot that came in, decoded.
    incoming: Option<Box<Image>>,
    /// Confirmed reads that wait for their index.
    reads: Vec<(ReadId, Index)>,
    leadership: Leadership,
    history: History,
    checkpoints: Checkpoints,
    fence: Fence,
    /// Set while the group of this node has been given up for another.
    outranked: Option<Outranked>,
    writers: Writers,
    /// Ticks for which no leader is known.
    leaderless: u32,
    /// Whether this node was in the configuration before.
    was_member: bool,
}

/// Why a driver cannot start from what a disk held.
#[derive(Debug, thiserror::Error)]
#[error("the consensus library refuses what the disk holds")]
pub struct OpenError(#[source] Box<raft::Error>);

impl Driver {
    /// Goes on from what the disk held.
    pub fn open(settings: Settings, stored: Stored) -> Result<Self, OpenError> {
        let history = History::open(&stored);
        let fence = Fence::open(stored.fenced);
        let replica = Replica::new(stored);
        let applied = replica.image().index.0;
        let saved_term = replica.hard().term;
        let config = raft::Config {
            id: settings.node.0,
            election_tick: settings.election_ticks,
            heartbeat_tick: settings.heartbeat_ticks,
            applied,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: INFLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            // The lease form trusts clocks.
            read_only_option: ReadOnlyOption::Safe,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: APPLY_BYTES_MAX,
            ..raft::Config::default()
        };
        let quiet = slog::Logger::root(slog::Discard, slog::o!());
        let was_member = replica.image().counts(settings.node);
        let raw =
            RawNode::new(&config, replica, &quiet).map_err(|error| OpenError(Box::new(error)))?;
        let mut driver = Self {
            timeouts: Timeouts::new(&settings),
            snapshots: Snapshots::new(settings.election_ticks),
            settings,
            raw,
            outputs: Vec::new(),
            unpersisted: VecDeque::new(),
            saved_term,
            shortage: Shortage::default(),
            batches: 0,
            commit_unsaved: false,
            compacted: applied,
            incoming: None,
            reads: Vec::new(),
            leadership: Leadership::default(),
            history,
            checkpoints: Checkpoints::default(),
            fence,
            outranked: None,
            writers: Writers::default(),
            leaderless: 0,
            was_member,
        };
        driver.timeouts.settle(&mut driver.raw);
        driver.advance();
        Ok(driver)
    }

    /// Takes one input. Nothing comes out before [`Self::take_outputs`], so that
    /// what comes together is written together.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Tick => self.handle_tick(),
            Input::Message { from, message } => self.handle_message(from, message),
            Input::Propose { proposal, now } => {
                let data = proposal.stamp(now);
                let request = proposal.request();
                // A follower's library would forward it as a message; weft's own call says what became of it.
                let taken = self.is_leader()
                    && !self.shortage.is_on()
                    && !self.fence.is_up()
                    && self.early(&proposal).is_none()
                    && self.raw.propose(Vec::new(), data.into()).is_ok();
                if !taken {
                    self.outputs.push(Output::Declined { request });
                }
            }
            Input::Read { read } => self.handle_read(read),
            Input::Persisted { batch } => self.handle_persisted(batch),
            Input::Space(space) => self.handle_space(space),
            Input::Fence { at } => self.raise_fence(at),
            Input::Repair => self.repair(),
            Input::Heed(nodes) => self.heed(nodes),
            Input::Transfer { to } => self.raw.transfer_leader(to.0),
        }
        self.timeouts.settle(&mut self.raw);
    }

    /// What is to be done now, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        self.advance();
        std::mem::take(&mut self.outputs)
    }

    /// The applied state.
    pub fn image(&self) -> &Image {
        self.raw.store().image()
    }

    /// States of the past few entries, to compare with other replicas'.
    pub fn checkpoints(&self) -> impl Iterator<Item = (Index, Arc<Federation>)> + '_ {
        self.checkpoints.states()
    }

    /// Why a proposal must not enter the log, as far as the applied state says.
    ///
    /// Its command is of a format level that is not in force: some replica may be of a build that
    /// cannot read it, or reads something else. On a leader also: the state has no key that it is
    /// signed with, so that every replica would refuse it.
    pub fn foresees(&self, proposal: &Proposal) -> Option<Refusal> {
        let unproven = || {
            let leads = self.leadership.role == Role::Leader;
            let refused = leads && !self.raw.store().is_proven(&proposal.encode());
            refused.then_some(Refusal::Signature)
        };
        self.early(proposal).or_else(unproven)
    }

    fn early(&self, proposal: &Proposal) -> Option<Refusal> {
        let (needs, state) = (proposal.level(), &self.image().state);
        let has = state.format();
        (!state.allows(needs)).then_some(Refusal::Format { needs, has })
    }

    /// Numbers for operators.
    pub fn status(&self) -> RaftStatus {
        let unpersisted = self.unpersisted.len();
        output::status(&self.raw, self.led_by(), unpersisted, self.outranked)
    }

    /// Who leads, as this node knows.
    pub fn leadership(&self) -> Leadership {
        self.leadership
    }

    /// The last position this node knows to be committed; it may not be applied yet.
    pub fn commit(&self) -> Index {
        Index(self.raw.raft.raft_log.committed)
    }

    fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn handle_tick(&mut self) {
        self.leaderless = match self.raw.raft.leader_id {
            raft::INVALID_ID => self.leaderless.saturating_add(1),
            _ => 0,
        };
        self.count_fence();
        self.ask_for_repair();
        // A lone voter elects itself at once; the library takes for granted that its log is safe by then.
        let alone = self.raw.raft.prs().is_singleton();
        if alone && !self.is_leader() && !self.unpersisted.is_empty() {
            return;
        }
        // A node whose state is still on its way to the disk has no log to campaign with.
        if self.is_installing() {
            return;
        }
        if self.is_silent() || self.outranked.is_some() {
            self.save_commit();
            return;
        }
        self.timeouts.count(&self.raw);
        self.raw.tick();
        self.raw.store().tick();
        self.snapshots.tick(&mut self.raw);
        let leads = self.is_leader();
        if leads {
            self.lead();
        }
        self.lead_near_writers(leads);
        self.save_commit();
    }

    /// Tells the disk what it does not know yet to be committed and applied.
    fn save_commit(&mut self) {
        if self.commit_unsaved || self.history.is_unsaved() {
            self.write(0, Vec::new(), None, Vec::new());
        }
    }

    fn handle_message(&mut self, from: NodeId, message: RaftMessage) {
        if self.is_silent() {
            return;
        }
        let recovered = Index(message.recovered);
        let mut message = match wire::raft::read_message(message) {
            Ok(message) => message,
            Err(error) => return self.suspect(from, Suspicion::Unreadable(error)),
        };
        let bearings = match self.leaderless < LOST_TICKS {
            true => Bearings::Known,
            false => Bearings::Lost,
        };
        let judged = screen::screen(&self.raw, self.settings.node, from, &message, bearings);
        let lost = match judged {
            Ok(()) => None,
            Err(Suspicion::LostLog { last, .. }) if self.settings.following.is_some() => Some(last),
            // It follows a leader that this node has not heard yet, or says so: no reason to yield.
            Err(Suspicion::NoVote) if screen::is_answer(&message) => return,
            Err(suspicion) => return self.suspect(from, suspicion),
        };
        if self.must_not_heed(from, &message) {
            return self.suspect(from, Suspicion::NoVote);
        }
        if !self.admits(from, recovered, &message) {
            return;
        }
        if let Some(last) = lost {
            self.say_where_it_ends(&mut message, last);
        }
        if self.begins_anew(from, &message) || self.asks_too_soon(from, &message) {
            return;
        }
        let campaigns = message.get_msg_type() == MessageType::MsgTimeoutNow;
        let may_not = || self.is_installing() || screen::follows_nobody(&self.raw);
        if self.is_swamped_by(&message) || (campaigns && may_not()) {
            return;
        }
        if message.get_msg_type() == MessageType::MsgSnapshot {
            match wire::decode_image(message.get_snapshot()) {
                Ok(image) => self.incoming = Some(Box::new(image)),
                Err(error) => return self.suspect(from, Suspicion::Unreadable(error)),
            }
        }
        // Its errors are of messages that are out of date.
        let _ = self.raw.step(message);
    }

    /// A leader's own business, once a tick.
    fn lead(&mut self) {
        match self.shortage.is_on() || self.fence.is_up() {
            true => self.hand_over_for_want_of_room(),
            false => self.plan_membership(),
        }
    }

    fn suspect(&mut self, from: NodeId, suspicion: Suspicion) {
        self.outputs.push(Output::Suspect { from, suspicion });
    }

    fn handle_read(&mut self, read: ReadId) {
        #[cfg(feature = "bugs")]
        if self.settings.bug == Some(Bug::ReadWithoutQuorum) {
            return self.reads.push((read, self.commit()));
        }
        // The run keeps an answer to an earlier start's read from passing for this one's.
        let context = [
            self.settings.node.0.to_be_bytes(),
            self.settings.run.to_be_bytes(),
            read.0.to_be_bytes(),
        ]
        .concat();
        self.raw.read_index(context);
    }

    /// Lets the library say what follows from the inputs so far.
    fn advance(&mut self) {
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            let number = ready.number();
            let messages = ready.take_messages();
            if self.may_lead() {
                self.send(messages);
            }
            for state in ready.take_read_states() {
                self.note_read(&state.request_ctx, state.index);
            }
            let (now, held) = persist::split(ready.take_persisted_messages());
            self.send(now);
            let committed = ready.take_committed_entries();
            let staged = self.stage(&mut ready);
            self.raw.advance_append_async(ready);
            match staged {
                Some((entries, install)) => self.write(number, entries, install, held),
                None => self.pass(number, held),
            }
            self.apply(committed);
        }
        self.answer_reads();
        self.note_leadership();
        self.compact();
    }

    fn send(&mut self, messages: Vec<Message>) {
        let recovered = self.image().recovered;
        for message in messages {
            let to = NodeId(message.to);
            let wire = wire::raft::write_message(&message, recovered);
            match self.outputs.last_mut() {
                Some(Output::Send(last, batch)) if *last == to => batch.push(wire),
                _ => self.outputs.push(Output::Send(to, vec![wire])),
            }
        }
    }

    fn apply(&mut self, committed: Vec<Entry>) {
        let Some(last) = committed.last().map(|entry| entry.index) else {
            return;
        };
        for entry in &committed {
            let record = match entry.get_entry_type() {
                EntryType::EntryNormal => {
                    let repeats = self.repeats();
                    self.raw.mut_store().apply(entry, repeats)
                }
                kind => self.apply_conf_change(kind, entry),
            };
            self.history.note(entry, &record);
            let image = self.raw.store().image();
            self.writers.note(&record, &image.state);
            self.checkpoints.note(image.index, &image.state);
            self.outputs.push(Output::Applied(record));
        }
        self.raw.advance_apply_to(last);
    }

    fn note_read(&mut self, context: &[u8], index: u64) {
        let own = [
            self.settings.node.0.to_be_bytes(),
            self.settings.run.to_be_bytes(),
        ]
        .concat();
        let read = context
            .strip_prefix(&own[..])
            .and_then(|id| id.try_into().ok())
            .map(u64::from_be_bytes);
        if let Some(read) = read {
            self.reads.push((ReadId(read), Index(index)));
        }
    }

    fn answer_reads(&mut self) {
        let applied = self.image().index;
        let outputs = &mut self.outputs;
        self.reads.retain(|(read, index)| {
            let wait = *index > applied;
            if !wait {
                outputs.push(Output::ReadReady {
                    read: *read,
                    index: *index,
                });
            }
            wait
        });
    }

    /// Who leads. This node does only once its disk knows the term: before, nobody has heard of it, nor
    /// will if the power fails now, and another may lead the term.
    fn led_by(&self) -> Leadership {
        let now = output::leadership(&self.raw);
        if now.role != Role::Leader || self.may_lead() {
            return now;
        }
        Leadership {
            leader: None,
            role: Role::Candidate,
            ..now
        }
    }

    fn note_leadership(&mut self) {
        let now = self.led_by();
        if now != self.leadership {
            self.leadership = now;
            self.outputs.push(Output::Leadership(now));
        }
    }

    #[cfg(not(feature = "bugs"))]
    fn repeats(&self) -> Repeats {
        Repeats::Once
    }

    #[cfg(feature = "bugs")]
    fn repeats(&self) -> Repeats {
        match self.settings.bug {
            Some(Bug::ApplyTwice) => Repeats::Again,
            _ => Repeats::Once,
        }
    }
}

/// Ticks without a leader after which a node no longer knows who may lead: many elections long.
const LOST_TICKS: u32 = 200;
/// Log entries per message, in bytes: enough to use a path of 100 ms, small enough to lose.
const MESSAGE_BYTES_MAX: u64 = 1024 * 1024;
/// Appends on their way to one follower.
const INFLIGHT_MAX: usize = 256;
/// Beyond this, proposals are declined until some commit: a quorum is slow or away.
const UNCOMMITTED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Committed bytes applied at one go.
const APPLY_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
