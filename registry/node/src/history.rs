//! Replaying history: what the state was, and whether the trail holds.
//!
//! What it is: a state and the rows after it in, later states and verdicts out. What it is not:
//! a reader of disks; the rows are handed in.

mod trail;

use raft::eraftpb::EntryType;
use weft_model::Refusal;

pub use trail::{Trail, TrailFault};

use crate::disk::{Archive, ArchiveError, Stored};
use crate::image::Image;
use crate::replica::{Answer, Record, Replica};
use crate::wire::{Row, WireError};

/// Judges everything again that a disk's history holds.
pub(crate) fn trail_of(archive: &Archive) -> Result<Trail, ArchiveError> {
    let starts = archive.images()?;
    let mut auditor: Option<trail::Auditor> = None;
    for (at, start) in starts.iter().enumerate() {
        let through = starts.get(at + 1).copied().unwrap_or(u64::MAX);
        let Some(segment) = archive.segment(*start, through)? else {
            continue;
        };
        let auditor = match &mut auditor {
            Some(auditor) => {
                auditor.meet(&segment.image);
                auditor
            }
            none => none.insert(trail::Auditor::begin(segment.image)),
        };
        if !segment.rows.iter().all(|row| auditor.take(row)) {
            break;
        }
    }
    Ok(auditor.map(trail::Auditor::end).unwrap_or_default())
}

/// A state that moves along the rows after it.
#[derive(Debug)]
pub(crate) struct Replay {
    replica: Replica,
}

impl Replay {
    pub(crate) fn from(image: Image) -> Self {
        let before = (image.index.0, image.term);
        let stored = Stored {
            before,
            image,
            ..Stored::default()
        };
        Self {
            replica: Replica::new(stored),
        }
    }

    /// The state that it has come to.
    pub(crate) fn image(&self) -> &Image {
        self.replica.image()
    }

    /// Goes on by a row, and takes its word on the signature.
    pub(crate) fn step(&mut self, row: &Row) -> Result<Record, WireError> {
        match (&row.answer, row.entry.get_entry_type()) {
            (Some(Answer::Judged(outcome)), EntryType::EntryNormal) => {
                let authentic = *outcome != Err(Refusal::Signature);
                self.replica.apply_judged(&row.entry, authentic)
            }
            (Some(Answer::Quarantined(reason)), _) => {
                Ok(self.replica.quarantine(&row.entry, reason.clone()))
            }
            _ => Ok(self.replica.pass(&row.entry)),
        }
    }

    /// Goes on by a row, and judges its signature anew: what comes of it here.
    pub(crate) fn judge(&mut self, row: &Row) -> Result<Record, WireError> {
        match (&row.answer, row.entry.get_entry_type()) {
            (Some(Answer::Judged(_)), EntryType::EntryNormal) => {
                let decoded = crate::wire::decode(row.entry.data.clone())?;
                let authentic = self.replica.is_authentic(&decoded);
                self.replica.apply_judged(&row.entry, authentic)
            }
            _ => self.step(row),
        }
    }
}
