//! One gateway's stream, mirrored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use weft_model::{Endpoint, Index, ServiceKey};
use weft_proto::catalog as wire;

use super::record::{Record, RecordKey, decode};
use super::wire::{WireError, item_hash};

/// What one run of one gateway has said.
#[derive(Debug, Clone, Default)]
pub(super) struct Mirror {
    state: State,
    /// The snapshot under way; the state before it stands until it is whole.
    incoming: Option<State>,
    /// Whether the state was ever whole, so that readers may have it.
    usable: bool,
    /// How far the stream is, if the state is known to be whole up to there.
    position: Option<u64>,
    applied: Index,
    recovering: bool,
    /// Endpoints that it said and took back while it recovered. It takes none back for want of
    /// news then: their owners have ended them, or nobody here may use them any longer.
    ended: BTreeSet<RecordKey>,
}

#[derive(Debug, Clone, Default)]
struct State {
    records: BTreeMap<RecordKey, Held>,
    /// The keys of each service's endpoints.
    endpoints: BTreeMap<ServiceKey, BTreeSet<RecordKey>>,
    hash: u64,
}

#[derive(Debug, Clone)]
struct Held {
    record: Record,
    item: Bytes,
}

/// What a frame changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that a reader sees.
    Nothing,
    /// This service or an endpoint of it.
    Service(ServiceKey),
    /// Anything.
    Everything,
}

/// Why the stream cannot go on as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MirrorError {
    /// What is held here is not what the gateway has.
    #[error("holding {held:016x}, the gateway has {said:016x}")]
    Mismatch {
        /// The hash here.
        held: u64,
        /// The hash there.
        said: u64,
    },
    /// An item is not lawful.
    #[error(transparent)]
    Item(#[from] WireError),
}

impl Mirror {
    /// Whether it has been whole.
    pub(super) fn is_synced(&self) -> bool {
        self.usable
    }

    /// Whether what it lacks may be taken for absent.
    pub(super) fn is_settled(&self) -> bool {
        self.is_synced() && !self.recovering
    }

    /// How much its word counts when its gateway is gone: nothing, as a gateway's that was still
    /// recovering, or fully.
    pub(super) fn worth(&self) -> u8 {
        u8::from(self.is_synced()) + u8::from(self.is_settled())
    }

    /// Where the stream can be resumed.
    pub(super) fn position(&self) -> Option<u64> {
        self.position
    }

    /// The log position its services reflect.
    pub(super) fn applied(&self) -> Index {
        self.applied
    }

    /// Its stream begins or goes on.
    pub(super) fn open(&mut self, resumed: bool) {
        self.incoming = None;
        if !resumed {
            self.position = None;
        }
    }

    /// What follows up to the next mark is the whole state.
    pub(super) fn begin_snapshot(&mut self) {
        self.incoming = Some(State::default());
    }

    /// Takes one item in.
    pub(super) fn apply(&mut self, position: u64, item: Bytes) -> Result<Change, MirrorError> {
        let (key, record) = decode(&item)?;
        let change = match &self.incoming {
            Some(_) => Change::Nothing,
            None => key.changes(),
        };
        match &mut self.incoming {
            Some(state) => state.set(key, record, item),
            None => {
                self.note_ended(&key, record.is_some());
                self.state.set(key, record, item);
                self.position = self.position.map(|_| position);
            }
        }
        Ok(change)
    }

    /// The gateway has said everything up to here.
    pub(super) fn mark(&mut self, position: u64, mark: &wire::Mark) -> Result<Change, MirrorError> {
        let change = match self.incoming.take() {
            Some(state) => {
                self.state = state;
                self.usable = true;
                Change::Everything
            }
            None if self.recovering != mark.recovering => Change::Everything,
            None => Change::Nothing,
        };
        self.applied = Index(mark.applied_index);
        self.recovering = mark.recovering;
        if !self.recovering {
            self.ended.clear();
        }
        if self.state.hash != mark.hash {
            self.position = None;
            return Err(MirrorError::Mismatch {
                held: self.state.hash,
                said: mark.hash,
            });
        }
        self.position = Some(position);
        Ok(change)
    }

    fn note_ended(&mut self, key: &RecordKey, present: bool) {
        let is_endpoint = matches!(key, RecordKey::Endpoint(..));
        if present {
            self.ended.remove(key);
        } else if is_endpoint && self.recovering && self.state.records.contains_key(key) {
            self.ended.insert(key.clone());
        }
    }

    /// Whether it knows that an endpoint's owner ended it, though it may not be settled.
    pub(super) fn has_ended(&self, endpoint: &Endpoint) -> bool {
        // Nearly always there is none, and this is asked of every endpoint.
        !self.ended.is_empty() && self.ended.contains(&RecordKey::of_endpoint(endpoint))
    }

    /// Takes in what was on disk.
    pub(super) fn restore(&mut self, applied: Index, items: impl IntoIterator<Item = Bytes>) {
        self.applied = applied;
        self.usable = true;
        self.recovering = true;
        for item in items {
            // What an older or newer version wrote and this one cannot read is left out.
            if let Ok((key, record)) = decode(&item) {
                self.state.set(key, record, item);
            }
        }
    }

    /// What it says of `key`.
    pub(super) fn record(&self, key: &RecordKey) -> Option<&Record> {
        self.state.records.get(key).map(|held| &held.record)
    }

    /// Everything it says, by key.
    pub(super) fn records(&self) -> impl Iterator<Item = (&RecordKey, &Record)> {
        let held = self.state.records.iter();
        held.map(|(key, held)| (key, &held.record))
    }

    /// What it says of the endpoints of `service`.
    pub(super) fn endpoints_of(
        &self,
        service: &ServiceKey,
    ) -> impl Iterator<Item = &Arc<Endpoint>> {
        let ids = self.state.endpoints.get(service).into_iter().flatten();
        ids.filter_map(|key| match self.record(key) {
            Some(Record::Endpoint(endpoint)) => Some(endpoint),
            _ => None,
        })
    }

    /// Everything it says, encoded, for the disk.
    pub(super) fn items(&self) -> impl Iterator<Item = &Bytes> {
        self.state.records.values().map(|held| &held.item)
    }
}

impl State {
    fn set(&mut self, key: RecordKey, record: Option<Record>, item: Bytes) {
        self.index(&key, record.is_some());
        let before = match record {
            Some(record) => {
                self.hash = self.hash.wrapping_add(item_hash(&item));
                self.records.insert(key, Held { record, item })
            }
            None => self.records.remove(&key),
        };
        if let Some(before) = before {
            self.hash = self.hash.wrapping_sub(item_hash(&before.item));
        }
    }

    fn index(&mut self, key: &RecordKey, present: bool) {
        let RecordKey::Endpoint(service, _, _) = key else {
            return;
        };
        let keys = self.endpoints.entry(service.clone()).or_default();
        if present {
            keys.insert(key.clone());
        } else {
            keys.remove(key);
        }
        if keys.is_empty() {
            self.endpoints.remove(service);
        }
    }
}
