//! The client: one session per gateway, one table out of all.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use weft_decide::{Place, ServiceTable};
use weft_model::{Endpoint, EndpointId, GatewayName, ServiceKey};

use super::disk;
use super::merge::{Bundles, Merge};
use super::own::Own;
use super::rest::Rest;
use super::session;
use crate::health::Verdict;
use crate::{RelaySession, RelaySessions, TableSource, Taken, Taps, Traffic};

/// Changes are gathered for this long at least before a table is built of them.
const GATHER: Duration = Duration::from_millis(10);
/// The state on disk is replaced at most this often.
const DISK_INTERVAL: Duration = Duration::from_secs(3);

/// Why a gateway could not be reached.
pub type ConnectError = Box<dyn std::error::Error + Send + Sync>;

/// Opens a channel to the gateway at an address (`host:port`), with this
/// workload's identity, to a gateway of its own cluster.
pub type Connect = Arc<
    dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<Channel, ConnectError>> + Send>>
        + Send
        + Sync,
>;

/// Which services' endpoints this sidecar wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Interest {
    /// Of all services it may see.
    #[default]
    Everything,
    /// Of the named ones; [`CatalogClient::want`] adds to them.
    Services(BTreeSet<ServiceKey>),
}

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where this sidecar is.
    pub place: Place,
    /// API addresses (`host:port`) of its cluster's gateways.
    pub gateways: Vec<String>,
    /// Which endpoints it wants.
    pub interest: Interest,
    /// Where the last state is kept; without it, a start with nobody reachable knows nothing.
    pub state_file: Option<PathBuf>,
}

/// How a session with a gateway stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionStatus {
    /// The gateway's name, once it was heard.
    pub gateway: Option<GatewayName>,
    /// Whether the session is open and its state whole.
    pub synced: bool,
    /// Sessions opened so far.
    pub sessions: u64,
    /// Snapshots received so far; fewer than sessions if some were resumed.
    pub snapshots: u64,
    /// Why the last session ended, or the gateway refused an endpoint.
    pub trouble: Option<String>,
}

/// The sidecar's catalog client. Clones share it.
#[derive(Clone)]
pub struct CatalogClient {
    shared: Arc<Shared>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

/// What the client's tasks share.
pub(super) struct Shared {
    pub(super) config: ClientConfig,
    pub(super) connect: Connect,
    pub(super) merge: Mutex<Merge>,
    pub(super) dirty: Notify,
    pub(super) own: watch::Sender<Own>,
    pub(super) interest: watch::Sender<Interest>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) status: Mutex<BTreeMap<String, SessionStatus>>,
    sessions: Mutex<BTreeMap<String, Arc<RelaySession>>>,
    relays: RelaySessions,
    table: TableSource,
    bundles: watch::Sender<Bundles>,
    /// What is reported, once there is something.
    traffic: OnceLock<Traffic>,
    /// The gateway that is told: one of them, so that sums over all count nothing twice.
    reporter: Mutex<Option<String>>,
}

impl CatalogClient {
    /// Reads the last state from disk and starts a session with every gateway.
    /// Blocks on the disk; call it while starting, inside a runtime.
    pub fn start(config: ClientConfig, connect: Connect) -> Self {
        let mut merge = Merge::new(config.place.clone());
        if let Some(path) = &config.state_file {
            match disk::load(path, &config.place) {
                Ok(state) => state.into_iter().for_each(|state| merge.restore(state)),
                Err(why) => {
                    tracing::warn!(path = %path.display(), %why, "starting without the last state");
                }
            }
        }
        let shared = Arc::new(Shared {
            table: TableSource::new(ServiceTable::empty(config.place.clone())),
            bundles: watch::Sender::new(merge.bundles()),
            interest: watch::Sender::new(config.interest.clone()),
            connect,
            merge: Mutex::new(merge),
            dirty: Notify::new(),
            own: watch::Sender::new(Own::default()),
            closing: watch::Sender::new(false),
            status: Mutex::new(unopened(&config)),
            sessions: Mutex::default(),
            relays: RelaySessions::default(),
            traffic: OnceLock::new(),
            reporter: Mutex::default(),
            config,
        });
        shared.publish();
        let mut tasks = JoinSet::new();
        for address in shared.config.gateways.clone() {
            tasks.spawn(session::keep(Arc::clone(&shared), address));
        }
        tokio::spawn(publish(Arc::clone(&shared)));
        let tasks = Arc::new(Mutex::new(tasks));
        Self { shared, tasks }
    }

    /// Where the current table of services is.
    pub fn table(&self) -> TableSource {
        self.shared.table.clone()
    }

    /// The sessions with which gateways relay for this sidecar.
    pub fn relays(&self) -> RelaySessions {
        self.shared.relays.clone()
    }

    /// The bundles of all trust domains.
    pub fn bundles(&self) -> watch::Receiver<Bundles> {
        self.shared.bundles.subscribe()
    }

    /// Registers or changes an endpoint of this process. Its sequence is counted here.
    pub fn register(&self, endpoint: Endpoint) {
        self.shared.own.send_modify(|own| own.put(endpoint));
    }

    /// Tells the health of an endpoint, and why it is so.
    pub fn set_health(&self, id: EndpointId, verdict: impl Into<Verdict>) {
        let verdict = verdict.into();
        self.shared
            .own
            .send_if_modified(|own| own.set_health(id, verdict));
    }

    /// Wants the endpoints of `service` as well, if it does not want all.
    pub fn want(&self, service: ServiceKey) {
        self.shared
            .interest
            .send_if_modified(|interest| match interest {
                Interest::Everything => false,
                Interest::Services(named) => named.insert(service),
            });
    }

    /// Reports this traffic to one of the gateways from now on, and shows it to those who ask. The
    /// first one told counts.
    pub fn report(&self, traffic: Traffic) {
        let _told_before = self.shared.traffic.set(traffic);
    }

    /// Lets all endpoints drain: no new work, running work may finish.
    pub fn drain(&self) {
        self.shared.own.send_modify(Own::drain);
    }

    /// Ends all endpoints and all sessions; returns once every gateway that can
    /// be reached has heard it, or after `patience`.
    pub async fn withdraw(&self, patience: Duration) {
        self.shared.own.send_modify(Own::withdraw);
        self.shared.closing.send_replace(true);
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("not every gateway has heard that this workload ends");
        }
    }

    /// How the sessions stand, by the gateways' addresses.
    pub fn status(&self) -> BTreeMap<String, SessionStatus> {
        lock(&self.shared.status).clone()
    }
}

impl Shared {
    /// Changes the status of the session with the gateway at `address`.
    pub(super) fn note(&self, address: &str, change: impl FnOnce(&mut SessionStatus)) {
        change(lock(&self.status).entry(address.to_owned()).or_default());
    }

    /// A gateway relays for this sidecar; with none, no longer.
    pub(super) fn set_relay(&self, address: &str, session: Option<Arc<RelaySession>>) {
        let mut sessions = lock(&self.sessions);
        match session {
            Some(session) => sessions.insert(address.to_owned(), session),
            None => sessions.remove(address),
        };
        self.relays.store(sessions.values().cloned().collect());
    }

    /// What is to be reported to the gateway at `address`: nothing while another one is told.
    pub(super) fn take_report(&self, address: &str) -> Option<Taken> {
        let traffic = self.traffic.get()?;
        let mut reporter = lock(&self.reporter);
        let is_told = reporter.get_or_insert_with(|| address.to_owned()) == address;
        is_told.then(|| traffic.take())
    }

    /// Where requests are shown, once there are any.
    pub(super) fn taps(&self) -> Option<&Taps> {
        self.traffic.get().map(Traffic::taps)
    }

    /// The gateway at `address` is told no more.
    pub(super) fn stop_report(&self, address: &str) {
        let mut reporter = lock(&self.reporter);
        if reporter.as_deref() == Some(address) {
            *reporter = None;
        }
    }

    fn publish(&self) -> bool {
        let (table, bundles) = {
            let mut merge = lock(&self.merge);
            let Some(table) = merge.table() else {
                return false;
            };
            (table, merge.bundles())
        };
        self.bundles.send_if_modified(|current| {
            let news = *current != bundles;
            *current = bundles;
            news
        });
        self.table.store(Arc::new(table));
        true
    }

    /// Whether the last state is on disk, or has no place there.
    async fn keep_on_disk(&self) -> Result<(), String> {
        let Some(path) = self.config.state_file.clone() else {
            return Ok(());
        };
        let state = lock(&self.merge)
            .for_disk()
            .map(|(mirror, releases)| (mirror.clone(), releases.clone()));
        let Some((mirror, releases)) = state else {
            return Ok(());
        };
        let place = self.config.place.clone();
        let write = move || disk::store(&path, &disk::encode(&mirror, &releases, &place));
        match tokio::task::spawn_blocking(write).await {
            Ok(stored) => stored.map_err(|why| why.to_string()),
            Err(why) => Err(format!("it ended early: {why}")),
        }
    }
}

fn unopened(config: &ClientConfig) -> BTreeMap<String, SessionStatus> {
    let gateways = config.gateways.iter().cloned();
    gateways
        .map(|address| (address, SessionStatus::default()))
        .collect()
}

/// Publishes what sessions changed, and keeps it on disk, until the client ends.
async fn publish(shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    let mut unsaved = false;
    let mut failing = false;
    let mut disk = tokio::time::interval(DISK_INTERVAL);
    disk.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rest = Rest::new(GATHER);
    loop {
        tokio::select! {
            () = shared.dirty.notified() => {
                tokio::time::sleep(rest.gather()).await;
                unsaved |= rest.after(|| shared.publish());
            }
            _ = disk.tick(), if unsaved => {
                let kept = shared.keep_on_disk().await;
                unsaved = kept.is_err();
                // Said once, tried again: nothing but the next start depends on it.
                match kept {
                    Err(why) if !failing => {
                        tracing::warn!(why, "the last state is not kept on disk; trying again");
                    }
                    Ok(()) if failing => tracing::info!("the last state is kept on disk again"),
                    _ => {}
                }
                failing = unsaved;
            }
            () = until_closing(&mut closing) => return,
        }
    }
}

/// Locks; a panic elsewhere leaves no state here that readers could not use.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the client ends.
pub(super) async fn until_closing(closing: &mut watch::Receiver<bool>) {
    // The sender lives as long as the client's tasks do.
    let _ended = closing.wait_for(|closing| *closing).await;
}
