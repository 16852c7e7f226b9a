//! The shell around the driver: one task on the caller's runtime, one thread for the disk.

mod agreement;
mod call;
mod config;
mod disk_thread;
mod error;
mod history;
mod open;
mod proposals;
mod reads;
mod shares;
mod status;
mod task;
mod transport;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch as latest};
use weft_model::{Federation, Index, NodeId};
use weft_proto::peer::{ProposeAnswer, RaftBatch};

pub use config::{RegistryConfig, Start};
pub use error::{CallError, Failure, ProposeError, ReadError, StartError, TransferError};
pub use history::{HistoryError, HistoryPage, HistorySpan, Revision};
pub use open::found;
#[cfg(test)]
pub(crate) use open::tests::founding as founding_for_tests;
pub use status::{Counters, DiskStatus, Standing, Status};
pub use transport::{METHOD_DIGESTS, METHOD_PROPOSE, METHOD_TRANSFER, Transport};
pub use watch::Watch;

use crate::backup::Backup;
use crate::disk::{Archive, Folder, Room, StoreId};
use crate::proposal::Proposal;
use crate::watch::Ring;
use shares::{Share, Shares};
use task::Event;

/// A running registry node. Clones are handles to the same one.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
}

/// What handles read without asking the task.
struct Shared {
    folder: Folder,
    store: StoreId,
    state: ArcSwap<Federation>,
    status: ArcSwap<Status>,
    ring: Ring,
    /// What the ring has no room for.
    archive: Archive,
    /// The last row of history on the disk.
    written: latest::Sender<Index>,
    index: latest::Sender<Index>,
    failure: latest::Sender<Option<Arc<Failure>>>,
    room: latest::Receiver<Room>,
    /// What other clusters have under way here while this node leads.
    shares: Shares,
    /// Set when the task ends; watchers are woken after that.
    stopped: AtomicBool,
    clock: Clock,
}

/// When the leader was last heard, on the monotonic clock.
struct Clock {
    start: Instant,
    /// How long the leader had been silent when this run began.
    silent_before: Duration,
    /// Since the start; [`NEVER`] before the leader was heard in this run.
    heard_millis: AtomicU64,
    tick_micros: AtomicU64,
}

const NEVER: u64 = u64::MAX;

/// How far this node is, and how old its knowledge may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedHere {
    /// The last position applied here.
    pub index: Index,
    /// How long ago the leader was last heard, be it by an earlier run; zero on the leader itself.
    pub age: Duration,
    /// Whether this run has heard a leader.
    pub heard: bool,
}

impl AppliedHere {
    /// How long the leader has been silent as far as this run can vouch for it: for ever
    /// if it has heard none. What an earlier run heard is told by wall clocks, and
    /// nothing that is judged may rest on those.
    pub fn silence(&self) -> Duration {
        match self.heard {
            true => self.age,
            false => Duration::MAX,
        }
    }
}

impl Registry {
    /// Opens or makes the state folder and starts to take part.
    ///
    /// Runs on the current tokio runtime. The state that the folder holds is
    /// there when this returns, with nobody reachable.
    pub fn start(config: RegistryConfig, transport: impl Transport) -> Result<Self, StartError> {
        task::start(config, transport)
    }

    /// The federation as applied here. Never waits.
    pub fn state(&self) -> Arc<Federation> {
        self.shared.state.load_full()
    }

    /// How far this node is, and how old that may be.
    pub fn applied(&self) -> AppliedHere {
        AppliedHere {
            index: *self.shared.index.borrow(),
            age: self.shared.clock.age(),
            heard: self.shared.clock.heard().is_some(),
        }
    }

    /// Hears up to where the disk knows what is committed: what a restart finds again, with
    /// nobody reachable. It follows [`AppliedHere::index`] by a tick and a write.
    pub fn written(&self) -> latest::Receiver<Index> {
        self.shared.written.subscribe()
    }

    /// Proposes a signed entry: forwarded to the leader, retried under its request
    /// id, answered once it is applied here.
    pub async fn propose(&self, proposal: Proposal) -> Result<Index, ProposeError> {
        if !proposal.fits() {
            return Err(ProposeError::TooLarge {
                bytes: proposal.bytes(),
                max: crate::wire::ENTRY_BYTES_MAX,
            });
        }
        let (reply, answer) = oneshot::channel();
        let event = Event::Propose { proposal, reply };
        let sent = self.events.send(event).await;
        match sent {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.gone().into())),
            Err(_) => Err(self.gone().into()),
        }
    }

    /// What is committed now, once it is applied here: reads of [`Self::state`]
    /// after this are linearizable.
    pub async fn read_index(&self) -> Result<Index, ReadError> {
        let (reply, answer) = oneshot::channel();
        match self.events.send(Event::Read { reply }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.gone().into())),
            Err(_) => Err(self.gone().into()),
        }
    }

    /// The entries after `from` that changed something or were refused, in order and without a gap.
    ///
    /// A position from another registry, or from before this one was founded anew, may stand for
    /// another entry here: compare `recovered` of [`Self::status`] first.
    pub fn watch(&self, from: Index) -> Watch {
        Watch::new(self.shared.clone(), from)
    }

    /// The applied index, for those who only want to know that something changed.
    pub fn changed(&self) -> latest::Receiver<Index> {
        self.shared.index.subscribe()
    }

    /// The room on its disk. With less than enough the registry only reads:
    /// [`Self::propose`] is refused, and what others commit is still applied while it can be written.
    pub fn room(&self) -> Room {
        *self.shared.room.borrow()
    }

    /// Numbers for operators, at most a tick old.
    pub fn status(&self) -> Arc<Status> {
        self.shared.status.load_full()
    }

    /// What the transport received from a peer whose identity it has proved.
    /// Never blocks; drops what comes faster than it can be taken.
    pub fn deliver(&self, from: NodeId, batch: RaftBatch) {
        // Raft sends again what is lost.
        let _ = self.events.try_send(Event::Deliver { from, batch });
    }

    /// Answers a call that a peer's transport made.
    pub async fn answer(
        &self,
        from: NodeId,
        method: &str,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let (reply, answer) = oneshot::channel();
        let mut held = None;
        let event = match method {
            METHOD_PROPOSE => {
                let proposal = Proposal::decode(body)?;
                match self.admit(from, &proposal).await {
                    Share::Free => {}
                    Share::There => return Ok(self.unread(true)),
                    Share::Spent => return Ok(self.unread(false)),
                }
                held = Some(self.shared.shares.hold(proposal.request()));
                Event::Forwarded { proposal, reply }
            }
            METHOD_TRANSFER => Event::TransferCall {
                from,
                to: call::read_transfer(body)?,
                reply,
            },
            METHOD_DIGESTS => Event::DigestsCall {
                at: call::read_digests_request(body)?,
                reply,
            },
            _ => return Err(CallError::Method(method.to_owned())),
        };
        self.events
            .send(event)
            .await
            .map_err(|_| CallError::Stopped)?;
        if let Some(held) = held {
            held.hand_over();
        }
        answer.await.map_err(|_| CallError::Stopped)
    }

    /// Takes a forwarded proposal into the share of the cluster that it comes from.
    async fn admit(&self, from: NodeId, proposal: &Proposal) -> Share {
        let cluster = {
            let state = self.shared.state.load();
            state.node(from).map(|node| node.cluster.clone())
        };
        match cluster {
            Some(cluster) => {
                let (request, bytes) = (proposal.request(), proposal.bytes());
                self.shared.shares.enter(&cluster, request, bytes).await
            }
            None => Share::Spent,
        }
    }

    /// The answer to a forwarded proposal that the task never sees.
    fn unread(&self, taken: bool) -> Bytes {
        let leader = self.shared.status.load().raft.leadership.leader;
        call::propose_answer(&ProposeAnswer {
            taken,
            leader: leader.map_or(0, |leader| leader.0),
            ..ProposeAnswer::default()
        })
    }

    /// The longest round trip to another voter, as measured: ticks follow it.
    pub fn set_rtt(&self, rtt: Duration) {
        let micros = u64::try_from(config::tick_for(rtt).as_micros()).unwrap_or(u64::MAX);
        self.shared
            .clock
            .tick_micros
            .store(micros, Ordering::Relaxed);
    }

    /// Hands leadership to a voter, and waits until it leads.
    pub async fn transfer(&self, to: NodeId) -> Result<(), TransferError> {
        let (reply, answer) = oneshot::channel();
        match self.events.send(Event::Transfer { to, reply }).await {
            Ok(()) => answer.await.unwrap_or(Err(TransferError::Stopped)),
            Err(_) => Err(TransferError::Stopped),
        }
    }

    /// While this follower knows nothing, it takes a state from these alone.
    pub async fn heed(&self, nodes: BTreeSet<NodeId>) {
        // One that has stopped heeds nobody.
        let _ = self.events.send(Event::Heed(nodes)).await;
    }

    /// Has the leader's state take the place of this replica's. Only a fenced one does.
    pub async fn repair(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        match self.events.send(Event::Repair { reply }).await {
            Ok(()) => answer.await.unwrap_or(false),
            Err(_) => false,
        }
    }

    /// All that is applied here, to be kept elsewhere.
    pub async fn backup(&self) -> Result<Backup, ReadError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.events.send(Event::Image { reply }).await;
        let image = match sent {
            Ok(()) => answer.await.map_err(|_| self.gone())?,
            Err(_) => return Err(self.gone().into()),
        };
        Ok(Backup {
            domain: self.shared.folder.domain.clone(),
            time: task::wall_time(),
            image,
        })
    }

    /// Hands leadership over if it is here, writes what is under way, and stops.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.events.send(Event::Shutdown { reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Returns when the registry has stopped by itself, with the reason. The
    /// process must end then: what it would say from there on could be untrue.
    pub async fn failed(&self) -> Arc<Failure> {
        let mut failure = self.shared.failure.subscribe();
        loop {
            if let Some(failure) = failure.borrow_and_update().clone() {
                return failure;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whose state folder it runs on.
    pub fn folder(&self) -> &Folder {
        &self.shared.folder
    }

    /// Which state folder it runs on.
    pub fn store(&self) -> StoreId {
        self.shared.store
    }

    fn gone(&self) -> error::Gone {
        match self.shared.failure.borrow().clone() {
            Some(failure) => error::Gone::Failed(failure),
            None => error::Gone::Stopped,
        }
    }
}

impl Clock {
    fn new(tick: Duration, silent_before: Duration) -> Self {
        Self {
            start: Instant::now(),
            silent_before,
            heard_millis: AtomicU64::new(NEVER),
            tick_micros: AtomicU64::new(u64::try_from(tick.as_micros()).unwrap_or(u64::MAX)),
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn hear(&self) {
        self.heard_millis.store(self.millis(), Ordering::Relaxed);
    }

    /// Since the start; none if the leader was not heard in this run.
    fn heard(&self) -> Option<u64> {
        let heard = self.heard_millis.load(Ordering::Relaxed);
        (heard != NEVER).then_some(heard)
    }

    fn age(&self) -> Duration {
        let millis = self.millis();
        match self.heard() {
            Some(heard) => Duration::from_millis(millis.saturating_sub(heard)),
            None => Duration::from_millis(millis).saturating_add(self.silent_before),
        }
    }

    fn tick(&self) -> Duration {
        Duration::from_micros(self.tick_micros.load(Ordering::Relaxed))
    }
}
