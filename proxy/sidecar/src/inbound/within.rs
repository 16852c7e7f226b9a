//! HTTP inside an opaque inner connection, as CONNECT to a port of HTTP makes it.
//!
//! Such a connection is read request by request: what the app gets is cleaned like any other
//! request. Where it goes was said before; nothing inside names another destination.

use std::cell::RefCell;
use std::rc::Rc;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, SEC_WEBSOCKET_KEY};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use tokio::io::AsyncWriteExt;
use tokio_rustls::server::TlsStream;
use weft_decide::Reason;

use super::upgrade::{Asked, carry};
use super::{Destination, Inbound, Peer, Shared};
use crate::http::{
    Activity, Answer, Body, Caller, Form, Handler, Incoming, Passage, Spoken, Strict, Wish,
    absolute, add_via, authority, count_hop, detect, fits, is_grpc, patience_over, refuse,
    sanitize, serve_h1, serve_h2,
};
use crate::stream::Stream;

/// What the requests of one connection have in common.
struct Within {
    peer: Rc<Peer>,
    to: Destination,
    activity: Activity,
    passage: Passage,
    /// What an HTTP/1.1 connection becomes once HTTP is over.
    changed: RefCell<Option<OnUpgrade>>,
}

impl Inbound {
    /// Serves HTTP/1.1, or HTTP/2 with prior knowledge, until the connection ends.
    pub(super) async fn serve_within<S: Stream + 'static>(
        &self,
        tls: TlsStream<S>,
        peer: Rc<Peer>,
        to: Destination,
    ) {
        let (timeouts, drain) = (&self.shared.timeouts, &self.shared.drain);
        let (spoken, client) = tokio::select! {
            detected = detect(tls, timeouts.idle, timeouts.head) => match detected {
                Ok(detected) => detected,
                Err(error) => return tracing::debug!(%error, "peer left before a request"),
            },
            () = patience_over(drain) => return,
        };
        let context = |passage| {
            Rc::new(Within {
                peer,
                to,
                activity: Activity::new(),
                passage,
                changed: RefCell::default(),
            })
        };
        match spoken {
            Spoken::Http2 => {
                let handler = self.handler_within(context(Passage::default()));
                serve_h2(client, handler, timeouts, drain).await;
            }
            Spoken::Http1 => {
                let client = Strict::new(client, timeouts.head);
                let context = context(client.passage());
                let handler = self.handler_within(Rc::clone(&context));
                let line = client.line();
                let Some(mut client) = serve_h1(client, line, handler, timeouts, drain).await
                else {
                    return;
                };
                let changed = context.changed.borrow_mut().take();
                match changed {
                    Some(app) => carry(client, app).await,
                    None => {
                        let _ = client.shutdown().await;
                    }
                }
            }
        }
    }

    fn handler_within(
        &self,
        within: Rc<Within>,
    ) -> Handler<impl Fn(Request<Incoming>, Caller) -> Answer + Unpin + 'static> {
        let shared = Rc::clone(&self.shared);
        let activity = within.activity.clone();
        Handler::new(activity, move |request, caller| -> Answer {
            let (shared, within) = (Rc::clone(&shared), Rc::clone(&within));
            Box::pin(async move { shared.respond_within(request, caller, &within).await })
        })
    }
}

impl Shared {
    async fn respond_within(
        &self,
        request: Request<Incoming>,
        caller: Caller,
        within: &Within,
    ) -> Response<Body> {
        let start = self.clock.now();
        let (grpc, version) = (is_grpc(request.headers()), request.version());
        let is_connect = *request.method() == Method::CONNECT;
        let mut labels = self.labels(&within.peer, &within.to, "http");
        let mut response = match self.answer_within(request, caller, within).await {
            Ok(mut response) => {
                let received = response.version();
                add_via(response.headers_mut(), received);
                response
            }
            Err(reason) => {
                labels.flags = reason.response_flag();
                refuse(reason, "the app", grpc)
            }
        };
        if is_connect && version < Version::HTTP_2 {
            // Its client may have sent bytes for a tunnel: they are no request.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        labels.code = response.status().as_u16();
        self.recorder.request(labels, self.clock.now().since(start));
        response
    }

    async fn answer_within(
        &self,
        mut request: Request<Incoming>,
        caller: Caller,
        within: &Within,
    ) -> Result<Response<Body>, Reason> {
        let (peer, to) = (&within.peer, &within.to);
        if !fits(request.headers()) {
            return Err(Reason::HeadTooLarge);
        }
        let wish = Wish::of(&request);
        if *request.method() == Method::CONNECT && wish.is_none() {
            return Err(Reason::NotSupported);
        }
        normalize(&mut request)?;
        if let Some(answer) = count_hop(&mut request)? {
            return Ok(answer);
        }
        let received = request.version();
        add_via(request.headers_mut(), received);
        match wish {
            None => self.forward(request, &caller.interim, peer, to).await,
            Some(wish) if wish.by == Form::Connect => {
                let exchange = within.activity.begin();
                self.upgrade(request, caller, &wish, peer, to, exchange)
                    .await
            }
            Some(wish) => self.change(request, &caller, &wish, within).await,
        }
    }

    /// An upgrade of HTTP/1.1, asked of the app with a nonce of its own.
    async fn change(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
        wish: &Wish,
        within: &Within,
    ) -> Result<Response<Body>, Reason> {
        let (mut head, _) = request.into_parts();
        head.headers.remove(SEC_WEBSOCKET_KEY);
        // Bytes of the tunnel are no content.
        head.headers.remove(CONTENT_LENGTH);
        let asked = self
            .ask(head, &caller.interim, wish, &within.peer, &within.to)
            .await?;
        Ok(match asked {
            Asked::Granted(mut response, app) => {
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                wish.grant(response.headers_mut());
                within.passage.open();
                within.changed.replace(Some(app));
                response
            }
            Asked::Unchanged(response) => response,
        })
    }
}

/// Makes of a client's request what a sidecar would have sent: its target absolute, no `Host`, and
/// none of the fields that only sidecars say to each other.
fn normalize(request: &mut Request<Incoming>) -> Result<(), Reason> {
    let authority = authority(request)?;
    *request.uri_mut() = absolute(request.uri(), &authority)?;
    request.headers_mut().remove(HOST);
    sanitize(request.headers_mut());
    Ok(())
}
