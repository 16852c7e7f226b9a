//! The catalog of one gateway: every cluster's set, its own sessions, and the
//! journal of what it attests.

mod peers;
mod publish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_model::{
    ClusterName, Digest, Endpoint, EndpointId, Federation, GatewayName, ServiceKey, SpiffeId,
    SpiffePath,
};

use super::view::CatalogView;
use super::{
    Alarm, ClusterSet, Epoch, Interest, Journal, LastKnown, PutError, Said, SessionId, Sessions,
    SetHash, Timing, admit, set_hash,
};
use crate::Moment;

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

/// The state machine. It is told what happened and when; it never asks.
#[derive(Debug, Clone)]
pub struct Catalog {
    cluster: ClusterName,
    gateway: GatewayName,
    epoch: Epoch,
    timing: Timing,
    began: Moment,
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
            began: now,
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

    /// Takes in the last view on disk, but for ids that are another cluster's: an earlier build took
    /// such in. Call it once, before anything else.
    pub fn restore(&mut self, endpoints: impl IntoIterator<Item = Endpoint>, now: Moment) {
        let mut by_cluster: BTreeMap<ClusterName, Vec<Arc<Endpoint>>> = BTreeMap::new();
        let own = |endpoint: &Endpoint| endpoint.id.may_be_of(&endpoint.cluster);
        for endpoint in endpoints.into_iter().filter(own) {
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

    /// Takes in what the last view on disk knew of another cluster besides its endpoints.
    /// Call it after [`Catalog::restore`].
    pub fn recall(&mut self, cluster: &ClusterName, last: LastKnown) {
        if *cluster != self.cluster {
            let gateway = self.gateway.clone();
            self.set(cluster).recall(last, &gateway);
            self.stale_liveness = true;
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

    /// Who has an open session here, with how many endpoints.
    pub fn sessions(&self) -> impl Iterator<Item = (&SpiffeId, usize)> {
        self.sessions.list()
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
        let (id, superseded) = (endpoint.id, self.superseded_by(session, &endpoint));
        let said = self.sessions.put(session, endpoint, now)?;
        self.say(said, now);
        // A late word of a process that was itself superseded takes nobody's place.
        let lives = self.sets.get(&self.cluster);
        if lives.is_none_or(|own| own.endpoint(id).is_none()) {
            return Ok(());
        }
        for old in superseded {
            let service = old.service.clone();
            let said = self
                .sessions
                .withdraw(session, service, old.id, old.sequence, now);
            self.say(said, now);
        }
        Ok(())
    }

    /// The endpoints of earlier processes in whose place a new one was started: one
    /// address is held by one process, and ids are new at each start. Their
    /// owner cannot end them any more, and their end needs no doubt.
    fn superseded_by(&self, session: SessionId, new: &Endpoint) -> Vec<Arc<Endpoint>> {
        let Some(own) = self.sets.get(&self.cluster) else {
            return Vec::new();
        };
        let is_workload = matches!(new.identity.path, SpiffePath::Workload { .. });
        if !is_workload || new.address.is_none() || own.endpoint(new.id).is_some() {
            return Vec::new();
        }
        let is_in_its_place = |old: &Arc<Endpoint>| {
            old.id != new.id
                && old.address == new.address
                && old.identity == new.identity
                && old.ports == new.ports
                && !self.sessions.holds(session, old.id)
        };
        own.endpoints_of(&new.service)
            .filter(is_in_its_place)
            .collect()
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
            (SpiffePath::StandIn { gateway, .. }, SpiffePath::Gateway(own))
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

    /// Endpoints of other clusters are wanted for `interest` alone from now on.
    pub fn narrow(&mut self, interest: &Interest) {
        let own = self.cluster.clone();
        for (_, set) in self.sets.iter_mut().filter(|(name, _)| **name != own) {
            set.narrow(interest);
        }
    }

    /// Forgets clusters that are no members; says which.
    pub fn keep_members(&mut self, federation: &Federation) -> Vec<ClusterName> {
        let others = self.sets.keys().filter(|cluster| **cluster != self.cluster);
        let left = others.filter(|cluster| federation.cluster(cluster).is_none());
        let left: Vec<ClusterName> = left.cloned().collect();
        for cluster in &left {
            self.forget(cluster);
        }
        left
    }

    /// A cluster is no member any longer.
    fn forget(&mut self, cluster: &ClusterName) {
        if *cluster != self.cluster
            && let Some(mut set) = self.sets.remove(cluster)
        {
            set.narrow(&Interest::default());
            let services = set.take_touched();
            self.publish_services(services);
            self.stale_liveness = true;
        }
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
}
