//! The catalog of one gateway: every cluster's set, its own sessions, and the
//! journal of what it attests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weft_model::{
    ClusterName, Digest, Endpoint, EndpointId, Federation, GatewayName, Health, ServiceKey,
    SpiffeId,
};

use super::view::{CatalogView, ClusterLiveness, Freshness, ServiceEndpoints};
use super::witness::{Contact, Witness};
use super::{
    ClusterSet, Epoch, HashMismatch, Interest, Journal, PutError, Said, SessionId, Sessions,
    SetHash, ShrinkGuard, admit, set_hash,
};
use crate::Moment;

/// The catalog's spans of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A session silent for this long counts as lost. Three heartbeats.
    pub session_grace: Duration,
    /// A gateway whose stream ended is counted no longer after this, if another speaks for its cluster.
    pub witness_patience: Duration,
    /// How long after its start a gateway attests to nobody's absence: its
    /// sidecars' longest pause between attempts to connect, and some.
    pub recovery: Duration,
    /// How long an owner's withdrawal is remembered against older words.
    pub withdrawal_memory: Duration,
    /// What is not believed at once.
    pub guard: ShrinkGuard,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            session_grace: Duration::from_secs(6),
            witness_patience: Duration::from_secs(10),
            recovery: Duration::from_secs(15),
            withdrawal_memory: Duration::from_secs(120),
            guard: ShrinkGuard::default(),
        }
    }
}

/// What this gateway tells its peers of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attestation {
    /// It attests this word.
    Present(Arc<Endpoint>),
    /// It attests it no longer.
    Retracted(EndpointId),
    /// Its owner ended it.
    Withdrawn(EndpointId, u64),
}

/// What this gateway attests, by service and endpoint.
pub type AttestationJournal = Journal<ServiceKey, EndpointId, Attestation>;

/// Something an operator should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// Too many endpoints of a service vanished at once without their owners' word: held.
    ShrinkHeld {
        /// Whose.
        cluster: ClusterName,
        /// The service.
        service: ServiceKey,
        /// How many nobody attests.
        doubted: usize,
        /// Of how many.
        total: usize,
    },
    /// It is over: they came back, were withdrawn, or their absence was confirmed by time.
    ShrinkSettled {
        /// Whose.
        cluster: ClusterName,
        /// The service.
        service: ServiceKey,
    },
}

/// The state machine. It is told what happened and when; it never asks.
#[derive(Debug, Clone)]
pub struct Catalog {
    cluster: ClusterName,
    gateway: GatewayName,
    epoch: Epoch,
    timing: Timing,
    recovers_at: Option<Moment>,
    sessions: Sessions,
    journal: AttestationJournal,
    sets: BTreeMap<ClusterName, ClusterSet>,
    own_digest: Digest,
    held: BTreeSet<(ClusterName, ServiceKey)>,
    alarms: Vec<Alarm>,
    stale_liveness: bool,
    view: Arc<CatalogView>,
}

impl Catalog {
    /// A gateway that starts now: it is recovering, and knows nothing.
    pub fn new(
        cluster: ClusterName,
        gateway: GatewayName,
        epoch: Epoch,
        timing: Timing,
        now: Moment,
    ) -> Self {
        let mut own = ClusterSet::new(timing);
        own.open(epoch, &gateway, true, now);
        own.begin_snapshot(epoch, Interest::Everything);
        let fits = own.mark(epoch, SetHash::default(), now);
        debug_assert!(fits.is_ok(), "an empty set hashes to zero");
        Self {
            view: Arc::new(CatalogView::empty(cluster.clone())),
            sets: BTreeMap::from([(cluster.clone(), own)]),
            cluster,
            gateway,
            epoch,
            recovers_at: Some(now.after(timing.recovery)),
            sessions: Sessions::new(timing.session_grace),
            journal: Journal::default(),
            own_digest: Digest::default(),
            held: BTreeSet::new(),
            alarms: Vec::new(),
            stale_liveness: true,
            timing,
        }
    }

    /// Takes in the last view on disk. Call it once, before anything else.
    pub fn restore(&mut self, endpoints: impl IntoIterator<Item = Endpoint>, now: Moment) {
        let mut by_cluster: BTreeMap<ClusterName, Vec<Arc<Endpoint>>> = BTreeMap::new();
        for endpoint in endpoints {
            let cluster = endpoint.cluster.clone();
            by_cluster
                .entry(cluster)
                .or_default()
                .push(Arc::new(endpoint));
        }
        for (cluster, endpoints) in by_cluster {
            let gateway = self.gateway.clone();
            self.set(&cluster).restore(endpoints, &gateway, now);
        }
    }

    /// This run of this gateway.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether this gateway started too lately to attest to anybody's absence.
    pub fn is_recovering(&self) -> bool {
        self.recovers_at.is_some()
    }

    /// What this gateway attests, for its peers to read.
    pub fn journal(&self) -> &AttestationJournal {
        &self.journal
    }

    /// Open sessions of sidecars.
    pub fn session_count(&self) -> usize {
        self.sessions.count()
    }

    /// A sidecar that proved to be `identity` opened a session.
    pub fn open_session(&mut self, session: SessionId, identity: SpiffeId, now: Moment) {
        self.sessions.open(session, identity, now);
    }

    /// A session's stream ended.
    pub fn close_session(&mut self, session: SessionId) {
        self.sessions.closed(session);
    }

    /// A session was heard.
    pub fn heard(&mut self, session: SessionId, now: Moment) {
        let said = self.sessions.heard(session, now);
        self.say(said, now);
    }

    /// A sidecar registers or changes an endpoint of its own.
    pub fn put(
        &mut self,
        session: SessionId,
        endpoint: Endpoint,
        federation: &Federation,
        now: Moment,
    ) -> Result<(), PutError> {
        let identity = self.sessions.identity(session).ok_or(PutError::NoSession)?;
        admit(&endpoint, identity, &self.cluster, federation)?;
        let known = self
            .sets
            .get(&self.cluster)
            .and_then(|own| own.endpoint(endpoint.id));
        if let Some(known) = known {
            if known.identity != endpoint.identity {
                return Err(PutError::Foreign(endpoint.id));
            }
            if known.service != endpoint.service {
                return Err(PutError::ServiceChanged(endpoint.id));
            }
        }
        let said = self.sessions.put(session, endpoint, now)?;
        self.say(said, now);
        Ok(())
    }

    /// A sidecar ends an endpoint of its own. One that is not known is already gone.
    pub fn withdraw(
        &mut self,
        session: SessionId,
        id: EndpointId,
        sequence: u64,
        now: Moment,
    ) -> Result<(), PutError> {
        let identity = self.sessions.identity(session).ok_or(PutError::NoSession)?;
        let own = self.sets.get(&self.cluster);
        let elsewhere = own.and_then(|own| own.endpoint(id));
        let Some(known) = self.sessions.endpoint(id).or(elsewhere) else {
            self.heard(session, now);
            return Ok(());
        };
        // A gateway withdraws what it fronts under stand-in identities of its own.
        let fronted = matches!(
            (&known.identity.path, &identity.path),
            (weft_model::SpiffePath::StandIn { gateway, .. }, weft_model::SpiffePath::Gateway(own))
                if gateway == own
        );
        if known.identity != *identity && !fronted {
            return Err(PutError::Foreign(id));
        }
        let service = known.service.clone();
        let said = self.sessions.withdraw(session, service, id, sequence, now);
        self.say(said, now);
        Ok(())
    }

    /// A run of a gateway of `cluster` can be heard, or says that it recovers no longer.
    pub fn open_peer(
        &mut self,
        cluster: &ClusterName,
        gateway: &GatewayName,
        epoch: Epoch,
        recovering: bool,
        now: Moment,
    ) {
        self.set(cluster).open(epoch, gateway, recovering, now);
        self.stale_liveness = true;
    }

    /// Its stream ended.
    pub fn lose_peer(&mut self, cluster: &ClusterName, epoch: Epoch, now: Moment) {
        self.set(cluster).lost(epoch, now);
        self.stale_liveness = true;
    }

    /// What follows is all that the peer attests within `covers`.
    pub fn peer_snapshot(&mut self, cluster: &ClusterName, epoch: Epoch, covers: Interest) {
        self.set(cluster).begin_snapshot(epoch, covers);
    }

    /// A peer attests an endpoint. It can only speak of its own cluster, and
    /// not under an id that another cluster used first. Returns whether it was taken.
    pub fn peer_attests(
        &mut self,
        cluster: &ClusterName,
        epoch: Epoch,
        mut endpoint: Endpoint,
    ) -> bool {
        let elsewhere = |(name, set): (&ClusterName, &ClusterSet)| {
            name != cluster && set.endpoint(endpoint.id).is_some()
        };
        if endpoint.cluster != *cluster || self.sets.iter().any(elsewhere) {
            return false;
        }
        if *cluster != self.cluster {
            // Addresses of other clusters mean nothing here and may overlap ours.
            endpoint.address = None;
            endpoint.workload = None;
        }
        self.set(cluster).attest(epoch, Arc::new(endpoint))
    }

    /// A peer attests an endpoint no longer.
    pub fn peer_retracts(
        &mut self,
        cluster: &ClusterName,
        epoch: Epoch,
        id: EndpointId,
        now: Moment,
    ) {
        self.set(cluster).retract(epoch, id, now);
    }

    /// A peer passes on that an owner ended its endpoint.
    pub fn peer_withdraws(
        &mut self,
        cluster: &ClusterName,
        epoch: Epoch,
        id: EndpointId,
        sequence: u64,
        now: Moment,
    ) {
        self.set(cluster).withdraw(epoch, id, sequence, now);
    }

    /// A peer has said everything up to here.
    pub fn peer_mark(
        &mut self,
        cluster: &ClusterName,
        epoch: Epoch,
        said: SetHash,
        now: Moment,
    ) -> Result<(), HashMismatch> {
        self.stale_liveness = true;
        self.set(cluster).mark(epoch, said, now)
    }

    /// A peer tells how much of what its cluster has.
    pub fn peer_digest(&mut self, cluster: &ClusterName, epoch: Epoch, digest: Arc<Digest>) {
        self.set(cluster).tell_digest(epoch, digest);
        self.stale_liveness = true;
    }

    /// The hash of what is held of a peer's words, to resume by.
    pub fn peer_hash(&self, cluster: &ClusterName, epoch: Epoch) -> SetHash {
        let set = self.sets.get(cluster);
        set.map_or_else(SetHash::default, |set| set.hash(epoch))
    }

    /// Endpoints of other clusters are wanted for `interest` alone from now on.
    pub fn narrow(&mut self, interest: &Interest) {
        let own = self.cluster.clone();
        for (_, set) in self.sets.iter_mut().filter(|(name, _)| **name != own) {
            set.narrow(interest);
        }
    }

    /// A cluster is no member any longer.
    pub fn forget(&mut self, cluster: &ClusterName) {
        if *cluster != self.cluster
            && let Some(mut set) = self.sets.remove(cluster)
        {
            set.narrow(&Interest::default());
            let services = set.take_touched();
            self.publish_services(services);
            self.stale_liveness = true;
        }
    }

    /// The clusters that are known.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterName> {
        self.sets.keys()
    }

    /// Lets time pass.
    pub fn poll(&mut self, now: Moment) {
        let said = self.sessions.poll(now);
        self.say(said, now);
        if self.recovers_at.is_some_and(|at| at <= now) {
            self.recovers_at = None;
            let (epoch, gateway) = (self.epoch, self.gateway.clone());
            let own = self.cluster.clone();
            self.set(&own).open(epoch, &gateway, false, now);
            self.stale_liveness = true;
        }
        for set in self.sets.values_mut() {
            set.poll(now);
        }
    }

    /// When [`Catalog::poll`] has something to do next, if nothing happens before.
    pub fn deadline(&self) -> Option<Moment> {
        let sets = self.sets.values().filter_map(ClusterSet::deadline);
        sets.chain(self.sessions.deadline())
            .chain(self.recovers_at)
            .min()
    }

    /// The view as it is now, and the services that changed since the last
    /// call. The same pointer if nothing did.
    pub fn refresh(&mut self) -> (Arc<CatalogView>, BTreeSet<ServiceKey>) {
        let mut touched = BTreeSet::new();
        for set in self.sets.values_mut() {
            touched.append(&mut set.take_touched());
        }
        if !touched.is_empty() {
            self.publish_services(touched.clone());
        }
        if std::mem::take(&mut self.stale_liveness) {
            self.publish_liveness();
        }
        (Arc::clone(&self.view), touched)
    }

    /// What happened that an operator should hear of.
    pub fn take_alarms(&mut self) -> Vec<Alarm> {
        std::mem::take(&mut self.alarms)
    }

    fn set(&mut self, cluster: &ClusterName) -> &mut ClusterSet {
        let timing = self.timing;
        self.sets
            .entry(cluster.clone())
            .or_insert_with(|| ClusterSet::new(timing))
    }

    /// What this gateway says is heard by its peers, and by itself.
    fn say(&mut self, said: Vec<Said>, now: Moment) {
        let (epoch, own) = (self.epoch, self.cluster.clone());
        for word in said {
            match word {
                Said::Attest(endpoint) => {
                    self.journal.put(
                        endpoint.service.clone(),
                        endpoint.id,
                        Attestation::Present(Arc::clone(&endpoint)),
                        set_hash::word(endpoint.id, endpoint.sequence),
                    );
                    self.set(&own).attest(epoch, endpoint);
                }
                Said::Retract(service, id) => {
                    self.journal.remove(service, id, Attestation::Retracted(id));
                    self.set(&own).retract(epoch, id, now);
                }
                Said::Withdraw(service, id, sequence) => {
                    let word = Attestation::Withdrawn(id, sequence);
                    self.journal.remove(service, id, word);
                    self.set(&own).withdraw(epoch, id, sequence, now);
                }
            }
        }
    }

    fn publish_services(&mut self, touched: BTreeSet<ServiceKey>) {
        let mut view = CatalogView::clone(&self.view);
        view.generation += 1;
        for key in touched {
            let endpoints = self.endpoints_of(&key);
            self.watch_shrinks(&key, &endpoints.suspect);
            count(&mut self.own_digest, &key, endpoints.of(&self.cluster));
            if endpoints.endpoints.is_empty() {
                view.services.remove(&key);
            } else {
                view.services.insert(key, Arc::new(endpoints));
            }
        }
        self.view = Arc::new(view);
        self.stale_liveness = true;
    }

    fn endpoints_of(&self, key: &ServiceKey) -> ServiceEndpoints {
        let mut service = ServiceEndpoints::default();
        for (cluster, set) in &self.sets {
            service.endpoints.extend(set.endpoints_of(key));
            if set.held(key).is_some() {
                service.suspect.insert(cluster.clone());
            }
        }
        service
    }

    fn watch_shrinks(&mut self, key: &ServiceKey, suspect: &BTreeSet<ClusterName>) {
        let clusters: Vec<ClusterName> = self.sets.keys().cloned().collect();
        for cluster in clusters {
            let at = (cluster.clone(), key.clone());
            if !suspect.contains(&cluster) {
                if self.held.remove(&at) {
                    let service = key.clone();
                    self.alarms.push(Alarm::ShrinkSettled { cluster, service });
                }
            } else if self.held.insert(at) {
                let held = self.sets.get(&cluster).and_then(|set| set.held(key));
                let (doubted, total) = held.unwrap_or_default();
                self.alarms.push(Alarm::ShrinkHeld {
                    cluster,
                    service: key.clone(),
                    doubted,
                    total,
                });
            }
        }
    }

    fn publish_liveness(&mut self) {
        let mut clusters = BTreeMap::new();
        for (cluster, set) in &self.sets {
            let mut liveness = liveness(set);
            if *cluster == self.cluster {
                liveness.digest = Arc::new(self.own_digest.clone());
                liveness.freshness = Freshness::Live;
                liveness.covered = Interest::Everything;
            }
            clusters.insert(cluster.clone(), Arc::new(liveness));
        }
        let mut view = CatalogView::clone(&self.view);
        view.generation += 1;
        view.clusters = clusters;
        self.view = Arc::new(view);
    }
}

/// The best witness first: settled, then open, then the one lost last.
fn liveness(set: &ClusterSet) -> ClusterLiveness {
    let rank = |witness: &Witness| match witness.contact {
        Contact::Open if witness.is_settled() => (2, Moment::default()),
        Contact::Open => (1, Moment::default()),
        Contact::Lost(since) => (0, since),
    };
    let best = set.witnesses().max_by_key(|witness| rank(witness));
    let told = set.witnesses().filter(|w| w.digest.is_some());
    let digest = told.max_by_key(|witness| rank(witness));
    let mut covered = Interest::default();
    for synced in set.witnesses().filter_map(|w| w.synced.as_ref()) {
        covered.widen(synced);
    }
    ClusterLiveness {
        digest: digest.and_then(|w| w.digest.clone()).unwrap_or_default(),
        freshness: match best.map(|witness| witness.contact) {
            Some(Contact::Open) => Freshness::Live,
            Some(Contact::Lost(since)) => Freshness::Stale(since),
            None => Freshness::Stale(Moment::default()),
        },
        covered,
    }
}

/// Recounts one service in the digest.
fn count<'a>(
    digest: &mut Digest,
    key: &ServiceKey,
    endpoints: impl Iterator<Item = &'a Arc<Endpoint>>,
) {
    digest.rows.retain(|(service, _, _), _| service != key);
    for endpoint in endpoints.filter(|e| e.health == Health::Ready) {
        let at = (key.clone(), endpoint.zone.clone(), endpoint.version.clone());
        let row = digest.rows.entry(at).or_default();
        row.ready += 1;
        row.capacity += u64::from(endpoint.weight);
    }
}
