//! A spec as its resource's JSON, for logs and streams that carry it whole.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Audience, ReleaseSpec, RouteSpec, TrafficPolicySpec};

/// A spec that travels as JSON.
pub trait Spec: Serialize + DeserializeOwned {}

impl Spec for RouteSpec {}
impl Spec for TrafficPolicySpec {}
impl Spec for ReleaseSpec {}
impl Spec for Audience {}

/// Writes a spec. Equal specs give equal bytes.
pub fn spec_to_json(spec: &impl Spec) -> Vec<u8> {
    serde_json::to_vec(spec).expect("specs have no maps with keys other than text")
}

/// Reads what [`spec_to_json`] wrote, or what a peer says it wrote.
///
/// # Errors
/// It is no JSON, or none of this spec; a field unknown here is an error.
pub fn spec_from_json<S: DeserializeOwned>(json: &[u8]) -> Result<S, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}
