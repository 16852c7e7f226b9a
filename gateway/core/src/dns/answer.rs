//! Answers, and what they claim.

use weft_model::ServiceKey;

use super::Record;

/// An extended error's code (RFC 8914 §4, registry "Extended DNS Error Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExtendedError {
    /// Something without a code of its own.
    Other = 0,
    /// Not fully functional yet.
    NotReady = 14,
    /// Asked to recurse, and does not for this client or name.
    Prohibited = 18,
    /// Asked for a zone it has no authority over.
    NotAuthoritative = 20,
    /// None of the servers that would know answered.
    NoReachableAuthority = 22,
}

impl ExtendedError {
    /// All of them, for counting.
    pub const ALL: [Self; 5] = [
        Self::Other,
        Self::NotReady,
        Self::Prohibited,
        Self::NotAuthoritative,
        Self::NoReachableAuthority,
    ];

    /// Its number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// Why an answer cannot be known here and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The extended error that goes with SERVFAIL.
    pub error: ExtendedError,
    /// What is missing, for people.
    pub why: String,
}

/// What an answer claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There are such records: NOERROR.
    Found,
    /// The name exists, with no record of this type: NOERROR, empty.
    NoData,
    /// The name does not exist, nor anything below it: NXDOMAIN (RFC 8020).
    NoName,
    /// Whether it exists cannot be known: SERVFAIL.
    CannotKnow(Unknown),
    /// The name is in none of our zones.
    NotOurs,
}

/// For whom an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// For everyone, as long as the zones stay: it may be kept.
    Everyone,
    /// For this [`ClientView`](super::ClientView) alone.
    ThisClient,
}

/// An answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it claims.
    pub verdict: Verdict,
    /// The records asked for.
    pub answers: Vec<Record>,
    /// The zone's SOA, if the answer denies something (RFC 2308).
    pub authority: Vec<Record>,
    /// What the client is likely to ask next; left out if there is no room.
    pub additional: Vec<Record>,
    /// For whom it holds.
    pub audience: Audience,
    /// The service some of whose endpoints are not known, if the answer depends on
    /// them: somebody has to take an interest in them.
    pub wanted: Option<ServiceKey>,
}

impl Answer {
    /// An answer without records.
    pub(super) fn bare(verdict: Verdict) -> Self {
        Self {
            verdict,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            audience: Audience::Everyone,
            wanted: None,
        }
    }

    /// A denial, with the SOA that says how long it holds.
    pub(super) fn denial(verdict: Verdict, soa: Record) -> Self {
        Self {
            authority: vec![soa],
            ..Self::bare(verdict)
        }
    }
}
