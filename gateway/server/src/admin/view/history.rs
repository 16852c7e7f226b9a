//! What `weft history` is answered with.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventView, Freshness};

/// `weft history KIND/NAME`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh.
    pub freshness: Freshness,
    /// The gateway that answered has everything after this index.
    pub begins_after: u64,
    /// Oldest first.
    pub items: Vec<RevisionView>,
}

/// One change of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// The entry that made it.
    #[serde(flatten)]
    pub event: EventView,
    /// Whose the record is, for what one cluster owns.
    pub cluster: Option<String>,
    /// Whether the record is gone since.
    pub deleted: bool,
    /// The record right after it, as `weft get` prints it; none if it is gone.
    pub resource: Option<Value>,
}

/// `weft history --verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrailView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh.
    pub freshness: Freshness,
    /// What was judged begins after this index.
    pub after: u64,
    /// And ends with this one.
    pub last: u64,
    /// Entries that took effect.
    pub effected: u64,
    /// Entries that were refused, other than for their signature.
    pub refused: u64,
    /// Entries whose signature does not hold; they were refused.
    pub unproven: u64,
    /// Second records of a request, which changed nothing.
    pub repeats: u64,
    /// Entries that this gateway could not read, which changed nothing.
    pub unreadable: u64,
    /// The consensus's own entries, which nobody signs.
    pub own: u64,
    /// Signatures that hold, by author.
    pub authors: Vec<AuthorCount>,
    /// States that were kept on the way and came out the same again.
    pub states: u64,
    /// SHA-256 over all of it, the same on every gateway that holds the same stretch.
    pub chain: String,
    /// The first entry that is not as it should be.
    pub fault: Option<FaultView>,
}

/// How many entries an author signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorCount {
    /// Who.
    pub author: String,
    /// How many.
    pub entries: u64,
}

/// Where a trail does not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultView {
    /// The entry.
    pub index: u64,
    /// What is wrong.
    pub what: String,
}

/// What undoing one change would come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevertView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// How fresh: `now` is the record at this index.
    pub freshness: Freshness,
    /// The change.
    pub event: EventView,
    /// The record's kind.
    pub kind: String,
    /// Its namespace, for kinds that have one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whose it is, for what one cluster owns.
    pub cluster: Option<String>,
    /// As it was before; none if it was not there.
    pub before: Option<Value>,
    /// As the change made it.
    pub after: Option<Value>,
    /// As it is.
    pub now: Option<Value>,
    /// Later changes of the same record.
    pub later: Vec<u64>,
}
