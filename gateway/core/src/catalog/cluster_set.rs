//! The endpoints of one cluster, as its gateways attest them.

mod members;
mod withdrawals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_model::{Digest, Endpoint, EndpointId, GatewayName, ServiceKey};

use super::witness::{Contact, Silence, Witness};
use super::{Epoch, Interest, LastKnown, SetHash, Timing};
use crate::Moment;

use members::Members;
use withdrawals::Withdrawals;

/// More endpoints of one cluster than this are not taken in.
const ENDPOINTS_MAX: usize = 500_000;

/// Runs of one gateway that are over and still count. Of more, the oldest ones are one: a peer may
/// have as many runs as it likes.
const LOST_RUNS_MAX: usize = 8;

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
    members: Members,
    withdrawals: Withdrawals,
}

impl ClusterSet {
    /// A cluster nobody has spoken for yet.
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            witnesses: BTreeMap::new(),
            members: Members::new(timing.guard),
            withdrawals: Withdrawals::new(timing.withdrawal_memory),
        }
    }

    /// A run of `gateway` can be heard, again or for the first time, or says whether it
    /// recovers in the middle of its stream. Another run of the same gateway is over.
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
        // A snapshot under way is of this stream, and goes on: that of a lost one went with it.
        if let Contact::Lost(_) = witness.contact {
            witness.contact = Contact::Greeted;
        }
        witness.silence = silence;
        self.join_lost(gateway);
    }

    /// Has the oldest of too many runs of a gateway that are over count as one.
    fn join_lost(&mut self, gateway: &GatewayName) {
        let lost_since = |(epoch, witness): (&Epoch, &Witness)| match witness.contact {
            Contact::Lost(since) if witness.gateway == *gateway => Some((since, *epoch)),
            _ => None,
        };
        let witnesses = self.witnesses.iter().filter(|(e, _)| **e != Epoch::DISK);
        let mut lost: Vec<(Moment, Epoch)> = witnesses.filter_map(lost_since).collect();
        lost.sort_unstable();
        let joined = lost.len().saturating_sub(LOST_RUNS_MAX);
        let mut oldest_first = lost.into_iter().map(|(_, epoch)| epoch);
        let Some(oldest) = oldest_first.next().filter(|_| joined > 0) else {
            return;
        };
        // Into the oldest, which has most words, and goes when it would have gone.
        for next in oldest_first.take(joined) {
            let Some(next) = self.witnesses.remove(&next) else {
                continue;
            };
            if let Some(oldest) = self.witnesses.get_mut(&oldest) {
                for (id, sequence) in next.words() {
                    oldest.say(*id, *sequence);
                }
                oldest.digest = next.digest.or(oldest.digest.take());
            }
        }
    }

    /// The witness's stream ended. What it attested stands until somebody else
    /// of its cluster is heard who could have attested it and does not.
    pub fn lost(&mut self, epoch: Epoch, now: Moment) {
        if let Some(witness) = self.witnesses.get_mut(&epoch) {
            witness.incoming = None;
            if !matches!(witness.contact, Contact::Lost(_)) {
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
        let known = self.members.get(id);
        if known.is_none() && self.members.len() >= ENDPOINTS_MAX {
            return false;
        }
        let Some(witness) = self.witnesses.get_mut(&epoch) else {
            return false;
        };
        witness.say(id, endpoint.sequence);
        if self.withdrawals.sequence(id) >= Some(endpoint.sequence) {
            return true;
        }
        // What was on disk shows doubt as unreadiness: of two equal words the one said now counts.
        let known = self.members.get(id);
        let is_news = |known: &Arc<Endpoint>| {
            known.sequence < endpoint.sequence
                || (known.sequence == endpoint.sequence && *known != endpoint)
        };
        if known.is_none_or(is_news) {
            self.members.place(endpoint);
        } else {
            self.members.trust(id);
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
        let known = self.members.get(id);
        if known.is_some_and(|known| known.sequence <= sequence) {
            self.members.remove(id);
        } else {
            self.doubt_unless_attested(id, now);
        }
        #[cfg(feature = "bugs")]
        if weft_model::planted::Bug::ForgottenWithdrawal.is_planted() {
            return;
        }
        self.withdrawals.note(id, sequence, now);
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
        if let Some(witness) = self.witnesses.get_mut(&epoch)
            && witness.contact == Contact::Greeted
        {
            witness.contact = Contact::Open;
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
        let unwanted = self.members.outside(interest);
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
            self.members.remove(id);
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

    /// Takes in what else was on disk. Its age is that of the last word on it, not of this start.
    pub fn recall(&mut self, last: LastKnown, gateway: &GatewayName) {
        let known = self.witnesses.entry(Epoch::DISK);
        let witness = known.or_insert_with(|| Witness::new(gateway.clone(), Silence::Recovering));
        witness.contact = Contact::Lost(last.heard);
        witness.synced = Some(last.covered);
        witness.digest = Some(last.digest);
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
        self.members.expire(now);
        self.forget_withdrawals(now);
    }

    /// When [`ClusterSet::poll`] has something to do next, if nothing happens before.
    pub fn deadline(&self) -> Option<Moment> {
        let lost = self.witnesses.values().filter_map(|w| match w.contact {
            Contact::Lost(since) => Some(since.after(self.timing.witness_patience)),
            Contact::Greeted | Contact::Open => None,
        });
        let lost = lost.min().filter(|_| self.is_settled());
        lost.into_iter().chain(self.members.deadline()).min()
    }

    /// Whether somebody speaks for the cluster whose silence means absence.
    pub fn is_settled(&self) -> bool {
        self.witnesses.values().any(Witness::is_settled)
    }

    /// The endpoint with this id.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.members.get(id)
    }

    /// All services that have endpoints here.
    pub fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.members.services()
    }

    /// The endpoints of a service as they are to be used, in the order of
    /// their ids. A doubted one takes no new work, unless so many are doubted
    /// that the doubt is not believed.
    pub fn endpoints_of(&self, service: &ServiceKey) -> impl Iterator<Item = Arc<Endpoint>> {
        self.members.endpoints_of(service)
    }

    /// How many doubted endpoints of a service are held against the doubt, and of how many.
    pub fn held(&self, service: &ServiceKey) -> Option<(usize, usize)> {
        self.members.held(service)
    }

    /// The services whose endpoints changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<ServiceKey> {
        self.members.take_touched()
    }

    pub(crate) fn witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.witnesses.values()
    }

    fn departed(&self, now: Moment) -> Vec<Epoch> {
        if !self.is_settled() {
            return Vec::new();
        }
        let patience = self.timing.witness_patience;
        let departed = |w: &Witness| match w.contact {
            Contact::Lost(since) => since.after(patience) <= now,
            Contact::Greeted | Contact::Open => false,
        };
        let witnesses = self.witnesses.iter();
        witnesses
            .filter(|(_, w)| departed(w))
            .map(|(epoch, _)| *epoch)
            .collect()
    }

    fn doubt_unless_attested(&mut self, id: EndpointId, now: Moment) {
        if !self.witnesses.values().any(|witness| witness.attests(id)) {
            self.members.doubt(id, now);
        }
    }

    fn forget_withdrawals(&mut self, now: Moment) {
        let witnesses = &self.witnesses;
        let attested = |id| witnesses.values().any(|witness| witness.attests(id));
        self.withdrawals.forget(now, attested);
    }
}
