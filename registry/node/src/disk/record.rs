//! Values at rest: a CRC-32 (little endian), then a protobuf message.

use bytes::Bytes;
use prost::Message;
use raft::eraftpb::{Entry, HardState};
use weft_model::Index;
use weft_proto::{log, peer};

use super::batch::{Mark, Meta, Stored};
use crate::bounds::NUMBER_MAX;
use crate::image::Image;
use crate::wire::{self, Row};

/// What is wrong with what a disk holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct Damage {
    /// Which value.
    pub what: String,
    /// How it is wrong.
    pub problem: String,
}

pub(super) const CRC_BYTES: usize = 4;

fn seal(message: &[u8]) -> Bytes {
    let crc = crc32fast::hash(message).to_le_bytes();
    [&crc, message].concat().into()
}

fn unseal<'a>(what: &str, value: &'a [u8]) -> Result<&'a [u8], Damage> {
    let Some((crc, message)) = value.split_first_chunk::<CRC_BYTES>() else {
        return Err(damage(what, format!("only {} bytes", value.len())));
    };
    let (stored, computed) = (u32::from_le_bytes(*crc), crc32fast::hash(message));
    if stored != computed {
        let problem = format!("its checksum is {computed:08x}, {stored:08x} was written");
        return Err(damage(what, problem));
    }
    Ok(message)
}

/// What a test changed, behind a checksum that is right.
#[cfg(any(test, feature = "simulation"))]
pub(super) fn resealed(message: Vec<u8>) -> Vec<u8> {
    seal(&message).to_vec()
}

pub(super) fn damage(what: &str, problem: impl ToString) -> Damage {
    Damage {
        what: what.to_owned(),
        problem: problem.to_string(),
    }
}

pub(super) fn entry(entry: &Entry) -> Bytes {
    seal(&wire::raft::write_entry(entry).encode_to_vec())
}

pub(super) fn hard(hard: &HardState) -> Bytes {
    seal(&wire::raft::write_hard_state(hard).encode_to_vec())
}

pub(super) fn start(index: u64, term: u64) -> Bytes {
    seal(&log::LogStart { index, term }.encode_to_vec())
}

/// The snapshot as it would travel, with its position and configuration.
pub(super) fn image(image: &Image) -> Bytes {
    let snapshot = peer::RaftSnapshot {
        index: image.index.0,
        term: image.term,
        conf_state: Some(wire::raft::write_conf(&image.conf)),
        data: wire::encode_image(image),
    };
    seal(&snapshot.encode_to_vec())
}

/// A row of history.
pub(crate) fn row(row: &log::HistoryRow) -> Bytes {
    seal(&row.encode_to_vec())
}

pub(super) fn read_row(index: u64, value: &Bytes) -> Result<Row, Damage> {
    let what = format!("history row {index}");
    unseal(&what, value)?;
    let wire =
        log::HistoryRow::decode(value.slice(CRC_BYTES..)).map_err(|error| damage(&what, error))?;
    let row = wire::read_row(wire).map_err(|error| damage(&what, error))?;
    if row.entry.index != index {
        let problem = format!("it says that it is row {}", row.entry.index);
        return Err(damage(&what, problem));
    }
    Ok(row)
}

/// A snapshot as it stands on the disk, as history keeps it.
pub(super) fn archived(snapshot: &[u8], rows_bytes: u64) -> Result<Bytes, Damage> {
    let snapshot = Bytes::copy_from_slice(unseal(Meta::Snapshot.key(), snapshot)?);
    let image = log::HistoryImage {
        snapshot,
        rows_bytes,
    };
    Ok(seal(&image.encode_to_vec()))
}

/// How much an archived snapshot and the rows after it take.
pub(super) fn archived_bytes(index: u64, value: &[u8]) -> Result<u64, Damage> {
    let what = format!("history image {index}");
    let wire = log::HistoryImage::decode(unseal(&what, value)?).map_err(|e| damage(&what, e))?;
    let rows = wire.rows_bytes.checked_add(value.len() as u64);
    rows.ok_or_else(|| damage(&what, "the rows after it have no such size"))
}

pub(super) fn read_archived(index: u64, value: &[u8]) -> Result<Image, Damage> {
    let what = format!("history image {index}");
    let wire = log::HistoryImage::decode(unseal(&what, value)?).map_err(|e| damage(&what, e))?;
    let snapshot =
        peer::RaftSnapshot::decode(wire.snapshot).map_err(|error| damage(&what, error))?;
    if snapshot.index != index {
        let problem = format!("it says that it is image {}", snapshot.index);
        return Err(damage(&what, problem));
    }
    let snapshot = wire::raft::read_snapshot(snapshot);
    wire::decode_image(&snapshot).map_err(|error| damage(&what, error))
}

pub(super) fn read_start(meta: Meta, value: &[u8]) -> Result<(u64, u64), Damage> {
    let what = meta.key();
    let start = log::LogStart::decode(unseal(what, value)?).map_err(|e| damage(what, e))?;
    bounded(what, [start.index, start.term])?;
    Ok((start.index, start.term))
}

pub(super) fn fence(mark: Mark) -> Bytes {
    let raised = match mark {
        Mark::Raised(at) => Some(at.0),
        Mark::Lowered => None,
    };
    seal(&log::Fence { raised }.encode_to_vec())
}

pub(super) fn read_fence(value: &[u8]) -> Result<Option<Index>, Damage> {
    let what = Meta::Fence.key();
    let fence = log::Fence::decode(unseal(what, value)?).map_err(|error| damage(what, error))?;
    bounded(what, fence.raised)?;
    Ok(fence.raised.map(Index))
}

pub(super) fn folder(folder: &log::Folder) -> Bytes {
    seal(&folder.encode_to_vec())
}

pub(super) fn read_folder(value: &[u8]) -> Result<log::Folder, Damage> {
    let what = Meta::Folder.key();
    log::Folder::decode(unseal(what, value)?).map_err(|error| damage(what, error))
}

/// Puts together what a disk held, and checks that it can be what a node wrote.
pub(super) fn read(
    entries: impl Iterator<Item = Result<(u64, Bytes), Damage>>,
    meta: impl Fn(Meta) -> Result<Option<Bytes>, Damage>,
) -> Result<Stored, Damage> {
    let mut stored = Stored::default();
    if let Some(value) = meta(Meta::Hard)? {
        let what = Meta::Hard.key();
        let wire = log::HardState::decode(unseal(what, &value)?).map_err(|e| damage(what, e))?;
        bounded(what, [wire.term, wire.commit])?;
        stored.hard = wire::raft::read_hard_state(wire);
    }
    if let Some(value) = meta(Meta::Start)? {
        stored.before = read_start(Meta::Start, &value)?;
    }
    if let Some(value) = meta(Meta::Snapshot)? {
        stored.image = read_image(&value)?;
    }
    if let Some(value) = meta(Meta::History)? {
        stored.history = Some(read_start(Meta::History, &value)?.0);
    }
    if let Some(value) = meta(Meta::Fence)? {
        stored.fenced = read_fence(&value)?;
    }
    for item in entries {
        let (index, value) = item?;
        stored.entries.push(read_entry(index, &value)?);
    }
    check(&stored)?;
    Ok(stored)
}

pub(super) fn read_image(value: &Bytes) -> Result<Image, Damage> {
    let what = Meta::Snapshot.key();
    unseal(what, value)?;
    let snapshot = peer::RaftSnapshot::decode(value.slice(CRC_BYTES..))
        .map_err(|error| damage(what, error))?;
    let snapshot = wire::raft::read_snapshot(snapshot);
    wire::decode_image(&snapshot).map_err(|error| damage(what, error))
}

fn read_entry(index: u64, value: &Bytes) -> Result<Entry, Damage> {
    let what = format!("entry {index}");
    unseal(&what, value)?;
    let wire =
        peer::RaftEntry::decode(value.slice(CRC_BYTES..)).map_err(|error| damage(&what, error))?;
    let entry = wire::raft::read_entry(wire).map_err(|error| damage(&what, error))?;
    bounded(&what, [entry.index, entry.term])?;
    if entry.index != index {
        return Err(damage(
            &what,
            format!("it says that it is entry {}", entry.index),
        ));
    }
    Ok(entry)
}

fn bounded(what: &str, numbers: impl IntoIterator<Item = u64>) -> Result<(), Damage> {
    match numbers.into_iter().find(|number| *number >= NUMBER_MAX) {
        Some(number) => Err(damage(what, format!("a term or position of {number}"))),
        None => Ok(()),
    }
}

/// The log has no gap, terms never fall, the commit lies within, the snapshot touches the log.
fn check(stored: &Stored) -> Result<(), Damage> {
    let (mut index, mut term) = stored.before;
    for entry in &stored.entries {
        if entry.index != index + 1 {
            let problem = format!("entry {} is missing", index + 1);
            return Err(damage("log", problem));
        }
        if entry.term < term {
            let problem = format!("term {} after term {term}", entry.term);
            return Err(damage(&format!("entry {}", entry.index), problem));
        }
        (index, term) = (entry.index, entry.term);
    }
    let applied = stored.image.index.0;
    if applied < stored.before.0 || applied > index {
        let problem = format!(
            "it ends at {applied}, the log spans {} to {index}",
            stored.before.0 + 1
        );
        return Err(damage(Meta::Snapshot.key(), problem));
    }
    let commit = stored.hard.commit;
    if commit < applied || commit > index {
        let problem = format!("commit {commit} lies outside {applied} to {index}");
        return Err(damage(Meta::Hard.key(), problem));
    }
    Ok(())
}
