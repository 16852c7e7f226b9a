//! A request takes effect at one position only, however often it was proposed.

use std::collections::BTreeMap;

use weft_model::{Index, RequestId};
use weft_registry::{Answer, Record};

#[derive(Debug, Default)]
pub(crate) struct Once {
    accepted: BTreeMap<RequestId, Index>,
}

impl Once {
    pub(crate) fn check(&mut self, record: &Record) -> Result<(), String> {
        let (Some(request), Some(Answer::Judged(outcome))) = (record.request, &record.answer)
        else {
            return Ok(());
        };
        match (self.accepted.get(&request), outcome) {
            (None, Ok(index)) => {
                self.accepted.insert(request, *index);
                Ok(())
            }
            (None, Err(_)) => Ok(()),
            (Some(known), Ok(index)) if known == index => Ok(()),
            // A node that replays its log meets the positions before it again.
            (Some(known), Err(_)) if record.index < *known => Ok(()),
            (Some(known), other) => Err(format!(
                "request {request} took effect at {known}; at {} it was answered {other:?}",
                record.index
            )),
        }
    }
}
