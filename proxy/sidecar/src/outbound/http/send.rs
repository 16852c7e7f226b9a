//! One request on its way to an endpoint, and to further ones where that fails.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use tokio::time::timeout;
use weft_decide::{Outcome, Reason, Tick};
use weft_model::{Carried, FlowClass};

use super::hedge::{Raced, race};
use super::request::{Outgoing, Unanswered};
use super::rule::{Again, Ruling};
use crate::http::{
    Body, BodyEnd, Incoming, Interim, InterimError, add_via, grpc_status, is_grpc, strip_hop_by_hop,
};
use crate::outbound::attempts::Attempts;
use crate::outbound::flight::Flight;
use crate::outbound::limits::Permit;
use crate::outbound::{Chosen, Shared, blame};
use crate::pool::{Lease, Place};

impl Shared {
    /// Sends the request to endpoints until one answers. What was not sent may
    /// always go elsewhere; what was sent goes a second time only if it is safe to
    /// repeat and the budget allows it.
    pub(super) async fn send(
        self: &Rc<Self>,
        mut chosen: Chosen,
        mut outgoing: Outgoing,
        ruling: Option<&Ruling>,
        interim: &Interim,
    ) -> Result<Response<Body>, Reason> {
        self.requested(&chosen);
        let permit = self.enter(&chosen, |limits, max| limits.requests.enter(max.requests))?;
        let again = ruling.and_then(Ruling::again);
        let repeats_max = again.map_or(1, |again| again.attempts);
        let mut attempts = Attempts::new(again.map_or(0, |again| again.attempts));
        let mut repeats = 0;
        loop {
            let view = attempts.next(self, &mut chosen)?;
            let flight = Flight::start(self, &chosen, view).after(&attempts);
            let lease = match self.lease(&chosen, &flight, attempts.cut_at()).await {
                Ok(lease) => lease,
                Err(reason) => {
                    attempts.unreached(&flight, reason);
                    flight.end(blame(reason));
                    continue;
                }
            };
            let limit = ruling.and_then(Ruling::attempt_timeout);
            let request = outgoing.take(&lease.target);
            let may_repeat = outgoing.can_repeat() && repeats < repeats_max;
            let raced = {
                // Pinned here: a future that is handed on by value is held twice.
                let sent = pin!(self.start(&lease, request, &outgoing, limit, interim));
                let copy = may_repeat.then_some(&outgoing);
                let elsewhere =
                    || Box::pin(self.elsewhere(copy, &chosen, &flight, limit, interim)) as _;
                race(sent, lease.vitals.lost(&lease.send), elsewhere).await
            };
            let (reason, is_wanted) = match raced {
                Raced::Second(won) => {
                    return Ok(self.accept(won.flight, won.place, permit, won.response));
                }
                Raced::First(Ok(response)) => {
                    let status = response.status().as_u16();
                    let is_wanted = may_repeat && again.is_some_and(|again| again.wants(status));
                    if !is_wanted || !self.may_retry(chosen.service.key()) {
                        return Ok(self.accept(flight, lease.place, permit, response));
                    }
                    flight.count(status);
                    attempts.unwanted(&flight, Reason::UpstreamReset);
                    flight.end(outcome(response.status(), None));
                    self.repeat(&mut outgoing, again, &mut repeats).await;
                    continue;
                }
                Raced::First(Err(unanswered)) => match outgoing.take_back(unanswered) {
                    // What an endpoint does not answer in time it may be doing still: only a
                    // rule that names 504 asks again.
                    Reason::Timeout => {
                        attempts.unwanted(&flight, Reason::Timeout);
                        (Reason::Timeout, again.is_some_and(|again| again.wants(504)))
                    }
                    reason => {
                        attempts.cut(self, &flight, reason);
                        (reason, true)
                    }
                },
            };
            flight.end(blame(reason));
            if outgoing.is_whole() {
                continue;
            }
            if !is_wanted || !may_repeat || !self.may_retry(chosen.service.key()) {
                return Err(reason);
            }
            self.repeat(&mut outgoing, again, &mut repeats).await;
        }
    }

    /// Sends the request on the connection that was leased, and waits for the answer's head;
    /// what comes before it goes to `interim`.
    pub(super) async fn start(
        &self,
        lease: &Lease,
        request: Request<Body>,
        outgoing: &Outgoing,
        limit: Option<Duration>,
        interim: &Interim,
    ) -> Result<Response<Incoming>, Unanswered> {
        lease.vitals.sent();
        let mut send = lease.send.clone();
        let sent = pin!(send.send(request, |early| pass(interim, early)));
        let answer = pin!(outgoing.answer(sent));
        let answer = within(limit, answer).await;
        answer.unwrap_or_else(|| Err(Reason::Timeout.into()))
    }

    /// Makes the request whole again, after the pause that the rule asks for.
    async fn repeat(&self, outgoing: &mut Outgoing, again: Option<Again<'_>>, repeats: &mut u32) {
        self.recorder.retried();
        if let Some(again) = again {
            let chance = self.rng.borrow_mut().next_u64();
            tokio::time::sleep(again.pause(*repeats, chance)).await;
        }
        *repeats += 1;
        outgoing.repeat();
    }

    /// A place on a connection to the endpoint; how many may wait for one is bounded.
    ///
    /// After one broke at `since`, only what was heard from later is trusted.
    pub(super) async fn lease(
        &self,
        chosen: &Chosen,
        flight: &Flight,
        since: Option<Tick>,
    ) -> Result<Lease, Reason> {
        let _waiting = self.enter(chosen, |limits, max| limits.pending.enter(max.pending))?;
        self.pool.lease(&flight.view, chosen.port, since).await
    }

    /// The answer's head is here; its body will say when the request is over.
    pub(super) fn accept(
        &self,
        mut flight: Flight,
        place: Place,
        permit: Permit,
        response: Response<Incoming>,
    ) -> Response<Body> {
        let latency = flight.answered();
        let (mut head, incoming) = response.into_parts();
        let labels = flight.labels("http", head.status.as_u16());
        self.recorder.request(labels, latency);
        flight.sign(&mut head.extensions);
        strip_hop_by_hop(&mut head.headers);
        add_via(&mut head.headers, head.version);
        let (status, said) = (head.status, grpc_status(&head.headers));
        let by_head = outcome(status, said);
        // How a gRPC call ended stands behind its last message.
        let ends_later = said.is_none() && is_grpc(&head.headers);
        if !ends_later {
            flight.tally(Carried::Request, class(status, said));
        }
        let body = Body::forwarded(incoming).watched(Box::new(move |end| {
            if ends_later {
                flight.tally(Carried::Request, class_at_end(status, &end));
            }
            flight.end(match end {
                BodyEnd::Complete { grpc_status: None } => by_head,
                BodyEnd::Complete { grpc_status } => outcome(status, grpc_status),
                BodyEnd::Failed => Outcome::LocalOrigin,
                BodyEnd::Dropped => Outcome::Cancelled,
            });
            drop((place, permit));
        }));
        Response::from_parts(head, body)
    }
}

/// Passes an interim answer on, named as the final one will be.
pub(super) fn pass(interim: &Interim, mut early: Response<()>) -> Result<(), InterimError> {
    let version = early.version();
    add_via(early.headers_mut(), version);
    interim.pass(early)
}

/// None if it took longer than `limit`.
pub(super) async fn within<F: Future>(limit: Option<Duration>, act: F) -> Option<F::Output> {
    match limit {
        Some(limit) => timeout(limit, act).await.ok(),
        None => Some(act.await),
    }
}

/// What an answer is counted under, by its status in HTTP or else in gRPC.
fn class(status: StatusCode, grpc_status: Option<u8>) -> FlowClass {
    match (outcome(status, grpc_status), grpc_status) {
        (Outcome::Success, None) => FlowClass::of_status(status.as_u16()),
        (Outcome::Success, Some(0)) => FlowClass::Success,
        (Outcome::Success, Some(_)) => FlowClass::ClientError,
        _ => FlowClass::ServerError,
    }
}

/// The same of a gRPC call whose answer ended like this.
fn class_at_end(status: StatusCode, end: &BodyEnd) -> FlowClass {
    match end {
        BodyEnd::Complete { grpc_status } => class(status, *grpc_status),
        BodyEnd::Failed => FlowClass::ServerError,
        // The client has what it wanted.
        BodyEnd::Dropped => class(status, None),
    }
}

/// A server error in HTTP, or a gRPC status that means the same: UNKNOWN,
/// DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS.
pub(super) fn outcome(status: StatusCode, grpc_status: Option<u8>) -> Outcome {
    if status.is_server_error() || matches!(grpc_status, Some(2 | 4 | 13 | 14 | 15)) {
        Outcome::ServerError
    } else {
        Outcome::Success
    }
}
