//! The catalog as the rest of the gateway holds it, and the task that drives it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use weft_decide::Place;
use weft_model::{Clamp, ClusterName, Federation, GatewayName, Index, RegionName, SpiffeId};
use weft_plan::Moment;
use weft_plan::catalog::{
    Alarm, Catalog, CatalogView, Epoch, Interest, LastKnown, SessionId, Timing,
};
use weft_proxy::catalog::Rest;

use super::disk::{Disk, Loaded};
use super::feed::Feed;
use super::keeper;
use super::link::pace::Paces;
use crate::clamps::ClampKeeper;
use crate::observe::Observatory;
use crate::scene::{Reach, Scene};

/// Changes are gathered for this long at least before a view is made of them.
const GATHER: Duration = Duration::from_millis(5);

/// What the catalog needs to know of its gateway.
#[derive(Debug, Clone)]
pub struct CatalogConfig {
    /// This cluster.
    pub cluster: ClusterName,
    /// Its region.
    pub region: RegionName,
    /// This gateway.
    pub gateway: GatewayName,
    /// Where it takes relayed connections of this cluster's sidecars.
    pub relay: Option<SocketAddr>,
    /// Where the last view is kept; without it, a start with nobody reachable knows nothing.
    pub state_file: Option<PathBuf>,
    /// What this gateway itself wants to know of other clusters, for its stand-ins and DNS.
    pub interest: Interest,
    /// Spans of time.
    pub timing: Timing,
    /// The clamps that gateways tell each other of.
    pub clamps: ClampKeeper,
}

/// A sidecar's key for the preambles of its relayed connections.
#[derive(Clone)]
pub struct RelayGrant {
    /// The session it belongs to.
    pub session: [u8; 16],
    /// The key (HMAC-SHA-256).
    pub key: [u8; 32],
    /// Who may use it.
    pub identity: SpiffeId,
    /// Where the relay says which of its connections should be left, by their counters.
    pub leave: UnboundedSender<u64>,
}

/// Where sessions tell the relay whom it may serve.
#[derive(Clone)]
pub struct RelayGrants {
    /// A session opened.
    pub grant: Arc<dyn Fn(RelayGrant) + Send + Sync>,
    /// It ended.
    pub revoke: Arc<dyn Fn([u8; 16]) + Send + Sync>,
}

/// What surrounds the catalog: intent and observation.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The federation's state as applied here.
    pub federation: Arc<Federation>,
    /// How long ago this replica heard the leader.
    pub silence: Duration,
    /// The tunnels.
    pub reach: Reach,
    /// Local lowerings of releases' weights.
    pub clamps: Arc<[Clamp]>,
}

/// The view that names answer by.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The newest one that a restart would find on the disk, as far as names are made of it.
    pub view: Arc<CatalogView>,
    /// Yet it is one that the disk, full or slow, does not hold.
    pub ahead: bool,
}

/// The catalog. Clones share it.
#[derive(Clone)]
pub struct CatalogHandle {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) config: CatalogConfig,
    pub(super) epoch: Epoch,
    pub(super) grants: RelayGrants,
    began: Instant,
    /// When it began, on the clock of its moments.
    origin: Moment,
    /// Where sidecars of this cluster are, as far as it decides what they may know.
    place: Place,
    state: Mutex<State>,
    nudge: Notify,
    pub(super) view: ArcSwap<CatalogView>,
    pub(super) shown: watch::Sender<Shown>,
    /// Counts changes of anything that readers of sessions and links read.
    pub(super) changed: watch::Sender<u64>,
    /// No sessions any more.
    pub(super) ending: CancellationToken,
    pub(super) observatory: Observatory,
    pub(super) paces: Paces,
}

pub(super) struct State {
    pub(super) catalog: Catalog,
    pub(super) feed: Feed,
    pub(super) federation: Arc<Federation>,
    pub(super) interest: Interest,
    /// Counts changes of `interest`.
    pub(super) interest_revision: u64,
    /// Counts changes of what other clusters may see.
    pub(super) intent_revision: u64,
    interests: BTreeMap<SessionId, Interest>,
    silence: Duration,
    reach: Reach,
    clamps: Arc<[Clamp]>,
    surroundings_changed: bool,
    /// The log position that the feed reflects; `federation` may be ahead of it for a moment.
    pub(super) fed: Index,
}

impl CatalogHandle {
    /// Reads the last view from disk and starts. Blocks on the disk; call it
    /// while starting, inside a runtime. The task ends with the runtime.
    pub fn start(config: CatalogConfig, grants: RelayGrants, surroundings: Surroundings) -> Self {
        let disk = config.state_file.as_deref();
        let disk = disk.map(|path| Disk::open(path, &config.cluster));
        let (disk, last) = match disk {
            Some((disk, last)) => (Some(Arc::new(disk)), last),
            None => (None, Loaded::default()),
        };
        // Moments before this start are moments too.
        let origin = last.clusters.iter().map(|told| told.ago).max();
        let origin = Moment(origin.unwrap_or_default());
        let now = origin;
        let epoch = Epoch(rand::random());
        let (cluster, gateway) = (config.cluster.clone(), config.gateway.clone());
        let mut catalog = Catalog::new(cluster, gateway, epoch, config.timing, now);
        catalog.restore(last.endpoints.into_values(), now);
        for told in last.clusters {
            let known = LastKnown {
                heard: Moment(now.since(Moment(told.ago))),
                covered: told.covered,
                digest: Arc::new(told.digest),
            };
            catalog.recall(&told.cluster, known);
        }
        // It may have died between an entry that removed a cluster and the next view on disk.
        catalog.keep_members(&surroundings.federation);
        let state = State {
            catalog,
            feed: Feed::default(),
            federation: Arc::clone(&surroundings.federation),
            interest: config.interest.clone(),
            interest_revision: 1,
            intent_revision: 1,
            interests: BTreeMap::new(),
            silence: Duration::ZERO,
            reach: Reach::default(),
            clamps: Arc::default(),
            surroundings_changed: true,
            fed: Index(0),
        };
        let nothing = Arc::new(CatalogView::empty(config.cluster.clone()));
        let inner = Arc::new(Inner {
            view: ArcSwap::new(Arc::clone(&nothing)),
            shown: watch::Sender::new(Shown {
                view: nothing,
                ahead: false,
            }),
            epoch,
            grants,
            began: Instant::now(),
            origin,
            place: Place {
                cluster: config.cluster.clone(),
                region: config.region.clone(),
                zone: None,
            },
            state: Mutex::new(state),
            nudge: Notify::new(),
            changed: watch::Sender::new(0),
            ending: CancellationToken::new(),
            observatory: Observatory::new(now),
            paces: Paces::default(),
            config,
        });
        let handle = Self { inner };
        handle.set_surroundings(surroundings);
        handle.inner.step();
        let inner = &handle.inner;
        let view = inner.view.load_full();
        inner.shown.send_replace(Shown { view, ahead: false });
        tokio::spawn(drive(Arc::clone(inner)));
        if let Some(disk) = &disk {
            if !disk.has_begun() {
                // Fails where the next ones do, which say so.
                let _ = disk.store(|| (inner.view.load_full(), inner.now()));
            }
            tokio::spawn(keeper::keep_whole(Arc::clone(inner), Arc::clone(disk)));
        }
        tokio::spawn(keeper::keep_changes(Arc::clone(inner), disk));
        handle
    }

    /// The view now.
    pub fn view(&self) -> Arc<CatalogView> {
        self.inner.view.load_full()
    }

    /// The view that names answer by: the newest that the disk holds.
    pub fn shown(&self) -> Shown {
        self.inner.shown()
    }

    /// The same, to wait for the next one.
    pub(crate) fn watch_shown(&self) -> watch::Receiver<Shown> {
        self.inner.shown.subscribe()
    }

    /// Counts changes of the view, of intent as told to sidecars, and of what this gateway attests.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Now, on the clock of the moments in the view.
    pub fn now(&self) -> Moment {
        self.inner.now()
    }

    /// What sidecars reported in their sessions.
    pub(crate) fn observatory(&self) -> &Observatory {
        &self.inner.observatory
    }

    /// This run of this gateway.
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    /// Ends all sessions and takes no new ones: their sidecars leave what goes by this
    /// gateway, if they have another.
    pub fn end_sessions(&self) {
        self.inner.ending.cancel();
    }

    /// Open sessions of sidecars.
    pub fn session_count(&self) -> usize {
        self.inner.state().catalog.session_count()
    }

    /// Who has an open session here, with how many endpoints.
    pub fn sessions(&self) -> Vec<(SpiffeId, usize)> {
        let state = self.inner.state();
        let sessions = state.catalog.sessions();
        sessions
            .map(|(id, endpoints)| (id.clone(), endpoints))
            .collect()
    }

    /// The clamps that gateways tell each other of.
    pub fn clamps(&self) -> &ClampKeeper {
        &self.inner.config.clamps
    }

    /// What surrounds it, as last told.
    pub fn surroundings(&self) -> Surroundings {
        let state = self.inner.state();
        Surroundings {
            federation: Arc::clone(&state.federation),
            silence: state.silence,
            reach: state.reach.clone(),
            clamps: Arc::clone(&state.clamps),
        }
    }

    /// Intent or paths changed. Cheap when nothing did.
    pub fn set_surroundings(&self, new: Surroundings) {
        let mut state = self.inner.state();
        let state = &mut *state;
        if !Arc::ptr_eq(&state.federation, &new.federation) {
            state.intent_revision += 1;
            state.surroundings_changed = true;
            state.catalog.keep_members(&new.federation);
        }
        state.surroundings_changed |= new.reach != state.reach;
        state.surroundings_changed |= new.clamps != state.clamps;
        let knew = weft_plan::Lease::known(None, state.silence);
        state.surroundings_changed |= knew != weft_plan::Lease::known(None, new.silence);
        state.federation = new.federation;
        state.silence = new.silence;
        state.reach = new.reach;
        state.clamps = new.clamps;
        self.inner.nudge.notify_one();
    }
}

impl Inner {
    pub(super) fn now(&self) -> Moment {
        self.origin.after(self.began.elapsed())
    }

    pub(super) fn shown(&self) -> Shown {
        self.shown.borrow().clone()
    }

    /// The state; a panic elsewhere leaves nothing in it that could not be used.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was told to the state.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Lets time pass and publishes what changed; returns when to do so next.
    fn step(&self) -> Option<Moment> {
        let now = self.now();
        let mut state = self.state();
        let state = &mut *state;
        let head = (state.feed.head(), state.catalog.journal().head());
        let recovering = state.catalog.is_recovering();
        state.catalog.poll(now);
        let (view, touched) = state.catalog.refresh();
        let scene = Scene {
            federation: &state.federation,
            catalog: &view,
            reach: &state.reach,
            silence: state.silence,
            clamps: &state.clamps,
            place: &self.place,
        };
        let intent = std::mem::take(&mut state.surroundings_changed);
        if intent {
            state.feed.update_all(&scene);
            state.fed = state.federation.applied();
        } else {
            state.feed.update_services(&touched, &scene);
        }
        for alarm in state.catalog.take_alarms() {
            report(&alarm);
        }
        let news = intent
            || self.view.load().generation() != view.generation()
            || head != (state.feed.head(), state.catalog.journal().head())
            || recovering != state.catalog.is_recovering();
        self.view.store(view);
        if news {
            self.changed.send_modify(|count| *count += 1);
        }
        state.catalog.deadline()
    }
}

impl State {
    /// A session's sidecar wants to know of these services; with none, it is gone.
    pub(super) fn set_interest(
        &mut self,
        session: SessionId,
        wanted: Option<Interest>,
        gateway: &Interest,
    ) {
        match wanted {
            Some(wanted) => self.interests.insert(session, wanted),
            None => self.interests.remove(&session),
        };
        let mut interest = gateway.clone();
        self.interests
            .values()
            .for_each(|wanted| interest.widen(wanted));
        if interest != self.interest {
            self.catalog.narrow(&interest);
            self.interest = interest;
            self.interest_revision += 1;
        }
    }

    /// The services whose endpoints a gateway of `peer` may hear of; none
    /// stands for all, which only this cluster's own gateways may.
    pub(super) fn visible_to(
        &self,
        peer: &ClusterName,
        own: &ClusterName,
    ) -> Option<BTreeSet<weft_model::ServiceKey>> {
        if peer == own {
            return None;
        }
        let services = self.federation.services();
        let visible = services.filter(|service| {
            let exporter = service.exporters.get(own);
            exporter.is_some_and(|exporter| exporter.export_to.admits(peer))
        });
        Some(visible.map(|service| service.key.clone()).collect())
    }
}

/// Steps when told something, and when time has come.
async fn drive(inner: Arc<Inner>) {
    let mut rest = Rest::new(GATHER);
    let mut next = inner.step();
    loop {
        let due = next.map(|moment| inner.began + moment.since(inner.origin));
        let far = Instant::now() + Duration::from_secs(3600);
        let due = due.unwrap_or(far).max(rest.rested().into());
        tokio::select! {
            () = inner.nudge.notified() => sleep(rest.gather()).await,
            () = sleep_until(due) => {}
        }
        next = rest.after(|| inner.step());
    }
}

fn report(alarm: &Alarm) {
    match alarm {
        Alarm::ShrinkHeld {
            cluster,
            service,
            doubted,
            total,
        } => tracing::error!(
            %cluster, %service, doubted, total,
            "too many endpoints vanished at once to be believed: they stay listed until they come back, are withdrawn, or stay away"
        ),
        Alarm::ShrinkSettled { cluster, service } => {
            tracing::info!(%cluster, %service, "the vanished endpoints are settled");
        }
    }
}
