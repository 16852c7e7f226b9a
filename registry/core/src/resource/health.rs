//! Health checks of workloads.

use std::num::NonZeroU16;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration;

/// GET of `path` answers 200 to 399.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// The port.
    pub port: NonZeroU16,
    /// The path.
    pub path: String,
}

/// `grpc.health.v1.Health/Check` answers SERVING.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrpcProbe {
    /// The port.
    pub port: NonZeroU16,
    /// The service asked for; empty asks for the whole server.
    #[serde(default)]
    pub service: String,
}

/// A TCP connection is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {
    /// The port.
    pub port: NonZeroU16,
}

/// A health check: exactly one probe, how often, and how many results turn the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// Probe by HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// Probe by gRPC health checking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcProbe>,
    /// Probe by connecting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Time between probes. Default 2s.
    #[serde(with = "duration", default = "default_interval")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// Time after which a probe has failed. Default 1s.
    #[serde(with = "duration", default = "default_timeout")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Failures in a row that make it not ready. Default 2.
    #[serde(default = "default_failures")]
    pub failures: u32,
    /// Successes in a row that make it ready again. Default 1.
    #[serde(default = "default_successes")]
    pub successes: u32,
}

fn default_interval() -> Duration {
    Duration::from_secs(2)
}
fn default_timeout() -> Duration {
    Duration::from_secs(1)
}
fn default_failures() -> u32 {
    2
}
fn default_successes() -> u32 {
    1
}

/// The one way in which a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe<'a> {
    /// By HTTP.
    Http(&'a HttpProbe),
    /// By gRPC health checking.
    Grpc(&'a GrpcProbe),
    /// By connecting.
    Tcp(&'a TcpProbe),
}

impl HealthCheck {
    /// The check's probe; none if it has none or several, which [`HealthCheck::check`] refuses.
    pub fn probe(&self) -> Option<Probe<'_>> {
        match (&self.http, &self.grpc, &self.tcp) {
            (Some(http), None, None) => Some(Probe::Http(http)),
            (None, Some(grpc), None) => Some(Probe::Grpc(grpc)),
            (None, None, Some(tcp)) => Some(Probe::Tcp(tcp)),
            _ => None,
        }
    }
}
