//! One run of one gateway, and what it attests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use weft_model::{Digest, EndpointId, GatewayName};

use super::{Interest, SetHash, set_hash};
use crate::Moment;

/// One run of a gateway: random at its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub [u8; 16]);

impl Epoch {
    /// The witness that is the last view on this gateway's disk.
    pub const DISK: Self = Self([0; 16]);

    /// Takes 16 bytes from a slice; none if its length differs.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether the witness can be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    /// Its stream has begun, and may hold back what it attests: no silence of it tells anything,
    /// whatever an earlier stream said.
    Greeted,
    /// Its stream has said all there was once.
    Open,
    /// Its stream ended then.
    Lost(Moment),
}

/// Whether what a witness does not say may be taken for absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Not yet: it started lately, its sidecars may not have come back.
    Recovering,
    /// It is: the witness has had time.
    Telling,
}

/// What one epoch attests.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    pub(crate) gateway: GatewayName,
    pub(crate) contact: Contact,
    pub(crate) silence: Silence,
    /// What its last whole snapshot covered; none before it.
    pub(crate) synced: Option<Interest>,
    /// What the snapshot under way covers, and what it has named so far.
    pub(crate) incoming: Option<(Interest, BTreeMap<EndpointId, u64>)>,
    pub(crate) digest: Option<Arc<Digest>>,
    words: BTreeMap<EndpointId, u64>,
    hash: SetHash,
}

impl Witness {
    pub(crate) fn new(gateway: GatewayName, silence: Silence) -> Self {
        Self {
            gateway,
            contact: Contact::Greeted,
            silence,
            synced: None,
            incoming: None,
            digest: None,
            words: BTreeMap::new(),
            hash: SetHash::default(),
        }
    }

    /// Whether what it does not attest is absent, as far as it can know.
    pub(crate) fn is_settled(&self) -> bool {
        #[cfg(feature = "bugs")]
        if weft_model::planted::Bug::AbsentWhileRecovering.is_planted() {
            return self.contact == Contact::Open && self.synced.is_some();
        }
        self.contact == Contact::Open && self.silence == Silence::Telling && self.synced.is_some()
    }

    pub(crate) fn attests(&self, id: EndpointId) -> bool {
        self.words.contains_key(&id)
    }

    pub(crate) fn words(&self) -> &BTreeMap<EndpointId, u64> {
        &self.words
    }

    pub(crate) fn hash(&self) -> SetHash {
        self.hash
    }

    /// The last word it attested on the endpoint.
    pub(crate) fn word(&self, id: EndpointId) -> Option<u64> {
        self.words.get(&id).copied()
    }

    /// It attests this word; one older than it attests already changes nothing.
    pub(crate) fn say(&mut self, id: EndpointId, sequence: u64) {
        let sequence = sequence.max(self.word(id).unwrap_or_default());
        if let Some((_, named)) = &mut self.incoming {
            named.insert(id, sequence);
        }
        if let Some(before) = self.words.insert(id, sequence) {
            self.hash.remove(set_hash::word(id, before));
        }
        self.hash.insert(set_hash::word(id, sequence));
    }

    pub(crate) fn unsay(&mut self, id: EndpointId) {
        if let Some((_, named)) = &mut self.incoming {
            named.remove(&id);
        }
        if let Some(before) = self.words.remove(&id) {
            self.hash.remove(set_hash::word(id, before));
        }
    }
}
