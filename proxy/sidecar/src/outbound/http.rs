//! Requests from the app: routed and balanced one by one.

mod hops;
mod mirror;
mod request;
mod rule;
mod upgrade;

use std::cell::RefCell;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use weft_decide::{Outcome, Reason, RequestHead, Scope, find, find_service};
use weft_model::ServiceKey;

use super::attempts::Attempts;
use super::flight::Flight;
use super::limits::Permit;
use super::tcp::Opened;
use super::{Chosen, Outbound, Shared, blame};
use crate::http::{
    Activity, Answer, Body, BodyEnd, Fields, Handler, Passage, Spoken, Strict, Wish, add_via,
    detect, fits, grpc_status, is_grpc, refuse, serve_h1, serve_h2, strip_hop_by_hop,
};
use crate::inner::Target;
use crate::pool::Lease;
use crate::stream::Stream;
use request::{Outgoing, authority, is_without_host};
use rule::{Again, Ruling};
use upgrade::Changed;

/// The service a connection is for, where its address already says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The service.
    pub service: ServiceKey,
    /// Its port.
    pub port: NonZeroU16,
    /// Which of its endpoints are meant.
    pub scope: Scope,
}

const HTTP_PORT: NonZeroU16 = NonZeroU16::new(80).unwrap();
const HTTPS_PORT: NonZeroU16 = NonZeroU16::new(443).unwrap();

impl Outbound {
    /// Serves one client connection that speaks HTTP/1.1 or HTTP/2 with prior
    /// knowledge, until it ends. Requests go where `hint` says, or else where
    /// their host says; `CONNECT` opens a tunnel.
    pub async fn serve_http(&self, client: impl Stream + 'static, hint: Option<Hint>) {
        let peer = client.peer();
        let (shared, timeouts) = (&self.shared, &self.shared.timeouts);
        let (spoken, client) = tokio::select! {
            detected = detect(client, timeouts.idle, timeouts.head) => match detected {
                Ok(detected) => detected,
                Err(error) => return tracing::debug!(%error, "client left before a request"),
            },
            () = shared.patience_over() => return,
        };
        match spoken {
            Spoken::Http2 => {
                let handler = self.handler(Client::new(hint, peer, Passage::default()));
                serve_h2(client, handler, timeouts, &shared.drain).await;
            }
            Spoken::Http1 => {
                let client = Strict::new(client, timeouts.head);
                let context = Client::new(hint, peer, client.passage());
                let handler = self.handler(Rc::clone(&context));
                let served = serve_h1(client, handler, timeouts, &shared.drain).await;
                let Some(mut client) = served else {
                    return;
                };
                let tunnel = context.tunnel.borrow_mut().take();
                match tunnel {
                    Some(tunnel) => shared.carry_any(client, tunnel).await,
                    None => {
                        let _ = client.shutdown().await;
                    }
                }
            }
        }
    }

    /// What answers one connection's requests.
    fn handler(
        &self,
        client: Rc<Client>,
    ) -> Handler<impl Fn(Request<Incoming>) -> Answer + Unpin + 'static> {
        let shared = Rc::clone(&self.shared);
        let activity = client.activity.clone();
        Handler::new(activity, move |request: Request<Incoming>| -> Answer {
            let (shared, client) = (Rc::clone(&shared), Rc::clone(&client));
            Box::pin(async move { Ok(shared.respond(request, &client).await) })
        })
    }
}

/// What the requests of one connection have in common.
struct Client {
    hint: Option<Hint>,
    peer: Option<IpAddr>,
    activity: Activity,
    passage: Passage,
    /// What an HTTP/1.1 connection becomes once HTTP is over.
    tunnel: RefCell<Option<Tunnel>>,
}

impl Client {
    fn new(hint: Option<Hint>, peer: Option<IpAddr>, passage: Passage) -> Rc<Self> {
        Rc::new(Self {
            hint,
            peer,
            activity: Activity::new(),
            passage,
            tunnel: RefCell::default(),
        })
    }
}

/// What an answer made of a connection or stream.
enum Tunnel {
    /// CONNECT: an opaque connection to an app.
    Opened(Box<Opened>),
    /// An upgrade that the app granted.
    Changed(Changed),
}

impl Shared {
    async fn respond(
        self: &Rc<Self>,
        mut request: Request<Incoming>,
        client: &Client,
    ) -> Response<Body> {
        let grpc = is_grpc(request.headers());
        let about = request::about(&request);
        let (version, mut service) = (request.version(), None);
        let wish = Wish::of(&request);
        let connect = request.method() == Method::CONNECT && wish.is_none();
        let stream = (version == Version::HTTP_2 && request.method() == Method::CONNECT)
            .then(|| hyper::upgrade::on(&mut request));
        let mut tunnel = None;
        let answer = if connect {
            self.connect_tunnel(&request, &mut tunnel).await
        } else {
            self.forward(request, client, wish, &mut service, &mut tunnel)
                .await
        };
        match (tunnel, stream) {
            (Some(tunnel), Some(stream)) => {
                self.carry_stream(stream, tunnel, client.activity.begin());
            }
            (Some(tunnel), None) => {
                client.passage.open();
                client.tunnel.replace(Some(tunnel));
            }
            (None, _) => {}
        }
        answer.unwrap_or_else(|reason| {
            self.refused(service.as_ref(), "http", reason);
            let mut refusal = refuse(reason, &about, grpc);
            if connect && version < Version::HTTP_2 {
                // Its client may have sent bytes for the tunnel: they are no request.
                let close = HeaderValue::from_static("close");
                refusal.headers_mut().insert(CONNECTION, close);
            }
            refusal
        })
    }

    /// Opens the tunnel first, so that the answer to `CONNECT` tells the truth.
    async fn connect_tunnel(
        self: &Rc<Self>,
        request: &Request<Incoming>,
        tunnel: &mut Option<Tunnel>,
    ) -> Result<Response<Body>, Reason> {
        let authority = request.uri().authority().ok_or(Reason::BadRequest)?;
        let chosen = self.choose(&RequestHead {
            method: "CONNECT",
            authority: authority.as_str(),
            path: "",
            port_default: HTTPS_PORT,
            headers: &Fields(request.headers()),
        })?;
        let opened = self.open(chosen).await?;
        tunnel.replace(Tunnel::Opened(Box::new(opened)));
        Ok(Response::new(Body::empty()))
    }

    async fn forward(
        self: &Rc<Self>,
        mut request: Request<Incoming>,
        client: &Client,
        wish: Option<Wish>,
        service: &mut Option<ServiceKey>,
        tunnel: &mut Option<Tunnel>,
    ) -> Result<Response<Body>, Reason> {
        if !fits(request.headers()) {
            return Err(Reason::HeadTooLarge);
        }
        let authority = match (authority(&request), &client.hint) {
            // HTTP/1.0 asks for no Host, and the address says which service is meant.
            (Err(Reason::BadRequest), Some(hint)) if is_without_host(&request) => {
                format!("{}.{}", hint.service.name, hint.service.namespace)
            }
            (authority, _) => authority?,
        };
        let plan = self.plan(&request, &authority, client.hint.as_ref(), service)?;
        if let Some(answer) = hops::count(&mut request)? {
            return Ok(answer);
        }
        let ruling = plan.ruling.as_ref();
        if let Some(redirect) = ruling.and_then(|r| r.redirect(request.uri(), &authority)) {
            return redirect;
        }
        let chosen = plan.backend?;
        let mut outgoing = Outgoing::new(
            request,
            &authority,
            ruling,
            wish.as_ref(),
            &self.timeouts,
            &mut self.rng.borrow_mut(),
        )?;
        outgoing.introduce(client.peer);
        for mirror in plan.mirrors {
            if let Some(copy) = outgoing.copy() {
                self.mirror(mirror, copy);
            }
        }
        let limit = ruling.and_then(Ruling::request_timeout);
        let mut answer = match wish {
            None => within(limit, self.send(chosen, outgoing, ruling)).await,
            Some(wish) => {
                let sent = within(limit, self.send_wish(chosen, outgoing, &wish)).await;
                sent.map(|sent| {
                    sent.map(|(response, changed)| {
                        *tunnel = changed.map(Tunnel::Changed);
                        response
                    })
                })
            }
        }
        .ok_or(Reason::Timeout)??;
        if let Some(ruling) = ruling {
            ruling.change_response(answer.headers_mut());
        }
        Ok(answer)
    }

    /// Who answers, and what the rule that counts says, by the table as it is now.
    fn plan(
        &self,
        request: &Request<Incoming>,
        authority: &str,
        hint: Option<&Hint>,
        service: &mut Option<ServiceKey>,
    ) -> Result<Plan, Reason> {
        let head = RequestHead {
            method: request.method().as_str(),
            authority,
            path: request.uri().path_and_query().map_or("/", |p| p.as_str()),
            port_default: HTTP_PORT,
            headers: &Fields(request.headers()),
        };
        let table = self.tables.load();
        let route = match hint {
            Some(hint) => {
                *service = Some(hint.service.clone());
                find_service(&table, &hint.service, hint.port, hint.scope.clone(), &head)?
            }
            None => find(&table, &head)?,
        };
        *service = Some(route.service.key().clone());
        let mut rng = self.rng.borrow_mut();
        let ruling = route.matched.as_ref().map(Ruling::of);
        let copies = ruling.iter().flat_map(Ruling::mirrors).filter(|mirror| {
            let percent = mirror.percent.unwrap_or(100);
            percent == 100 || rng.below(100) < u64::from(percent)
        });
        let mirrors = copies.filter_map(|mirror| route.refer(&table, &mirror.backend_ref).ok());
        let mirrors = mirrors.map(|backend| Chosen::from(&backend)).collect();
        let backend = route.backend(&table, &mut rng);
        Ok(Plan {
            backend: backend.map(|backend| Chosen::from(&backend)),
            mirrors,
            ruling,
        })
    }

    fn choose(&self, head: &RequestHead<'_>) -> Result<Chosen, Reason> {
        let table = self.tables.load();
        let route = find(&table, head)?;
        let backend = route.backend(&table, &mut self.rng.borrow_mut())?;
        Ok(Chosen::from(&backend))
    }

    /// Sends the request to endpoints until one answers. What was not sent may
    /// always go elsewhere; what was sent goes a second time only if it is safe to
    /// repeat and the budget allows it.
    async fn send(
        self: &Rc<Self>,
        mut chosen: Chosen,
        mut outgoing: Outgoing,
        ruling: Option<&Ruling>,
    ) -> Result<Response<Body>, Reason> {
        self.requested(&chosen);
        let permit = self.enter(&chosen, |limits, max| limits.requests.enter(max.requests))?;
        let again = ruling.and_then(Ruling::again);
        let repeats_max = again.map_or(1, |again| again.attempts);
        let mut attempts = Attempts::new(again.map_or(0, |again| again.attempts));
        let mut repeats = 0;
        loop {
            let view = attempts.next(self, &mut chosen)?;
            let flight = Flight::start(self, &chosen, view);
            let lease = match self.lease(&chosen, &flight).await {
                Ok(lease) => lease,
                Err(reason) => {
                    attempts.unreached(&flight, reason);
                    flight.end(blame(reason));
                    continue;
                }
            };
            let mut send = lease.send;
            let request = outgoing.take(&self.target(&chosen, &flight));
            let limit = ruling.and_then(Ruling::attempt_timeout);
            let sent = within(limit, outgoing.answer(send.try_send_request(request))).await;
            let may_repeat = outgoing.can_repeat() && repeats < repeats_max;
            let (reason, is_wanted) = match sent {
                Some(Ok(response)) => {
                    let status = response.status().as_u16();
                    let is_wanted = may_repeat && again.is_some_and(|again| again.wants(status));
                    if !is_wanted || !self.may_retry(chosen.service.key()) {
                        return Ok(self.accept(flight, lease.place, permit, response));
                    }
                    flight.count(status);
                    attempts.cut(&flight, Reason::UpstreamReset);
                    flight.end(outcome(response.status(), None));
                    self.repeat(&mut outgoing, again, &mut repeats).await;
                    continue;
                }
                // What an endpoint does not answer in time it may be doing still: only a rule
                // that names 504 asks again.
                None | Some(Err(Reason::Timeout)) => {
                    (Reason::Timeout, again.is_some_and(|again| again.wants(504)))
                }
                Some(Err(reason)) => (reason, true),
            };
            attempts.cut(&flight, reason);
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
    async fn lease(&self, chosen: &Chosen, flight: &Flight) -> Result<Lease, Reason> {
        let _waiting = self.enter(chosen, |limits, max| limits.pending.enter(max.pending))?;
        self.pool.lease(&flight.view, chosen.port).await
    }

    fn target(&self, chosen: &Chosen, flight: &Flight) -> Target {
        Target {
            endpoint: flight.view.endpoint.id,
            service: chosen.service.key().clone(),
            port: chosen.port,
        }
    }

    /// The answer's head is here; its body will say when the request is over.
    fn accept(
        &self,
        mut flight: Flight,
        place: crate::pool::Place,
        permit: Permit,
        response: Response<Incoming>,
    ) -> Response<Body> {
        let latency = flight.answered();
        let (mut head, incoming) = response.into_parts();
        let labels = flight.labels("http", head.status.as_u16());
        self.recorder.request(labels, latency);
        strip_hop_by_hop(&mut head.headers);
        add_via(&mut head.headers, head.version);
        let by_head = outcome(head.status, grpc_status(&head.headers));
        let status = head.status;
        let body = Body::forwarded(incoming).watched(Box::new(move |end| {
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

/// What becomes of one request.
struct Plan {
    /// Who answers; a redirect needs nobody.
    backend: Result<Chosen, Reason>,
    mirrors: Vec<Chosen>,
    ruling: Option<Ruling>,
}

/// None if it took longer than `limit`.
async fn within<F: Future>(limit: Option<Duration>, act: F) -> Option<F::Output> {
    match limit {
        Some(limit) => timeout(limit, act).await.ok(),
        None => Some(act.await),
    }
}

/// A server error in HTTP, or a gRPC status that means the same: UNKNOWN,
/// DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS.
fn outcome(status: StatusCode, grpc_status: Option<u8>) -> Outcome {
    if status.is_server_error() || matches!(grpc_status, Some(2 | 4 | 13 | 14 | 15)) {
        Outcome::ServerError
    } else {
        Outcome::Success
    }
}
