//! How callers treat a service's endpoints: limits, ejection, balance and retries, in the words
//! of Istio's DestinationRule.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{at_most, within};
use super::route::RefKind;
use crate::duration::optional;
use crate::{Namespace, ServiceKey, ServiceName};

/// What every caller of one service keeps to. Numbers hold for one process: a sidecar, or a
/// gateway that stands in for clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficPolicySpec {
    /// The service, in the policy's namespace. A service has at most one policy.
    pub target_ref: TargetRef,
    /// Limits of connections and requests.
    #[serde(default)]
    pub connection_pool: ConnectionPool,
    /// When an endpoint is set aside.
    #[serde(default)]
    pub outlier_detection: OutlierDetection,
    /// How requests are spread.
    #[serde(default)]
    pub load_balancer: LoadBalancer,
    /// How much load retries may add.
    #[serde(default)]
    pub retry_budget: RetryBudgetSpec,
}

/// The service that a policy is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// Always `Service`.
    #[serde(default)]
    pub kind: RefKind,
    /// The service.
    pub name: ServiceName,
}

/// Limits of connections and requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionPool {
    /// Of opaque TCP connections.
    #[serde(default)]
    pub tcp: TcpPool,
    /// Of requests.
    #[serde(default)]
    pub http: HttpPool,
}

/// Limits of opaque TCP connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpPool {
    /// Connections to the service that may be open at once. Lower: a storm stops earlier.
    /// Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
}

/// Limits of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpPool {
    /// Requests to the service that may be under way at once. More are answered 503 at once, with
    /// flag UO. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_max_requests: Option<u32>,
    /// Requests to the service that may wait for a connection at once; more are answered 503 with
    /// flag UO. Default 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http1_max_pending_requests: Option<u32>,
}

/// When an endpoint is set aside, and for how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutlierDetection {
    /// Server errors in a row that eject; 0 is off. Default 5.
    #[serde(
        default,
        rename = "consecutive5xxErrors",
        skip_serializing_if = "Option::is_none"
    )]
    pub consecutive_5xx_errors: Option<u32>,
    /// Failures to connect, handshakes and resets in a row that eject; 0 is off. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_local_origin_failures: Option<u32>,
    /// How long for, times the number of ejections so far. Default 30s.
    #[serde(default, with = "optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub base_ejection_time: Option<Duration>,
    /// Most of the endpoints that may be ejected at once, percent; one always may. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ejection_percent: Option<u8>,
}

/// How requests are spread: by peak EWMA, nearest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// How long an endpoint that just came gets less than its share, growing evenly. Default: it
    /// has its share at once.
    #[serde(default, with = "optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub warmup: Option<Duration>,
}

/// How much load retries may add (GEP-3388).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryBudgetSpec {
    /// Retries for every hundred requests. Default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Retries a second that are always allowed. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_retries_per_second: Option<u32>,
}

const LIMIT_MAX: usize = 1_000_000;

impl TrafficPolicySpec {
    /// The service meant, for a policy of `namespace`.
    pub fn key(&self, namespace: &Namespace) -> ServiceKey {
        ServiceKey::new(namespace.clone(), self.target_ref.name.clone())
    }

    /// Says what is wrong with the value, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let http = self.connection_pool.http;
        for (field, limit) in [
            (
                "tcp.maxConnections",
                self.connection_pool.tcp.max_connections,
            ),
            ("http.http2MaxRequests", http.http2_max_requests),
        ] {
            if limit == Some(0) {
                return Err(format!("{field} 0 would refuse everything"));
            }
            at_most(field, number(limit), LIMIT_MAX)?;
        }
        let pending = http.http1_max_pending_requests;
        at_most("http.http1MaxPendingRequests", number(pending), LIMIT_MAX)?;
        self.outlier_detection.check()?;
        if let Some(warmup) = self.load_balancer.warmup {
            let longest = Duration::from_secs(3600);
            within("loadBalancer.warmup", warmup, Duration::ZERO, longest)?;
        }
        let budget = self.retry_budget;
        let percent = number(budget.percent.map(u32::from));
        at_most("retryBudget.percent", percent, 100)?;
        let least = number(budget.min_retries_per_second);
        at_most("retryBudget.minRetriesPerSecond", least, 10_000)
    }
}

impl OutlierDetection {
    fn check(&self) -> Result<(), String> {
        if let Some(time) = self.base_ejection_time {
            let (min, max) = (Duration::from_secs(1), Duration::from_secs(3600));
            within("outlierDetection.baseEjectionTime", time, min, max)?;
        }
        let percent = number(self.max_ejection_percent.map(u32::from));
        at_most("outlierDetection.maxEjectionPercent", percent, 100)
    }
}

fn number(limit: Option<u32>) -> usize {
    usize::try_from(limit.unwrap_or_default()).unwrap_or(usize::MAX)
}
