//! The task: takes events, steps the driver, does what it is told.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use weft_model::{Index, NodeId, RequestId, WallTime};
use weft_proto::peer::RaftBatch;

use super::config::RegistryConfig;
use super::disk_thread::{DiskEvent, DiskThread};
use super::error::{CallError, Failure, Gone, StartError, TransferError};
use super::proposals::{self, Proposals, Reach};
use super::reads::{self, Leader, Reads};
use super::status::{Counters, DiskStatus, Status};
use super::transport::{METHOD_PROPOSE, METHOD_TRANSFER, Transport};
use super::watch::{Changes, Ring};
use super::{Clock, Registry, Shared, call, open};
use crate::driver::{Driver, Input, Leadership, Output, Role, Settings};
use crate::proposal::Proposal;
use crate::replica::{Answer, Record};

/// What reaches the task.
pub(super) enum Event {
    Deliver {
        from: NodeId,
        batch: RaftBatch,
    },
    Propose {
        proposal: Proposal,
        reply: proposals::Reply,
    },
    Read {
        reply: reads::Reply,
    },
    /// A peer forwards a proposal.
    Forwarded {
        proposal: Proposal,
        reply: oneshot::Sender<Bytes>,
    },
    /// What became of a proposal forwarded from here.
    ForwardEnded {
        request: RequestId,
        taken: Result<bool, CallError>,
    },
    Transfer {
        to: NodeId,
        reply: oneshot::Sender<Result<(), TransferError>>,
    },
    /// A peer asks this node, as the leader, to hand over.
    TransferCall {
        to: NodeId,
        reply: oneshot::Sender<Bytes>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

struct Task<T> {
    driver: Driver,
    disk: DiskThread,
    transport: Arc<T>,
    shared: Arc<Shared>,
    /// For tasks that report back.
    events: mpsc::Sender<Event>,
    proposals: Proposals,
    reads: Reads,
    transfers: Vec<Transfer>,
    stopping: Option<Stopping>,
    counters: Counters,
    disk_status: DiskStatus,
    removed: bool,
    /// Proposals that peers forwarded in this step, and who waits to hear of them.
    forwarded: Vec<(RequestId, oneshot::Sender<Bytes>)>,
    /// Proposals that the driver declined in this step.
    declined: Vec<RequestId>,
}

struct Transfer {
    to: NodeId,
    /// When to ask again: a voter that has not applied its last change of the
    /// group yet does not campaign, and the leader gives up on it after an election timeout.
    again: Instant,
    until: Instant,
    reply: oneshot::Sender<Result<(), TransferError>>,
}

struct Stopping {
    replies: Vec<oneshot::Sender<()>>,
    until: Instant,
}

/// Events that may wait for the task.
const EVENTS_MAX: usize = 4096;
/// Events taken in one step: what comes together is written together.
const STEP_MAX: usize = 1024;
/// An attempt that a leader took is repeated after this many ticks: by then it is applied, or the leader is gone.
const PATIENCE_TICKS: u32 = 20;
/// How long a transfer may take.
const TRANSFER_TICKS: u32 = 100;
/// A forwarded proposal whose leader says nothing for this long may be lost.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a leader that shuts down tries to hand over.
const HANDOVER: Duration = Duration::from_secs(2);

pub(super) fn start(
    config: RegistryConfig,
    transport: impl Transport,
) -> Result<Registry, StartError> {
    let RegistryConfig {
        dir,
        start,
        propose_timeout,
        read_timeout,
        snapshot_entries,
        tail_entries,
        watch_changes,
    } = config;
    let (store, stored) = open::open(&dir, start, wall_time())?;
    let (folder, store_id) = (store.folder().clone(), store.id());
    let settings = Settings {
        snapshot_entries,
        tail_entries,
        ..Settings::new(folder.node, rand::random())
    };
    let driver = Driver::open(settings, stored)?;
    let (disk_events, from_disk) = mpsc::unbounded_channel();
    let disk = DiskThread::spawn(store, disk_events).map_err(StartError::Thread)?;
    let index = driver.image().index;
    let shared = Arc::new(Shared {
        folder,
        store: store_id,
        state: arc_swap::ArcSwap::from_pointee(driver.image().state.clone()),
        status: arc_swap::ArcSwap::from_pointee(Status::default()),
        ring: Ring::new(index, watch_changes),
        index: tokio::sync::watch::Sender::new(index),
        failure: tokio::sync::watch::Sender::new(None),
        stopped: std::sync::atomic::AtomicBool::new(false),
        clock: Clock::new(super::config::TICK_MIN),
    });
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let mut task = Task {
        driver,
        disk,
        transport: Arc::new(transport),
        shared: shared.clone(),
        events: events.clone(),
        proposals: Proposals::new(propose_timeout),
        reads: Reads::new(read_timeout),
        transfers: Vec::new(),
        stopping: None,
        counters: Counters::default(),
        disk_status: DiskStatus::default(),
        removed: false,
        forwarded: Vec::new(),
        declined: Vec::new(),
    };
    // What the log holds beyond the snapshot is applied before anybody asks.
    task.carry_out();
    task.publish_status();
    tokio::spawn(task.run(inbox, from_disk));
    Ok(Registry { shared, events })
}

impl<T: Transport> Task<T> {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Event>,
        mut from_disk: mpsc::UnboundedReceiver<DiskEvent>,
    ) {
        let mut tick = self.shared.clock.tick();
        let mut ticks = ticker(tick);
        let end = loop {
            if self.shared.clock.tick() != tick {
                tick = self.shared.clock.tick();
                ticks = ticker(tick);
            }
            tokio::select! {
                biased;
                event = from_disk.recv() => match event {
                    Some(DiskEvent::Persisted { batch, entries, took }) => {
                        self.disk_status.count(entries, took);
                        self.driver.handle(Input::Persisted { batch });
                    }
                    Some(DiskEvent::Failed(error)) => break Some(Failure::Disk(error)),
                    None => break Some(Failure::DiskThread),
                },
                _ = ticks.tick() => self.handle_tick(),
                Some(event) = inbox.recv() => {
                    self.handle(event);
                    for _ in 1..STEP_MAX {
                        match inbox.try_recv() {
                            Ok(event) => self.handle(event),
                            Err(_) => break,
                        }
                    }
                }
            }
            self.step();
            if self.has_stopped() {
                break None;
            }
        };
        self.end(end.map(Arc::new));
    }

    /// Steps the driver until it wants nothing more.
    fn step(&mut self) {
        let now = Instant::now();
        self.send_due(now);
        self.carry_out();
        self.answer_forwarded();
        for request in std::mem::take(&mut self.declined) {
            self.proposals.declined(now, &request);
        }
        self.settle_transfers(now);
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Deliver { from, batch } => {
                let led_by = self.driver.leadership().leader;
                if led_by == Some(from) {
                    self.shared.clock.hear();
                }
                for message in batch.messages {
                    self.driver.handle(Input::Message { from, message });
                }
            }
            Event::Propose { proposal, reply } => {
                self.counters.proposed += 1;
                self.proposals.add(now, proposal, reply);
            }
            Event::Read { reply } => {
                self.counters.reads += 1;
                self.reads.add(now, reply);
            }
            Event::Forwarded { proposal, reply } => self.take_forwarded(proposal, reply),
            Event::ForwardEnded { request, taken } => match taken {
                Ok(true) => self.proposals.reached(&request),
                Ok(false) => self.proposals.declined(now, &request),
                Err(error) => {
                    tracing::debug!(%request, %error, "a forwarded proposal has no answer");
                    self.proposals.reached(&request);
                    self.proposals.declined(now, &request);
                }
            },
            Event::Transfer { to, reply } => self.begin_transfer(now, to, reply),
            Event::TransferCall { to, reply } => {
                let leads = self.leads();
                if leads {
                    self.driver.handle(Input::Transfer { to });
                }
                let _ = reply.send(call::transfer_answer(leads));
            }
            Event::Shutdown { reply } => self.begin_stopping(now, reply),
        }
    }

    fn handle_tick(&mut self) {
        let now = Instant::now();
        if self.leads() {
            self.shared.clock.hear();
        }
        self.driver.handle(Input::Tick);
        self.counters.timed_out += self.proposals.expire(now);
        let leader = match self.driver.leadership().leader {
            Some(_) => Leader::Known,
            None => Leader::Unknown,
        };
        self.reads.expire(now, leader);
        self.publish_status();
    }

    fn leads(&self) -> bool {
        self.driver.leadership().role == Role::Leader
    }

    /// Sends what is due to whoever leads.
    fn send_due(&mut self, now: Instant) {
        let Some(leader) = self.driver.leadership().leader else {
            return;
        };
        let patience = self.shared.clock.tick() * PATIENCE_TICKS;
        for (proposal, reach) in self.proposals.take_due(now, patience) {
            if reach == Reach::MaybeLeader {
                self.counters.retried += 1;
            }
            if self.leads() {
                self.proposals.reached(&proposal.request());
                let now = wall_time();
                self.driver.handle(Input::Propose { proposal, now });
            } else {
                self.forward(leader, proposal);
            }
        }
        if let Some(read) = self.reads.take_due(now, patience) {
            self.driver.handle(Input::Read { read });
        }
    }

    fn forward(&self, leader: NodeId, proposal: Proposal) {
        let (transport, events) = (self.transport.clone(), self.events.clone());
        tokio::spawn(async move {
            let request = proposal.request();
            let call = transport.call(leader, METHOD_PROPOSE, proposal.encode());
            let taken = match tokio::time::timeout(CALL_TIMEOUT, call).await {
                Ok(Ok(body)) => call::read_propose_answer(body).map(|answer| answer.taken),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(CallError::Peer(format!("nothing for {CALL_TIMEOUT:?}"))),
            };
            let _ = events.send(Event::ForwardEnded { request, taken }).await;
        });
    }

    /// Taken like an own one; whether it was shows once the step is done.
    fn take_forwarded(&mut self, proposal: Proposal, reply: oneshot::Sender<Bytes>) {
        self.counters.forwarded += 1;
        self.forwarded.push((proposal.request(), reply));
        let now = wall_time();
        self.driver.handle(Input::Propose { proposal, now });
    }

    /// Tells those who forwarded proposals in this step whether they were taken.
    fn answer_forwarded(&mut self) {
        let leader = self.driver.leadership().leader;
        for (request, reply) in self.forwarded.drain(..) {
            let taken = !self.declined.contains(&request);
            let _ = reply.send(call::propose_answer(taken, leader));
        }
    }

    /// Does what the driver wants, until it wants nothing more.
    fn carry_out(&mut self) {
        let mut applied = None;
        for output in self.driver.take_outputs() {
            match output {
                Output::Send(to, messages) => self.transport.send(to, RaftBatch { messages }),
                Output::Persist(batch) => self.disk.write(batch),
                Output::Applied(record) => {
                    applied = Some(record.index);
                    self.note_applied(record);
                }
                Output::Installed { index } => {
                    self.counters.installed += 1;
                    self.shared.ring.restart(index);
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
                    tracing::warn!(%from, %suspicion, "dropped a message that no correct peer sends");
                }
            }
        }
        self.publish(applied);
    }

    /// Makes what was applied visible, before anybody is told of it.
    fn publish(&self, applied: Option<Index>) {
        if let Some(index) = applied {
            let state = self.driver.image().state.clone();
            self.shared.state.store(Arc::new(state));
            self.shared.index.send_replace(index);
        }
    }

    fn note_applied(&mut self, record: Record) {
        let Record {
            index,
            checksum: _,
            request,
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
        if !events.is_empty() {
            let events = events.into();
            self.shared.ring.push(Changes { index, events });
        }
        if let (Some(request), Some(answer)) = (request, answer) {
            self.publish(Some(index));
            self.proposals.answer(index, &request, &answer);
        }
    }

    fn note_leadership(&mut self, leadership: Leadership) {
        self.counters.leader_changes += 1;
        tracing::info!(leader = ?leadership.leader, term = leadership.term, "leadership");
        if leadership.leader.is_some() {
            self.proposals.hurry(Instant::now());
        }
        self.publish_status();
    }

    fn publish_status(&self) {
        let status = Status {
            raft: self.driver.status(),
            removed: self.removed,
            tick: self.shared.clock.tick(),
            disk: self.disk_status,
            counters: self.counters,
            waiting: self.proposals.len(),
        };
        self.shared.status.store(Arc::new(status));
    }

    fn begin_transfer(
        &mut self,
        now: Instant,
        to: NodeId,
        reply: oneshot::Sender<Result<(), TransferError>>,
    ) {
        let leader = self.driver.leadership().leader;
        let is_voter = self.driver.status().voters.contains(&to);
        let refused = match leader {
            _ if !is_voter => Some(TransferError::NotAVoter(to)),
            None => Some(TransferError::NoLeader),
            Some(_) => None,
        };
        if let Some(error) = refused {
            let _ = reply.send(Err(error));
            return;
        }
        let until = now + self.shared.clock.tick() * TRANSFER_TICKS;
        self.transfers.push(Transfer {
            to,
            again: now,
            until,
            reply,
        });
    }

    fn request_transfer(&mut self, to: NodeId) {
        if self.leads() {
            self.driver.handle(Input::Transfer { to });
            return;
        }
        let leader = self.driver.leadership().leader;
        if let Some(leader) = leader.filter(|leader| *leader != to) {
            let transport = self.transport.clone();
            tokio::spawn(async move {
                let body = call::transfer_request(to);
                let call = transport.call(leader, METHOD_TRANSFER, body);
                // Whether it worked shows in who leads.
                let _ = tokio::time::timeout(CALL_TIMEOUT, call).await;
            });
        }
    }

    fn settle_transfers(&mut self, now: Instant) {
        let leader = self.driver.leadership().leader;
        let done = |transfer: &mut Transfer| leader == Some(transfer.to) || transfer.until <= now;
        for transfer in self.transfers.extract_if(.., done) {
            let result = match leader == Some(transfer.to) {
                true => Ok(()),
                false => Err(TransferError::Timeout(transfer.to)),
            };
            let _ = transfer.reply.send(result);
        }
        let pause = self.shared.clock.tick() * PATIENCE_TICKS;
        let mut due = Vec::new();
        for transfer in self.transfers.iter_mut().filter(|t| t.again <= now) {
            transfer.again = now + pause;
            due.push(transfer.to);
        }
        for to in due {
            self.request_transfer(to);
        }
    }

    fn begin_stopping(&mut self, now: Instant, reply: oneshot::Sender<()>) {
        let stopping = self.stopping.get_or_insert_with(|| Stopping {
            replies: Vec::new(),
            until: now + HANDOVER,
        });
        stopping.replies.push(reply);
        if let Some(to) = self.leads().then(|| self.driver.successor()).flatten() {
            self.driver.handle(Input::Transfer { to });
        }
    }

    /// Whether a shutdown has come to its end: somebody else leads, or nobody can.
    fn has_stopped(&self) -> bool {
        let Some(stopping) = &self.stopping else {
            return false;
        };
        let handing_over = self.leads() && self.driver.successor().is_some();
        !handing_over || stopping.until <= Instant::now()
    }

    fn end(mut self, failure: Option<Arc<Failure>>) {
        let gone = match &failure {
            Some(failure) => {
                tracing::error!(error = %failure, "the registry stops: nothing more is acknowledged");
                Gone::Failed(failure.clone())
            }
            None => Gone::Stopped,
        };
        self.proposals.fail(&gone.clone().into());
        self.reads.fail(&gone.into());
        for transfer in self.transfers.drain(..) {
            let _ = transfer.reply.send(Err(TransferError::Stopped));
        }
        self.disk.close();
        self.shared
            .stopped
            .store(true, std::sync::atomic::Ordering::Release);
        self.shared.index.send_modify(|_| {});
        if failure.is_some() {
            self.shared.failure.send_replace(failure);
        }
        for reply in self.stopping.into_iter().flat_map(|s| s.replies) {
            let _ = reply.send(());
        }
    }
}

fn ticker(tick: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + tick, tick);
    // A node that was stopped for a while is late, not many ticks older.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Read here, in the shell, and nowhere else.
fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    WallTime(u64::try_from(millis).unwrap_or(u64::MAX))
}
