//! A watcher is shown every entry that changed something or was refused, once and in order, as it
//! was first applied anywhere; unless it was told to read a state, from there on.

use std::collections::BTreeMap;

use weft_model::{Event, Index, Refusal};
use weft_registry::{Answer, Judged, Record};

use super::Agreement;

#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Up to where each watcher knows everything.
    last: BTreeMap<usize, Index>,
}

impl Watched {
    /// A watcher that knows what was before begins here.
    pub(crate) fn begin(&mut self, watcher: usize, at: Index) {
        self.last.insert(watcher, at);
    }

    pub(crate) fn check(
        &mut self,
        watcher: usize,
        entry: &Judged,
        log: &Agreement,
    ) -> Result<(), String> {
        let index = entry.index;
        let last = self.last.insert(watcher, index).unwrap_or_default();
        if index <= last {
            return Err(format!("watcher {watcher} was shown {index} after {last}"));
        }
        let Some(record) = log.at(index) else {
            return Err(format!(
                "watcher {watcher} was shown {index}, which nobody has applied"
            ));
        };
        if entry.result != outcome(record) || Some(&entry.origin) != record.origin.as_ref() {
            return Err(format!(
                "watcher {watcher} was shown {entry:?}, applied was {record:?}"
            ));
        }
        match first_to_show(log, last, index) {
            Some(first) if first == index => Ok(()),
            Some(missed) => Err(format!(
                "watcher {watcher} was shown {index} after {last}, and not {missed}"
            )),
            None => Err(format!(
                "watcher {watcher} was shown {index}, where nothing happened: {record:?}"
            )),
        }
    }

    /// It has read a state in place of what was before.
    pub(crate) fn jump(&mut self, watcher: usize, to: Index) -> Result<(), String> {
        let last = self.last.insert(watcher, to).unwrap_or_default();
        match to > last {
            true => Ok(()),
            false => Err(format!(
                "watcher {watcher} was sent from {last} to a state at {to}"
            )),
        }
    }

    /// What a watcher has not been shown, of what is applied.
    pub(crate) fn lack(&self, watcher: usize, applied: Index, log: &Agreement) -> Option<String> {
        let last = self.last.get(&watcher).copied().unwrap_or_default();
        let missing = first_to_show(log, last, applied)?;
        Some(format!("entry {missing} with watcher {watcher}"))
    }
}

fn first_to_show(log: &Agreement, after: Index, through: Index) -> Option<Index> {
    log.between(after, through)
        .find(|record| outcome(record) != Ok(Vec::new()))
        .map(|record| record.index)
}

fn outcome(record: &Record) -> Result<Vec<Event>, Refusal> {
    match &record.answer {
        Some(Answer::Judged(Err(refusal))) => Err(refusal.clone()),
        _ => Ok(record.events.clone()),
    }
}
