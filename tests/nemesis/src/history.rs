//! What clients asked and were told, on one monotonic clock.

use std::collections::BTreeMap;
use std::fmt;

/// The name of a record.
pub type Key = String;

/// The state of one record, as a client could describe it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// What it holds; 0 before the first write.
    pub value: u64,
    /// The generation of the last guarded write; 0 before the first.
    pub generation: u64,
}

/// What a client asked for. Every value is written once in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Write, whatever is there.
    Write(u64),
    /// Write if no guarded write of this generation or a later one has been before.
    Guarded {
        /// The generation.
        generation: u64,
        /// What is written.
        value: u64,
    },
    /// A linearizable read, and what it found.
    Read(u64),
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was done, and its client was told at this time.
    Done(u64),
    /// Nobody knows: it may have taken effect, or do so at any time from its start on.
    Unknown,
}

/// One operation of one client. What was refused for certain is none: it has had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: usize,
    /// When, in nanoseconds.
    pub begun: u64,
    /// What.
    pub act: Act,
    /// What came of it.
    pub end: End,
}

/// Operations by the record that they are about: records are judged apart, since what is
/// linearizable for each is so for all of them together.
#[derive(Debug, Clone, Default)]
pub struct History {
    records: BTreeMap<Key, Vec<Operation>>,
}

impl History {
    /// Takes note of an operation that has ended one way or the other.
    pub fn note(&mut self, key: &str, operation: Operation) {
        match self.records.get_mut(key) {
            Some(operations) => operations.push(operation),
            None => {
                self.records.insert(key.to_owned(), vec![operation]);
            }
        }
    }

    /// The operations of each record.
    pub fn records(&self) -> impl Iterator<Item = (&str, &[Operation])> {
        let records = self.records.iter();
        records.map(|(key, operations)| (key.as_str(), operations.as_slice()))
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many of them ended so that nobody knows.
    pub fn unknown(&self) -> usize {
        let all = self.records.values().flatten();
        all.filter(|operation| operation.end == End::Unknown)
            .count()
    }
}

impl Act {
    /// The record after this was done to it; none if it cannot be done to it.
    pub(crate) fn step(self, cell: Cell) -> Option<Cell> {
        match self {
            Self::Write(value) => Some(Cell { value, ..cell }),
            Self::Guarded { generation, value } => {
                (generation > cell.generation).then_some(Cell { value, generation })
            }
            Self::Read(value) => (value == cell.value).then_some(cell),
        }
    }

    /// What it writes, if it does.
    pub(crate) fn written(self) -> Option<u64> {
        match self {
            Self::Write(value) | Self::Guarded { value, .. } => Some(value),
            Self::Read(_) => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        write!(f, "client {} ", self.client)?;
        match self.act {
            Act::Write(value) => write!(f, "wrote {value}")?,
            Act::Guarded { generation, value } => {
                write!(f, "wrote {value} as generation {generation}")?;
            }
            Act::Read(value) => write!(f, "read {value}")?,
        }
        write!(f, ", {:.6} s to ", seconds(self.begun))?;
        match self.end {
            End::Done(at) => write!(f, "{:.6} s", seconds(at)),
            End::Unknown => write!(f, "who knows"),
        }
    }
}
