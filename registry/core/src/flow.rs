//! What requests are counted under: by whoever sends them, added up by gateways.

use crate::{ClusterName, Latencies, ServiceKey, SpiffeId, Version};

/// Requests or connections that differ in nothing one would ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Where they were to go.
    pub service: ServiceKey,
    /// Who answered; none if nobody did.
    pub served: Option<Served>,
    /// What was carried.
    pub carried: Carried,
    /// How it ended.
    pub class: FlowClass,
}

/// Who answered a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Served {
    /// The endpoint's cluster.
    pub cluster: ClusterName,
    /// Its version label.
    pub version: Option<Version>,
    /// The identity that it proved.
    pub identity: SpiffeId,
}

/// What is counted as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carried {
    /// An HTTP request or gRPC call, with the time to the head of its answer.
    Request,
    /// An opaque connection, with the time until the app had accepted it.
    Connection,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowClass {
    /// It was answered, neither with 4xx nor as below.
    Success,
    /// It was answered 4xx, or refused for the client's own fault.
    ClientError,
    /// It was answered 5xx, or with a gRPC status that means the same.
    ServerError,
    /// Nobody answered it: refused, timed out or cut.
    Failed,
}

impl FlowClass {
    /// Whether it counts against the service, as in every mesh: a client's own fault does not.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Success | Self::ClientError => false,
            Self::ServerError | Self::Failed => true,
        }
    }

    /// The class of an HTTP status.
    pub fn of_status(status: u16) -> Self {
        match status {
            ..400 => Self::Success,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

/// How many of a flow, and how fast.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Each with its time; their sum is how many.
    pub latencies: Latencies,
    /// Of them, those that went to another endpoint than the first one chosen.
    pub rerouted: u64,
}

impl Tally {
    /// How many.
    pub fn count(&self) -> u64 {
        self.latencies.total()
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.rerouted = self.rerouted.saturating_add(other.rerouted);
    }
}
