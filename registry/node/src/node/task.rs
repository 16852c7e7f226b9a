//! The task: takes events, steps the driver, does what it is told.

mod agree;
mod forwarded;
mod handover;
mod outputs;
mod room;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use weft_model::{Index, NodeId, Refusal, RequestId, WallTime};
use weft_proto::peer::{ProposeAnswer, RaftBatch};

use super::agreement::Comparison;
use super::config::{RegistryConfig, Start};
use super::disk_thread::{DiskEvent, DiskThread};
use super::error::{CallError, Failure, Gone, StartError, TransferError};
use super::proposals::{self, Proposals, Reach};
use super::reads::{self, Leader, Reads};
use super::shares::Shares;
use super::status::{Counters, DiskStatus, Status};
use super::transport::{METHOD_PROPOSE, Transport};
use super::{Clock, Registry, Shared, call, open};
use crate::agreement::{Agreement, Digests};
use crate::driver::{Driver, Following, Input, Role, Settings};
use crate::image::Image;
use crate::proposal::Proposal;
use crate::watch::Ring;

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
    /// A peer forwards a proposal, which is in its cluster's share.
    Forwarded {
        proposal: Proposal,
        reply: oneshot::Sender<Bytes>,
    },
    /// What became of a proposal forwarded from here.
    ForwardEnded {
        request: RequestId,
        leader: NodeId,
        answer: Result<ProposeAnswer, CallError>,
    },
    Transfer {
        to: NodeId,
        reply: oneshot::Sender<Result<(), TransferError>>,
    },
    /// A peer asks this node, as the leader, to hand over.
    TransferCall {
        from: NodeId,
        to: NodeId,
        reply: oneshot::Sender<Bytes>,
    },
    /// A peer compares its state with this node's.
    DigestsCall {
        at: Vec<Index>,
        reply: oneshot::Sender<Bytes>,
    },
    /// What a comparison that was begun here came to.
    Compared {
        /// How often the state had jumped when it began.
        jumps: u64,
        own: Digests,
        agreement: Agreement,
        fenced: Vec<NodeId>,
    },
    /// Whom a follower believes while it knows nothing.
    Heed(BTreeSet<NodeId>),
    Repair {
        reply: oneshot::Sender<bool>,
    },
    /// Somebody wants all that is applied here.
    Image {
        reply: oneshot::Sender<Image>,
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
    comparison: Comparison,
    removed: bool,
    /// Proposals that peers forwarded in this step, and who waits to hear of them.
    forwarded: Vec<(RequestId, oneshot::Sender<Bytes>)>,
    /// Proposals that the driver declined in this step.
    declined: Vec<RequestId>,
    /// Those that were not given to it, since no log should hold them, and why.
    foreseen: Vec<(RequestId, Refusal)>,
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
        compare_every,
        history,
        silent_before,
    } = config;
    let following = match &start {
        Start::Follow { heeds, .. } => Some(Following {
            heeds: heeds.clone(),
        }),
        Start::Found(_) | Start::Join { .. } | Start::Resume(_) => None,
    };
    let (store, stored) = open::open(&dir, start, wall_time())?;
    let (folder, store_id) = (store.folder().clone(), store.id());
    let settings = Settings {
        snapshot_entries,
        tail_entries,
        history,
        following,
        ..Settings::new(folder.node, rand::random())
    };
    let written = Index(stored.last_row.max(stored.history.unwrap_or(0)));
    let driver = Driver::open(settings, stored)?;
    let archive = store.archive();
    let (disk_events, from_disk) = mpsc::unbounded_channel();
    let disk = DiskThread::spawn(store, disk_events).map_err(StartError::Thread)?;
    let index = driver.image().index;
    let shared = Arc::new(Shared {
        folder,
        store: store_id,
        state: arc_swap::ArcSwap::from_pointee(driver.image().state.clone()),
        status: arc_swap::ArcSwap::from_pointee(Status::default()),
        ring: Ring::new(index, watch_changes),
        archive,
        written: tokio::sync::watch::Sender::new(written),
        index: tokio::sync::watch::Sender::new(index),
        failure: tokio::sync::watch::Sender::new(None),
        room: disk.room(),
        shares: Shares::default(),
        stopped: std::sync::atomic::AtomicBool::new(false),
        clock: Clock::new(super::config::TICK_MIN, silent_before),
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
        comparison: Comparison::new(Instant::now(), compare_every),
        removed: false,
        forwarded: Vec::new(),
        declined: Vec::new(),
        foreseen: Vec::new(),
    };
    task.note_room();
    if let Some(index) = task.driver.fenced() {
        tracing::error!(code = "WEFT-6035", %index, "this replica is fenced, and a restart does not repair it");
    }
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
        let mut room = self.disk.room();
        let end = loop {
            if self.shared.clock.tick() != tick {
                tick = self.shared.clock.tick();
                ticks = ticker(tick);
            }
            tokio::select! {
                biased;
                event = from_disk.recv() => match event {
                    Some(DiskEvent::Persisted { batch, entries, row, took }) => {
                        self.disk_status.count(entries, took);
                        if let Some(row) = row {
                            self.shared.written.send_replace(Index(row));
                        }
                        self.driver.handle(Input::Persisted { batch });
                    }
                    Some(DiskEvent::Failed(error)) => break Some(Failure::Disk(error)),
                    None => break Some(Failure::DiskThread),
                },
                _ = ticks.tick() => self.handle_tick(),
                Ok(()) = room.changed() => self.note_room(),
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
        let own = self.shared.folder.node;
        for (request, refusal) in std::mem::take(&mut self.foreseen) {
            self.proposals
                .declined_for_good(now, &request, own, refusal);
        }
        self.settle_transfers(now);
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Deliver { from, batch } => {
                let led_by = self.driver.leadership().leader;
                if led_by == Some(from) && self.driver.fenced().is_none() {
                    self.shared.clock.hear();
                }
                for message in batch.messages {
                    self.driver.handle(Input::Message { from, message });
                }
            }
            Event::Propose { proposal, reply } => {
                self.counters.proposed += 1;
                self.take_proposal(now, proposal, reply);
            }
            Event::Read { reply } => {
                self.counters.reads += 1;
                self.reads.add(now, reply);
            }
            Event::Forwarded { proposal, reply } => self.take_forwarded(proposal, reply),
            Event::ForwardEnded {
                request,
                leader,
                answer,
            } => self.note_forwarded(now, request, leader, answer),
            Event::Transfer { to, reply } => self.begin_transfer(now, to, reply),
            Event::TransferCall { from, to, reply } => {
                let begun = self.leads() && self.may_move_leadership(from);
                if begun {
                    self.driver.handle(Input::Transfer { to });
                }
                let _ = reply.send(call::transfer_answer(begun));
            }
            Event::DigestsCall { at, reply } => self.answer_digests(&at, reply),
            Event::Compared {
                jumps,
                own,
                agreement,
                fenced,
            } => {
                if self.comparison.end(jumps, own) {
                    self.comparison.fenced_peers = fenced;
                    self.note_compared(agreement);
                }
            }
            Event::Heed(nodes) => self.driver.handle(Input::Heed(nodes)),
            Event::Repair { reply } => {
                let _ = reply.send(self.begin_repair());
            }
            Event::Image { reply } => {
                let _ = reply.send(self.driver.image().clone());
            }
            Event::Shutdown { reply } => self.begin_stopping(now, reply),
        }
    }

    fn handle_tick(&mut self) {
        let now = Instant::now();
        if self.leads() && self.driver.fenced().is_none() {
            self.shared.clock.hear();
        }
        if self.comparison.begin(now) {
            self.compare();
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
            // Also before it is forwarded: a leader of an older build would read less of it.
            let request = proposal.request();
            if let Some(refusal) = self.driver.foresees(&proposal) {
                self.foreseen.push((request, refusal));
                continue;
            }
            self.proposals.passed(&request, self.shared.folder.node);
            if self.leads() {
                self.proposals.reached(&request);
                self.note_own_write();
                let now = wall_time();
                self.driver.handle(Input::Propose { proposal, now });
            } else {
                self.proposals.sent(request);
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
            let answer = match tokio::time::timeout(CALL_TIMEOUT, call).await {
                Ok(Ok(body)) => call::read_propose_answer(body),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(CallError::Peer(format!("nothing for {CALL_TIMEOUT:?}"))),
            };
            let ended = Event::ForwardEnded {
                request,
                leader,
                answer,
            };
            let _ = events.send(ended).await;
        });
    }

    fn note_forwarded(
        &mut self,
        now: Instant,
        request: RequestId,
        leader: NodeId,
        answer: Result<ProposeAnswer, CallError>,
    ) {
        self.proposals.returned(&request);
        // What one says that leads no more holds for itself alone.
        let leads = self.driver.leadership().leader == Some(leader);
        match answer {
            Ok(answer) if answer.taken => self.proposals.reached(&request),
            Ok(_) if !leads => self.proposals.declined(now, &request),
            Ok(answer) if answer.no_room => {
                self.proposals.declined_for_room(now, &request, leader);
            }
            Ok(answer) if let Some(refusal) = call::foreseen(&answer) => {
                self.proposals
                    .declined_for_good(now, &request, leader, refusal);
            }
            Ok(_) => self.proposals.declined(now, &request),
            Err(error) => {
                tracing::debug!(%request, %error, "a forwarded proposal has no answer");
                self.proposals.reached(&request);
                self.proposals.declined(now, &request);
            }
        }
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
        self.shared.written.send_modify(|_| {});
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
pub(super) fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    WallTime(u64::try_from(millis).unwrap_or(u64::MAX))
}
