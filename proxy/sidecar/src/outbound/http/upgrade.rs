//! Requests that ask for another protocol: sent once, as extended CONNECT.

use std::rc::Rc;

use ::http::{Response, StatusCode};
use tokio::sync::oneshot;
use weft_decide::{Outcome, Reason};
use weft_model::{Carried, FlowClass};

use super::Tunnel;
use super::request::Outgoing;
use super::send::{outcome, pass};
use crate::http::{
    self, Body, Exchange, Form, Interim, Opened, STATUS, Wish, add_via, strip_hop_by_hop,
};
use crate::outbound::attempts::Attempts;
use crate::outbound::flight::Flight;
use crate::outbound::limits::Permit;
use crate::outbound::withdrawn::{Cut, until_cut};
use crate::outbound::{Chosen, Shared, blame};
use crate::pipe::pipe_until;
use crate::pool::Place;
use crate::stream::Stream;

/// A stream to an app that changed its protocol.
pub(super) struct Changed {
    inner: http::Tunnel,
    flight: Flight,
    cut: Option<Cut>,
    held: (Place, Permit),
}

impl Shared {
    /// Sends the request to endpoints until one takes it. It is no request to
    /// repeat: once it was sent, its end is the answer.
    pub(super) async fn send_wish(
        self: &Rc<Self>,
        mut chosen: Chosen,
        mut outgoing: Outgoing,
        wish: &Wish,
        interim: &Interim,
    ) -> Result<(Response<Body>, Option<Changed>), Reason> {
        self.requested(&chosen);
        let permit = self.enter(&chosen, |limits, max| limits.requests.enter(max.requests))?;
        let mut attempts = Attempts::new(0);
        loop {
            let view = attempts.next(self, &mut chosen)?;
            let mut flight = Flight::start(self, &chosen, view).after(&attempts);
            let lease = match self.lease(&chosen, &flight, attempts.cut_at()).await {
                Ok(lease) => lease,
                Err(reason) => {
                    attempts.unreached(&flight, reason);
                    flight.end(blame(reason));
                    continue;
                }
            };
            let mut send = lease.send;
            let request = outgoing.take(&lease.target);
            let sent = send.connect(request, |early| pass(interim, early));
            match outgoing.answer(sent).await {
                Ok(Opened::Tunnel(response, inner)) => {
                    let cut = self.cut_of(&chosen, &flight.view);
                    let response = self.changed(&mut flight, response, wish);
                    let held = (lease.place, permit);
                    let changed = Changed {
                        inner,
                        flight,
                        cut,
                        held,
                    };
                    return Ok((response, Some(changed)));
                }
                Ok(Opened::Answer(response)) => {
                    let response = self.accept(flight, lease.place, permit, response);
                    return Ok((unchanged(response, wish)?, None));
                }
                Err(unanswered) => {
                    let reason = outgoing.take_back(unanswered);
                    attempts.cut(self, &flight, reason);
                    flight.end(blame(reason));
                    if !outgoing.is_whole() {
                        return Err(reason);
                    }
                }
            }
        }
    }

    fn changed(&self, flight: &mut Flight, response: Response<()>, wish: &Wish) -> Response<Body> {
        let latency = flight.answered();
        flight.tally(Carried::Request, FlowClass::Success);
        let (mut head, ()) = response.into_parts();
        head.extensions.clear();
        flight.sign(&mut head.extensions);
        strip_hop_by_hop(&mut head.headers);
        add_via(&mut head.headers, head.version);
        if let Form::Upgrade { .. } = wish.by {
            head.status = StatusCode::SWITCHING_PROTOCOLS;
            wish.grant(&mut head.headers);
        }
        let labels = flight.labels("http", head.status.as_u16());
        self.recorder.request(labels, latency);
        Response::from_parts(head, Body::empty())
    }

    /// Carries what a stream of an HTTP/2 client became, beside its connection.
    pub(super) fn carry_stream(
        self: &Rc<Self>,
        client: oneshot::Receiver<http::Tunnel>,
        tunnel: Tunnel,
        exchange: Exchange,
    ) {
        let shared = Rc::clone(self);
        tokio::task::spawn_local(async move {
            match client.await {
                Ok(client) => shared.carry_any(client, tunnel).await,
                Err(error) => tracing::debug!(%error, "client left before its tunnel began"),
            }
            drop(exchange);
        });
    }

    pub(super) async fn carry_any(&self, client: impl Stream, tunnel: Tunnel) {
        match tunnel {
            Tunnel::Opened(opened) => self.carry(client, *opened).await,
            Tunnel::Changed(changed) => carry_changed(client, changed).await,
        }
    }
}

async fn carry_changed(mut client: impl Stream, changed: Changed) {
    let Changed {
        mut inner,
        flight,
        cut,
        held,
    } = changed;
    let transfer = pipe_until(&mut client, &mut inner, until_cut(cut.as_ref())).await;
    if let Err(error) = &transfer.end {
        tracing::debug!(%error, "connection cut");
    }
    // As with opaque connections: who cut it is not known.
    flight.end(match transfer.end {
        Ok(()) => outcome(StatusCode::OK, None),
        Err(_) => Outcome::Cancelled,
    });
    drop(held);
}

/// The app's own answer where it did not change the protocol. To extended CONNECT
/// a success would say that it had.
fn unchanged(mut response: Response<Body>, wish: &Wish) -> Result<Response<Body>, Reason> {
    let Some(status) = response.headers_mut().remove(STATUS) else {
        return Ok(response);
    };
    if wish.by == Form::Connect {
        return Err(Reason::UpstreamProtocol);
    }
    *response.status_mut() =
        StatusCode::from_bytes(status.as_bytes()).map_err(|_| Reason::UpstreamProtocol)?;
    Ok(response)
}
