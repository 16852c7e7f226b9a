//! The endpoints of one cluster, as its gateways attest them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use weft_model::{Digest, Endpoint, EndpointId, GatewayName, Health, ServiceKey};

use super::witness::{Contact, Silence, Witness};
use super::{Epoch, Interest, SetHash, Timing};
use crate::Moment;

/// More endpoints of one cluster than this are not taken in.
const ENDPOINTS_MAX: usize = 500_000;

/// What this side holds of a witness's words differs from what the witness holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("holding {held:016x} of epoch {epoch}, which says {said:016x}")]
pub struct HashMismatch {
    /// Whose words.
    pub epoch: Epoch,
    /// Their hash here.
    pub held: u64,
    /// Their hash there.
    pub said: u64,
}

/// One cluster's endpoints: who attests them, which are in doubt, and since when.
#[derive(Debug, Clone)]
pub struct ClusterSet {
    timing: Timing,
    witnesses: BTreeMap<Epoch, Witness>,
    members: BTreeMap<EndpointId, Member>,
    services: BTreeMap<ServiceKey, Roster>,
    withdrawn: BTreeMap<EndpointId, Withdrawal>,
    withdrawals: VecDeque<(Moment, EndpointId)>,
    touched: BTreeSet<ServiceKey>,
}

#[derive(Debug, Clone)]
struct Member {
    /// Its owner's last word.
    endpoint: Arc<Endpoint>,
    /// Since when nobody attests it.
    doubted: Option<Moment>,
}

/// An owner's last word on an endpoint that it ended.
#[derive(Debug, Clone, Copy)]
struct Withdrawal {
    sequence: u64,
    heard: Moment,
}

#[derive(Debug, Clone, Default)]
struct Roster {
    members: BTreeSet<EndpointId>,
    doubted: BTreeSet<EndpointId>,
}

impl ClusterSet {
    /// A cluster nobody has spoken for yet.
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            witnesses: BTreeMap::new(),
            members: BTreeMap::new(),
            services: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            withdrawals: VecDeque::new(),
            touched: BTreeSet::new(),
        }
    }

    /// A run of `gateway` can be heard, again or for the first time. Another
    /// run of the same gateway is over.
    pub fn open(&mut self, epoch: Epoch, gateway: &GatewayName, recovering: bool, now: Moment) {
        let over: Vec<Epoch> = self
            .witnesses
            .iter()
            .filter(|(e, w)| **e != epoch && w.gateway == *gateway)
            .map(|(e, _)| *e)
            .collect();
        for epoch in over {
            self.lost(epoch, now);
        }
        let silence = if recovering {
            Silence::Recovering
        } else {
            Silence::Telling
        };
        let witness = self
            .witnesses
            .entry(epoch)
            .or_insert_with(|| Witness::new(gateway.clone(), silence));
        witness.contact = Contact::Open;
        witness.silence = silence;
        witness.incoming = None;
    }

    /// The witness's stream ended. What it attested stands until somebody else
    /// of its cluster is heard who could have attested it and does not.
    pub fn lost(&mut self, epoch: Epoch, now: Moment) {
        if let Some(witness) = self.witnesses.get_mut(&epoch) {
            witness.incoming = None;
            if witness.contact == Contact::Open {
                witness.contact = Contact::Lost(now);
            }
            if witness.words().is_empty() {
                self.witnesses.remove(&epoch);
            }
        }
    }

    /// What follows, up to the next mark, is all that the witness attests within `covers`.
    pub fn begin_snapshot(&mut self, epoch: Epoch, covers: Interest) {
        if let Some(witness) = self.witnesses.get_mut(&epoch) {
            witness.incoming = Some((covers, BTreeMap::new()));
        }
    }

    /// The witness attests `endpoint`. Returns whether there was room for it.
    pub fn attest(&mut self, epoch: Epoch, endpoint: Arc<Endpoint>) -> bool {
        let id = endpoint.id;
        let known = self.members.contains_key(&id);
        if !known && self.members.len() >= ENDPOINTS_MAX {
            return false;
        }
        let Some(witness) = self.witnesses.get_mut(&epoch) else {
            return false;
        };
        witness.say(id, endpoint.sequence);
        let withdrawn = self.withdrawn.get(&id);
        if withdrawn.is_some_and(|w| w.sequence >= endpoint.sequence) {
            return true;
        }
        let newer = self
            .members
            .get(&id)
            .is_none_or(|m| m.endpoint.sequence < endpoint.sequence);
        if newer {
            self.remove(id);
            self.place(endpoint);
        } else {
            self.trust(id);
        }
        true
    }

    /// The witness attests it no longer, without its owner's word.
    pub fn retract(&mut self, epoch: Epoch, id: EndpointId, now: Moment) {
        if let Some(witness) = self.witnesses.get_mut(&epoch) {
            witness.unsay(id);
        }
        self.doubt_unless_attested(id, now);
    }

    /// Its owner ended it with this count, as the witness tells.
    pub fn withdraw(&mut self, epoch: Epoch, id: EndpointId, sequence: u64, now: Moment) {
        if let Some(witness) = self.witnesses.get_mut(&epoch) {
            if witness.word(id) > Some(sequence) {
                return;
            }
            witness.unsay(id);
        }
        let member = self.members.get(&id);
        if member.is_some_and(|m| m.endpoint.sequence <= sequence) {
            self.remove(id);
        } else {
            self.doubt_unless_attested(id, now);
        }
        let before = self.withdrawn.get(&id).map_or(0, |w| w.sequence);
        let sequence = sequence.max(before);
        let heard = now;
        self.withdrawn.insert(id, Withdrawal { sequence, heard });
        self.withdrawals.push_back((now, id));
        self.forget_withdrawals(now);
    }

    /// The witness has said all up to here, and its words hash to `said`.
    pub fn mark(&mut self, epoch: Epoch, said: SetHash, now: Moment) -> Result<(), HashMismatch> {
        let Some(witness) = self.witnesses.get_mut(&epoch) else {
            return Ok(());
        };
        if let Some((covers, named)) = witness.incoming.take() {
            let unnamed: Vec<EndpointId> = witness
                .words()
                .keys()
                .filter(|id| !named.contains_key(id))
                .copied()
                .collect();
            witness.synced = Some(covers);
            for id in unnamed {
                self.retract(epoch, id, now);
            }
        }
        let held = self.hash(epoch);
        let synced = self
            .witnesses
            .get(&epoch)
            .is_some_and(|w| w.synced.is_some());
        if synced && held != said {
            return Err(HashMismatch {
                epoch,
                held: held.0,
                said: said.0,
            });
        }
        Ok(())
    }

    /// The hash of what this side holds of the witness's words.
    pub fn hash(&self, epoch: Epoch) -> SetHash {
        self.witnesses
            .get(&epoch)
            .map_or_else(SetHash::default, Witness::hash)
    }

    /// The witness tells how much of what its cluster has.
    pub fn tell_digest(&mut self, epoch: Epoch, digest: Arc<Digest>) {
        if let Some(witness) = self.witnesses.get_mut(&epoch) {
            witness.digest = Some(digest);
        }
    }

    /// Nobody here wants more than `interest` any longer: the rest is dropped, not doubted.
    pub fn narrow(&mut self, interest: &Interest) {
        let unwanted: Vec<EndpointId> = self
            .services
            .iter()
            .filter(|(service, _)| !interest.covers(service))
            .flat_map(|(_, roster)| roster.members.iter().copied())
            .collect();
        for witness in self.witnesses.values_mut() {
            let before = witness.words().len();
            for id in &unwanted {
                witness.unsay(*id);
            }
            if witness.words().len() != before {
                witness.synced = None;
            }
        }
        for id in unwanted {
            self.remove(id);
        }
    }

    /// Takes in what was on disk: attested by nobody who can be heard.
    pub fn restore(
        &mut self,
        endpoints: impl IntoIterator<Item = Arc<Endpoint>>,
        gateway: &GatewayName,
        now: Moment,
    ) {
        let witness = Witness::new(gateway.clone(), Silence::Recovering);
        self.witnesses.insert(Epoch::DISK, witness);
        for endpoint in endpoints {
            self.attest(Epoch::DISK, endpoint);
        }
        self.lost(Epoch::DISK, now);
    }

    /// Lets time pass: witnesses that stay away are no longer counted once
    /// somebody settled speaks for the cluster, and doubted endpoints go.
    pub fn poll(&mut self, now: Moment) {
        for epoch in self.departed(now) {
            let Some(witness) = self.witnesses.remove(&epoch) else {
                continue;
            };
            for id in witness.words().keys() {
                self.doubt_unless_attested(*id, now);
            }
        }
        for id in self.expired(now) {
            self.remove(id);
        }
        self.forget_withdrawals(now);
    }

    /// When [`ClusterSet::poll`] has something to do next, if nothing happens before.
    pub fn deadline(&self) -> Option<Moment> {
        let lost = self.witnesses.values().filter_map(|w| match w.contact {
            Contact::Lost(since) => Some(since.after(self.timing.witness_patience)),
            Contact::Open => None,
        });
        let lost = lost.min().filter(|_| self.is_settled());
        lost.into_iter()
            .chain(self.doubts().map(|(_, at)| at))
            .min()
    }

    /// Whether somebody speaks for the cluster whose silence means absence.
    pub fn is_settled(&self) -> bool {
        self.witnesses.values().any(Witness::is_settled)
    }

    /// The endpoint with this id.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.members.get(&id).map(|member| &member.endpoint)
    }

    /// All services that have endpoints here.
    pub fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    /// The endpoints of a service as they are to be used, in the order of
    /// their ids. A doubted one takes no new work, unless so many are doubted
    /// that the doubt is not believed.
    pub fn endpoints_of(&self, service: &ServiceKey) -> impl Iterator<Item = Arc<Endpoint>> {
        let roster = self.services.get(service);
        let held = roster.is_some_and(|roster| self.is_held(roster));
        let ids = roster.into_iter().flat_map(|roster| &roster.members);
        ids.filter_map(move |id| {
            let member = self.members.get(id)?;
            let usable = member.doubted.is_none() || held;
            if usable || member.endpoint.health != Health::Ready {
                return Some(Arc::clone(&member.endpoint));
            }
            let mut doubted = Endpoint::clone(&member.endpoint);
            doubted.health = Health::NotReady;
            Some(Arc::new(doubted))
        })
    }

    /// How many doubted endpoints of a service are held against the doubt, and of how many.
    pub fn held(&self, service: &ServiceKey) -> Option<(usize, usize)> {
        let roster = self.services.get(service)?;
        self.is_held(roster)
            .then_some((roster.doubted.len(), roster.members.len()))
    }

    /// The services whose endpoints changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.touched)
    }

    pub(crate) fn witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.witnesses.values()
    }

    fn is_held(&self, roster: &Roster) -> bool {
        let guard = &self.timing.guard;
        guard.holds(roster.doubted.len(), roster.members.len())
    }

    fn departed(&self, now: Moment) -> Vec<Epoch> {
        if !self.is_settled() {
            return Vec::new();
        }
        let patience = self.timing.witness_patience;
        let departed = |w: &Witness| match w.contact {
            Contact::Lost(since) => since.after(patience) <= now,
            Contact::Open => false,
        };
        let witnesses = self.witnesses.iter();
        witnesses
            .filter(|(_, w)| departed(w))
            .map(|(epoch, _)| *epoch)
            .collect()
    }

    /// Every doubted endpoint and when it goes.
    fn doubts(&self) -> impl Iterator<Item = (EndpointId, Moment)> {
        self.services.values().flat_map(move |roster| {
            let held = self.is_held(roster);
            roster.doubted.iter().filter_map(move |id| {
                let since = self.members.get(id)?.doubted?;
                Some((*id, self.timing.guard.expiry(since, held)))
            })
        })
    }

    fn expired(&self, now: Moment) -> Vec<EndpointId> {
        self.doubts()
            .filter(|(_, at)| *at <= now)
            .map(|(id, _)| id)
            .collect()
    }

    fn place(&mut self, endpoint: Arc<Endpoint>) {
        let (id, service) = (endpoint.id, endpoint.service.clone());
        let roster = self.services.entry(service.clone()).or_default();
        roster.members.insert(id);
        self.touched.insert(service);
        let doubted = None;
        self.members.insert(id, Member { endpoint, doubted });
    }

    fn remove(&mut self, id: EndpointId) {
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        let service = &member.endpoint.service;
        if let Some(roster) = self.services.get_mut(service) {
            roster.members.remove(&id);
            roster.doubted.remove(&id);
            if roster.members.is_empty() {
                self.services.remove(service);
            }
        }
        self.touched.insert(service.clone());
    }

    fn trust(&mut self, id: EndpointId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if member.doubted.take().is_some() {
            let service = &member.endpoint.service;
            if let Some(roster) = self.services.get_mut(service) {
                roster.doubted.remove(&id);
            }
            self.touched.insert(service.clone());
        }
    }

    fn doubt_unless_attested(&mut self, id: EndpointId, now: Moment) {
        if self.witnesses.values().any(|witness| witness.attests(id)) {
            return;
        }
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if member.doubted.is_none() {
            member.doubted = Some(now);
            let service = &member.endpoint.service;
            if let Some(roster) = self.services.get_mut(service) {
                roster.doubted.insert(id);
            }
            self.touched.insert(service.clone());
        }
    }

    /// A withdrawal is remembered as long as an older word may still arrive.
    fn forget_withdrawals(&mut self, now: Moment) {
        while let Some((at, id)) = self.withdrawals.front().copied() {
            if at.after(self.timing.withdrawal_memory) > now {
                return;
            }
            self.withdrawals.pop_front();
            let attested = self.witnesses.values().any(|w| w.attests(id));
            let Some(withdrawal) = self.withdrawn.get_mut(&id).filter(|w| w.heard == at) else {
                continue;
            };
            if attested {
                withdrawal.heard = now;
                self.withdrawals.push_back((now, id));
            } else {
                self.withdrawn.remove(&id);
            }
        }
    }
}
