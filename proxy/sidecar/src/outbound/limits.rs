//! How much one worker has under way to one service.

use std::cell::Cell;
use std::rc::Rc;

use weft_decide::Reason;
use weft_model::TrafficPolicySpec;

/// Requests that may wait for a connection in one process, unless a policy says otherwise (Istio).
const PENDING_MAX: u32 = 1024;

/// A count with places to hold.
#[derive(Default)]
pub(super) struct Gauge(Rc<Cell<u32>>);

/// A place; given back when dropped.
pub(super) struct Permit(Rc<Cell<u32>>);

/// The counts of one service.
#[derive(Default)]
pub(super) struct Limits {
    /// HTTP requests under way.
    pub(super) requests: Gauge,
    /// HTTP requests that wait for a connection.
    pub(super) pending: Gauge,
    /// Opaque connections that are open.
    pub(super) connections: Gauge,
}

/// One worker's part of a policy's limits: a process's, divided and rounded up, so that no worker
/// is left without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) requests: Option<u32>,
    pub(super) pending: Option<u32>,
    pub(super) connections: Option<u32>,
}

impl Bounds {
    pub(super) fn of(policy: Option<&TrafficPolicySpec>, workers: u32) -> Self {
        let pool = policy
            .map(|policy| policy.connection_pool)
            .unwrap_or_default();
        let part = |limit: u32| limit.div_ceil(workers.max(1));
        let pending = pool.http.http1_max_pending_requests.unwrap_or(PENDING_MAX);
        Self {
            requests: pool.http.http2_max_requests.map(part),
            pending: Some(part(pending)),
            connections: pool.tcp.max_connections.map(part),
        }
    }
}

impl Gauge {
    /// A place, if fewer than `max` are held. [`Reason::Overload`] otherwise.
    pub(super) fn enter(&self, max: Option<u32>) -> Result<Permit, Reason> {
        let held = self.0.get();
        if max.is_some_and(|max| held >= max) {
            return Err(Reason::Overload);
        }
        self.0.set(held.saturating_add(1));
        Ok(Permit(Rc::clone(&self.0)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::traffic_policy;

    use super::*;

    #[test]
    fn places_come_back() {
        let gauge = Gauge::default();
        let first = gauge.enter(Some(1));
        assert!(first.is_ok());
        assert_eq!(gauge.enter(Some(1)).err(), Some(Reason::Overload));
        drop(first);
        assert!(gauge.enter(Some(1)).is_ok());
        assert_eq!(gauge.enter(Some(0)).err(), Some(Reason::Overload));
        assert!(gauge.enter(None).is_ok());
    }

    #[test]
    fn workers_share_a_limit_and_none_is_left_without() {
        let policy = traffic_policy("checkout");
        let bounds = Bounds::of(Some(&policy), 3);
        assert_eq!(bounds.requests, Some(67));
        assert_eq!(bounds.pending, Some(17));
        assert_eq!(bounds.connections, Some(34));
        let default = Bounds::of(None, 2);
        assert_eq!((default.requests, default.pending), (None, Some(512)));
    }
}
