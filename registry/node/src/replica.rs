//! One node's log in memory and the state applied from it.
//!
//! What it is: the consensus library's view of storage, and `apply`. What it is
//! not: durable. It runs ahead of the disk by the batches under way; the driver
//! tells the library which of them are safe.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use weft_model::{
    Author, Entry as LogEntry, Event, Index, Key, Outcome, RequestId, UserName, WallTime,
};

use crate::image::{Image, Quarantined};
use crate::spacing::Spacing;
use crate::wire::{self, WireError};

/// The log, the hard state and the applied state.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Position and term of what stands before the first kept entry.
    before: (u64, u64),
    entries: VecDeque<Entry>,
    hard: HardState,
    image: Image,
    /// Snapshots sent. Behind a lock since the library asks for one by a shared reference.
    spacing: Mutex<Spacing>,
    /// What this build is, in a test of several.
    #[cfg(test)]
    pub(crate) build: Build,
}

/// Builds of two days in a test, the later of which has brought routes, at a level of their own.
#[cfg(test)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// As it is.
    #[default]
    This,
    /// It knows no routes.
    Earlier,
    /// It knows routes.
    Later,
}

#[cfg(test)]
impl Build {
    fn level(self, command: &weft_model::Command) -> Result<weft_model::FormatLevel, WireError> {
        let routes = matches!(command, weft_model::Command::PutRoute(..));
        match self {
            Self::Earlier if routes => Err(WireError::Missing("command")),
            Self::Later if routes => Ok(weft_model::FormatLevel(wire::FORMAT_SUPPORTED.0 + 1)),
            _ => Ok(command.level()),
        }
    }
}

/// What came of one committed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was applied, or refused. A retried request gets its first outcome.
    Judged(Outcome),
    /// It could not be read; nothing changed.
    Quarantined(String),
}

/// Where an entry comes from and what it asks for, as it says itself.
///
/// Who signed it is proved unless it was refused for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who wrote it.
    pub author: Author,
    /// The operator on whose order a gateway wrote it.
    pub by_order_of: Option<UserName>,
    /// The leader's clock when it proposed the entry.
    pub time: WallTime,
    /// The command, in two words.
    pub command: &'static str,
    /// The record that the command is about.
    pub target: Option<Key>,
}

impl Origin {
    pub(crate) fn of(entry: &LogEntry) -> Self {
        Self {
            author: entry.author.clone(),
            by_order_of: entry.by_order_of.clone(),
            time: entry.time,
            command: entry.command.name(),
            target: entry.command.target(),
        }
    }
}

/// One committed record, applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its position.
    pub index: Index,
    /// CRC-32 of its term, kind and bytes: equal on every node that has it.
    pub checksum: u32,
    /// Whose proposal it was; none for the consensus's own records.
    pub request: Option<RequestId>,
    /// Where it comes from; none for the consensus's own records and unreadable ones.
    pub origin: Option<Origin>,
    /// What came of it; none for the consensus's own records.
    pub answer: Option<Answer>,
    /// What changed.
    pub events: Vec<Event>,
}

impl Replica {
    /// Takes over what a disk held.
    pub(crate) fn new(stored: crate::disk::Stored) -> Self {
        let crate::disk::Stored {
            before,
            entries,
            hard,
            image,
            history: _,
            last_row: _,
            fenced: _,
        } = stored;
        Self {
            before,
            entries: entries.into(),
            hard,
            image,
            spacing: Mutex::default(),
            #[cfg(test)]
            build: Build::This,
        }
    }

    /// Counts a tick: snapshots are spaced by them.
    pub(crate) fn tick(&self) {
        self.spacing().tick();
    }

    /// Whether `peer` may ask for a snapshot now: it was sent none lately.
    pub(crate) fn may_send_snapshot(&self, peer: u64) -> bool {
        self.spacing().may_send(peer)
    }

    fn spacing(&self) -> MutexGuard<'_, Spacing> {
        self.spacing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    pub(crate) fn hard(&self) -> &HardState {
        &self.hard
    }

    pub(crate) fn set_hard(&mut self, hard: HardState) {
        self.hard = hard;
    }

    pub(crate) fn set_conf(&mut self, conf: raft::eraftpb::ConfState) {
        self.image.conf = conf;
    }

    pub(crate) fn set_recovered(&mut self, at: Index) {
        self.image.recovered = at;
    }

    /// Position and term of what stands before the first kept entry.
    pub(crate) fn before(&self) -> (u64, u64) {
        self.before
    }

    fn last(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    fn position(&self, index: u64) -> Option<usize> {
        let offset = index.checked_sub(self.before.0 + 1)?;
        usize::try_from(offset)
            .ok()
            .filter(|at| *at < self.entries.len())
    }

    /// Replaces the log from the first of `entries` on.
    ///
    /// The library never hands out a gap, nor a compacted position.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else {
            return;
        };
        let keep = first.index.saturating_sub(self.before.0 + 1);
        self.entries
            .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.entries.extend(entries.iter().cloned());
    }

    /// A leader's snapshot takes the place of the log; its state comes with [`Self::install`].
    pub(crate) fn restart_after(&mut self, index: u64, term: u64) {
        self.before = (index, term);
        self.entries.clear();
    }

    /// The snapshot is safe on disk: its state is the state now.
    pub(crate) fn install(&mut self, image: Image) {
        self.image = image;
    }

    /// Forgets the log up to `through`; the state was applied from it.
    pub(crate) fn compact(&mut self, through: u64) {
        let Some(at) = self.position(through) else {
            return;
        };
        self.before = (through, self.entries[at].term);
        self.entries.drain(..=at);
    }

    /// Applies one committed record that is none of the consensus's own.
    pub(crate) fn apply(&mut self, entry: &Entry, repeats: Repeats) -> Record {
        let mut record = self.pass(entry);
        let index = record.index;
        if entry.data.is_empty() {
            return record;
        }
        match self.read(&entry.data) {
            Ok(decoded) => {
                record.request = Some(decoded.entry.request);
                record.origin = Some(Origin::of(&decoded.entry));
                let authentic = self.is_authentic(&decoded);
                let (answer, events) = self.apply_decoded(index, decoded, authentic, repeats);
                record.answer = Some(answer);
                record.events = events;
            }
            Err(error) => {
                let reason = error.to_string();
                record.request = wire::entry_request(&entry.data);
                record.answer = Some(Answer::Quarantined(reason.clone()));
                self.image.unreadable.add(Quarantined { index, reason });
            }
        }
        record
    }

    /// Reads a record that this build and every other one in the group reads alike.
    fn read(&self, data: &bytes::Bytes) -> Result<wire::Decoded, WireError> {
        let decoded = wire::decode(data.clone())?;
        #[cfg(not(test))]
        let needs = decoded.entry.command.level();
        #[cfg(test)]
        let needs = self.build.level(&decoded.entry.command)?;
        let has = self.image.state.format();
        match self.image.state.keeps_unread(needs) {
            true => Err(WireError::Early { needs, has }),
            false => Ok(decoded),
        }
    }

    /// A record of the consensus's own: only the position moves.
    pub(crate) fn pass(&mut self, entry: &Entry) -> Record {
        self.image.index = Index(entry.index);
        self.image.term = entry.term;
        Record {
            index: Index(entry.index),
            checksum: checksum(entry),
            request: None,
            origin: None,
            answer: None,
            events: Vec::new(),
        }
    }

    /// Keeps a record of the consensus's own that could not be read.
    pub(crate) fn quarantine(&mut self, entry: &Entry, reason: String) -> Record {
        let record = Record {
            answer: Some(Answer::Quarantined(reason.clone())),
            ..self.pass(entry)
        };
        let index = record.index;
        self.image.unreadable.add(Quarantined { index, reason });
        record
    }

    /// Applies a record of history, whose signature was judged when it was committed.
    pub(crate) fn apply_judged(
        &mut self,
        entry: &Entry,
        authentic: bool,
    ) -> Result<Record, WireError> {
        let decoded = wire::decode(entry.data.clone())?;
        let mut record = self.pass(entry);
        record.request = Some(decoded.entry.request);
        record.origin = Some(Origin::of(&decoded.entry));
        let (answer, events) = self.apply_decoded(record.index, decoded, authentic, Repeats::Once);
        record.answer = Some(answer);
        record.events = events;
        Ok(record)
    }

    /// Whether the signature holds under the key that the state records for the author.
    pub(crate) fn is_authentic(&self, decoded: &wire::Decoded) -> bool {
        let key = self.image.state.signing_key(&decoded.entry.author);
        let key = key.or_else(|| decoded.founding_key());
        key.is_some_and(|key| {
            let input = wire::signing_input(&decoded.signed);
            weft_identity::verify(&key, &input, &decoded.signature)
        })
    }

    /// Whether an entry reads and its signature holds, as the state is now.
    pub(crate) fn is_proven(&self, entry: &bytes::Bytes) -> bool {
        wire::decode(entry.clone()).is_ok_and(|decoded| self.is_authentic(&decoded))
    }

    fn apply_decoded(
        &mut self,
        index: Index,
        decoded: wire::Decoded,
        authentic: bool,
        repeats: Repeats,
    ) -> (Answer, Vec<Event>) {
        let mut entry = decoded.entry;
        entry.authentic = authentic;
        match repeats {
            Repeats::Once => {}
            #[cfg(feature = "bugs")]
            Repeats::Again => entry.request = RequestId(u128::from(index.0).to_be_bytes()),
        }
        let applied = self.image.state.apply(index, &entry);
        let weft_model::Applied { outcome, events } = applied;
        (Answer::Judged(outcome), events)
    }
}

fn checksum(entry: &Entry) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&entry.term.to_le_bytes());
    crc.update(&[entry.get_entry_type() as u8]);
    crc.update(&entry.data);
    crc.finalize()
}

/// What a second record of the same request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Nothing: the state remembers the request.
    Once,
    /// It is applied again: a bug the simulation must catch.
    #[cfg(feature = "bugs")]
    Again,
}

impl Storage for Replica {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard.clone(), self.image.conf.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.before.0 {
            return Err(StorageError::Compacted.into());
        }
        let (Some(from), Some(to)) = (
            self.position(low),
            high.checked_sub(1).and_then(|last| self.position(last)),
        ) else {
            return Err(StorageError::Unavailable.into());
        };
        let mut entries: Vec<Entry> = self.entries.range(from..=to).cloned().collect();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        if index < self.before.0 {
            return Err(StorageError::Compacted.into());
        }
        match self.position(index) {
            Some(at) => Ok(self.entries[at].term),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// Always the newest: a newcomer takes only a snapshot whose configuration names it.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let image = &self.image;
        let data = wire::encode_image(image);
        if image.index.0 < request_index || data.len() > wire::SNAPSHOT_BYTES_MAX {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot {
            data,
            ..Snapshot::default()
        };
        let metadata = snapshot.mut_metadata();
        metadata.index = image.index.0;
        metadata.term = image.term;
        metadata.set_conf_state(image.conf.clone());
        self.spacing().sent(to);
        Ok(snapshot)
    }
}
