//! Requests from the app: routed and balanced one by one.

mod hedge;
mod mirror;
mod request;
mod rule;
mod send;
mod upgrade;

use std::cell::RefCell;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::rc::Rc;

use h2::ext::Protocol;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, Version};
use tokio::io::AsyncWriteExt;
use weft_decide::{Backend, Reason, RequestHead, Scope, find, find_service};
use weft_model::ServiceKey;

use super::tcp::Opened;
use super::{Chosen, Outbound, Shared};
use crate::http::{
    Activity, Answer, Body, Caller, Fields, Handler, Incoming, Interim, Passage, Spoken, Strict,
    Wish, authority, count_hop, detect, fits, is_grpc, patience_over, refuse, serve_h1, serve_h2,
};
use crate::stream::Stream;
use crate::tap::Sighting;
use request::{Outgoing, is_without_host};
use rule::Ruling;
use send::within;
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
            () = patience_over(&shared.drain) => return,
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
                let line = client.line();
                let served = serve_h1(client, line, handler, timeouts, &shared.drain).await;
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
    ) -> Handler<impl Fn(Request<Incoming>, Caller) -> Answer + Unpin + 'static> {
        let shared = Rc::clone(&self.shared);
        let activity = client.activity.clone();
        Handler::new(activity, move |request, caller| -> Answer {
            let (shared, client) = (Rc::clone(&shared), Rc::clone(&client));
            Box::pin(async move { shared.respond(request, caller, &client).await })
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
        request: Request<Incoming>,
        caller: Caller,
        client: &Client,
    ) -> Response<Body> {
        let grpc = is_grpc(request.headers());
        let about = request::about(&request);
        let (version, mut service) = (request.version(), None);
        let wish = Wish::of(&request);
        let connect = request.method() == Method::CONNECT && wish.is_none();
        let Caller { interim, stream } = caller;
        let taps = self.recorder.flows.taps();
        let sighting = taps.is_on().then(|| Sighting::of(&request));
        let mut tunnel = None;
        let mut answer = if connect {
            self.connect_tunnel(&request, &mut tunnel).await
        } else {
            self.forward(request, client, wish, &interim, &mut service, &mut tunnel)
                .await
        };
        if let Some(sighting) = sighting {
            taps.offer(|| sighting.answered(service.as_ref(), &mut answer));
        }
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
        if request.extensions().get::<Protocol>().is_some() {
            // Extended CONNECT to a protocol that is none to change to.
            return Err(Reason::NotSupported);
        }
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
        interim: &Interim,
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
        if let Some(answer) = count_hop(&mut request)? {
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
            None => within(limit, self.send(chosen, outgoing, ruling, interim)).await,
            Some(wish) => {
                let sent = within(limit, self.send_wish(chosen, outgoing, &wish, interim)).await;
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
        // Collected first: chance is one thing, and each of them asks it.
        let mirrors: Vec<Backend<'_>> = mirrors.collect();
        let backend = route.backend(&table, &mut rng);
        // By the head as it came, before a rule changes it.
        let mut chosen = |backend: &Backend<'_>| Chosen::new(backend, Some(&head), &mut rng);
        let mirrors = mirrors.iter().map(&mut chosen).collect();
        Ok(Plan {
            backend: backend.map(|backend| chosen(&backend)),
            mirrors,
            ruling,
        })
    }

    /// Where an opaque connection goes.
    fn choose(&self, head: &RequestHead<'_>) -> Result<Chosen, Reason> {
        let table = self.tables.load();
        let route = find(&table, head)?;
        let mut rng = self.rng.borrow_mut();
        let backend = route.backend(&table, &mut rng)?;
        Ok(Chosen::new(&backend, None, &mut rng))
    }
}

/// What becomes of one request.
struct Plan {
    /// Who answers; a redirect needs nobody.
    backend: Result<Chosen, Reason>,
    mirrors: Vec<Chosen>,
    ruling: Option<Ruling>,
}
