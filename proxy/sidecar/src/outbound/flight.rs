//! One request or connection under way to one endpoint.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use weft_decide::{EndpointView, Outcome, Tick};
use weft_model::ServiceKey;

use super::{Chosen, Shared};
use crate::metrics::{Labels, Reporter};

/// Tells the balancer when it began and, exactly once, how it ended; dropped
/// without an end it was cancelled.
pub(super) struct Flight {
    shared: Rc<Shared>,
    service: ServiceKey,
    pub(super) view: Arc<EndpointView>,
    start: Tick,
    latency: Option<Duration>,
    ended: bool,
}

impl Flight {
    pub(super) fn start(shared: &Rc<Shared>, chosen: &Chosen, view: Arc<EndpointView>) -> Self {
        let service = chosen.service.key().clone();
        shared.started(&service, view.endpoint.id);
        Self {
            start: shared.clock.now(),
            shared: Rc::clone(shared),
            service,
            view,
            latency: None,
            ended: false,
        }
    }

    /// The answer's head, or the connection, is there: this was the latency.
    pub(super) fn answered(&mut self) -> Duration {
        let latency = self.elapsed();
        self.latency = Some(latency);
        latency
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.shared.clock.now().since(self.start)
    }

    /// What it is counted under; `code` is the HTTP status, 0 for a connection.
    pub(super) fn labels(&self, protocol: &'static str, code: u16) -> Labels {
        let endpoint = &self.view.endpoint;
        Labels {
            reporter: Reporter::Source,
            source: Some(self.shared.identities.own_id().clone()),
            service: Some(self.service.clone()),
            destination_cluster: Some(endpoint.cluster.clone()),
            destination_version: endpoint.version.clone(),
            protocol,
            code,
            flags: "-",
        }
    }

    /// Counts an attempt whose answer the client does not see.
    pub(super) fn count(&self, status: u16) {
        let labels = self.labels("http", status);
        self.shared.recorder.request(labels, self.elapsed());
    }

    pub(super) fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.ended, true) {
            let latency = self.latency.unwrap_or_else(|| self.elapsed());
            self.shared
                .ended(&self.service, self.view.endpoint.id, outcome, latency);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.finish(Outcome::Cancelled);
    }
}
