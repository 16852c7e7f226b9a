//! The audit trail, judged again from its oldest state on.

use std::collections::{BTreeMap, BTreeSet};

use weft_identity::sha256;
use weft_model::{Author, Index, Refusal, RequestId};

use super::Replay;
use crate::image::Image;
use crate::replica::Answer;
use crate::wire::Row;

/// What a stretch of the log holds, and whether all of it is as its authors signed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    /// It begins after this position. What stood before is in the state it begins with, unproven here.
    pub after: Index,
    /// It ends here.
    pub last: Index,
    /// Entries that took effect: each request once.
    pub effected: u64,
    /// Entries that were refused, other than for their signature.
    pub refused: u64,
    /// Entries whose signature does not hold: refused, and nobody's.
    pub unproven: u64,
    /// Second records of a request that was judged before: they changed nothing.
    pub repeats: u64,
    /// Entries that could not be read here: they changed nothing.
    pub unreadable: u64,
    /// The consensus's own: new leaders and voters. Nobody signs them.
    pub own: u64,
    /// Signatures that hold, by author.
    pub proven: BTreeMap<Author, u64>,
    /// States kept on the way that came out the same again.
    pub states: u64,
    /// SHA-256 over the entries, each with the hash of those before it: gateways that hold the
    /// same stretch say the same.
    pub chain: [u8; 32],
    /// The first entry that is not as it should be; nothing after it was judged.
    pub fault: Option<TrailFault>,
}

/// Where a trail does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailFault {
    /// The entry.
    pub index: Index,
    /// What is wrong with it.
    pub what: String,
}

/// Judges rows one after the other.
pub(crate) struct Auditor {
    replay: Replay,
    requests: BTreeSet<RequestId>,
    trail: Trail,
}

impl Auditor {
    pub(crate) fn begin(image: Image) -> Self {
        let trail = Trail {
            after: image.index,
            last: image.index,
            ..Trail::default()
        };
        Self {
            replay: Replay::from(image),
            requests: BTreeSet::new(),
            trail,
        }
    }

    /// Judges the next row. False if the trail ends with a fault.
    pub(crate) fn take(&mut self, row: &Row) -> bool {
        if self.trail.fault.is_some() {
            return false;
        }
        match self.judge(row) {
            Ok(()) => {
                self.trail.last = Index(row.entry.index);
                self.link(row);
                true
            }
            Err(what) => {
                let index = Index(row.entry.index);
                self.trail.fault = Some(TrailFault { index, what });
                false
            }
        }
    }

    /// Compares a state that was kept with the one that the rows led to.
    pub(crate) fn meet(&mut self, kept: &Image) {
        let here = self.replay.image();
        if self.trail.fault.is_some() || here.index != kept.index {
            return;
        }
        if here.state == kept.state {
            self.trail.states += 1;
            return;
        }
        let what = "the state that was kept there is another than its entries make".to_owned();
        let index = kept.index;
        self.trail.fault = Some(TrailFault { index, what });
    }

    pub(crate) fn end(self) -> Trail {
        self.trail
    }

    fn judge(&mut self, row: &Row) -> Result<(), String> {
        let expected = self.trail.last.0 + 1;
        if row.entry.index != expected {
            return Err(format!("entry {expected} is missing"));
        }
        let record = self.replay.judge(row).map_err(|error| error.to_string())?;
        if record.answer != row.answer || record.events != row.events {
            let (then, now) = (
                verdict(row.answer.as_ref()),
                verdict(record.answer.as_ref()),
            );
            return Err(format!("it was {then} then, and comes out as {now}"));
        }
        let trail = &mut self.trail;
        let mut prove = || {
            if let Some(origin) = &record.origin {
                *trail.proven.entry(origin.author.clone()).or_default() += 1;
            }
        };
        match &row.answer {
            None => trail.own += 1,
            Some(Answer::Quarantined(_)) => trail.unreadable += 1,
            Some(Answer::Judged(Err(Refusal::Signature))) => trail.unproven += 1,
            Some(Answer::Judged(Err(_))) => {
                prove();
                trail.refused += 1;
            }
            Some(Answer::Judged(Ok(index))) if *index != record.index => trail.repeats += 1,
            Some(Answer::Judged(Ok(_))) => {
                prove();
                trail.effected += 1;
                if let Some(request) = record.request
                    && !self.requests.insert(request)
                {
                    return Err(format!("request {request} took effect before"));
                }
            }
        }
        Ok(())
    }

    fn link(&mut self, row: &Row) {
        let entry = &row.entry;
        let mut input = self.trail.chain.to_vec();
        input.extend(entry.index.to_be_bytes());
        input.extend(entry.term.to_be_bytes());
        input.push(entry.get_entry_type() as u8);
        input.extend(sha256(&entry.data));
        self.trail.chain = sha256(&input);
    }
}

fn verdict(answer: Option<&Answer>) -> String {
    match answer {
        None => "the consensus's own".to_owned(),
        Some(Answer::Judged(Ok(index))) => format!("done at {index}"),
        Some(Answer::Judged(Err(refusal))) => format!("refused ({refusal})"),
        Some(Answer::Quarantined(_)) => "unreadable".to_owned(),
    }
}
