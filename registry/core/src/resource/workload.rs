//! Servers without a sidecar.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HealthCheck, PortName, ServiceAccount, ServiceName, Version, ZoneName};

/// A server without a sidecar: its cluster's gateway fronts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadEntrySpec {
    /// The service it belongs to, in the entry's namespace.
    pub service: ServiceName,
    /// Its address inside the cluster.
    #[schemars(with = "String")]
    pub address: IpAddr,
    /// The server's own port for each named port of the service.
    pub ports: BTreeMap<PortName, NonZeroU16>,
    /// Its service account; left out: the service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccount>,
    /// Its version label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// Share of traffic beside its peers. Default 100.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Its health checks; without any it counts as ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HealthCheck>,
}

fn default_weight() -> u32 {
    100
}
