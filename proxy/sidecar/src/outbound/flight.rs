//! One request or connection under way to one endpoint.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use weft_decide::{EndpointView, Outcome, Tick};
use weft_model::{Carried, FlowClass, ServiceKey};

use super::attempts::Attempts;
use super::{Chosen, Shared};
use crate::metrics::{Labels, Reporter};
use crate::tap::{Answered, TapServed};

/// Tells the balancer when it began and, exactly once, how it ended; dropped
/// without an end it was cancelled.
pub(super) struct Flight {
    shared: Rc<Shared>,
    service: ServiceKey,
    pub(super) view: Arc<EndpointView>,
    start: Tick,
    latency: Option<Duration>,
    /// Another endpoint was chosen at first.
    rerouted: bool,
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
            rerouted: false,
            ended: false,
        }
    }

    /// The same after others were tried.
    pub(super) fn after(mut self, attempts: &Attempts) -> Self {
        self.rerouted = attempts.moved_to(self.view.endpoint.id);
        self
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

    /// Counts the answer that the client sees, with its latency.
    pub(super) fn tally(&self, carried: Carried, class: FlowClass) {
        let latency = self.latency.unwrap_or_else(|| self.elapsed());
        let endpoint = &self.view.endpoint;
        let flows = &self.shared.recorder.flows;
        flows.answered(endpoint, carried, class, latency, self.rerouted);
    }

    /// Leaves word on an answer of who gave it, while somebody wants to see requests.
    pub(super) fn sign(&self, answer: &mut Extensions) {
        if self.shared.recorder.flows.taps().is_on() {
            let endpoint = &self.view.endpoint;
            answer.insert(Answered(TapServed {
                endpoint: endpoint.id,
                cluster: endpoint.cluster.clone(),
                version: endpoint.version.clone(),
            }));
        }
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
