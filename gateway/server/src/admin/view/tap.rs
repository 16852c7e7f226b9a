//! What `weft tap` is answered with, a document a line: events, and at the end what they came to.

use serde::{Deserialize, Serialize};

use super::SilentView;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum TapLine {
    /// A request.
    #[serde(rename = "TapEvent")]
    Event(Box<TapEventView>),
    /// The last line.
    #[serde(rename = "TapEnd")]
    End(TapEndView),
}

/// A request that was answered, or refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TapEventView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// When its answer's head was there, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// How long that took, by the sender's clock.
    pub latency_us: u64,
    /// Who sent it: a SPIFFE id.
    pub source_identity: String,
    /// From which cluster.
    pub source_cluster: String,
    /// From which region.
    pub source_region: String,
    /// The service asked for, `namespace/name`; none if the host named none.
    pub service: Option<String>,
    /// The endpoint that answered; none if nobody did.
    pub endpoint: Option<String>,
    /// Its cluster.
    pub destination_cluster: Option<String>,
    /// Its region.
    pub destination_region: Option<String>,
    /// Its version label.
    pub version: Option<String>,
    /// The method.
    pub method: String,
    /// The host asked for.
    pub host: String,
    /// The path, without its query.
    pub path: String,
    /// The status that the client got.
    pub status: u16,
    /// Why nobody answered.
    pub reason: Option<String>,
    /// Header fields of the request.
    pub headers: Vec<TapHeaderView>,
}

/// A header field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TapHeaderView {
    /// Its name.
    pub name: String,
    /// Its value; none if it is not told.
    pub value: Option<String>,
}

/// How a tap ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TapEndView {
    /// `weft.dev/v1`.
    pub api_version: String,
    /// Events that were told.
    pub seen: u64,
    /// Events that matched and found no room on their way.
    pub dropped: u64,
    /// Gateways that did not answer to the last: requests from there may be missing.
    pub silent: Vec<SilentView>,
}
