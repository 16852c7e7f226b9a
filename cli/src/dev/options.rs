//! What the user may choose about the federation that `weft dev` runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Choices that shape the [`Plan`](super::plan::Plan). A kept folder remembers
/// them, since the registry in it holds addresses that follow from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Options {
    /// Whether regions are apart.
    pub(crate) wan: WanMode,
    /// The port, UDP and TCP, on which each gateway answers DNS.
    pub(crate) dns_port: u16,
    /// Gateways of each cluster, at most [`GATEWAYS_MAX`]; if left out, the first has
    /// two and the others one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gateways: Option<u8>,
    /// How long certificates live; as gateways have it by default, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leaf_lifetime: Option<Duration>,
}

/// The most gateways of one cluster: more than three are no example of anything.
pub(crate) const GATEWAYS_MAX: u8 = 3;

/// Whether packets between regions are delayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WanMode {
    /// As between three public-cloud regions: round trips of 80, 140 and 180 ms.
    #[default]
    On,
    /// Not at all: everything is as near as loopback.
    Off,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wan: WanMode::On,
            dns_port: 8653,
            gateways: None,
            leaf_lifetime: None,
        }
    }
}
