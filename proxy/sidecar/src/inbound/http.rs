//! Requests from peers to the app.

use std::rc::Rc;

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use tokio_rustls::server::TlsStream;
use weft_decide::Reason;
use weft_model::AppProtocol;

use super::{Destination, Inbound, Peer, Shared};
use crate::http::{
    Activity, Answer, Body, BodyEnd, Caller, FORWARDED_CLIENT_CERT, Handler, Incoming, Interim,
    Wish, continue_trace, fits, introduced, is_grpc, is_plain, refuse, sanitize, sanitize_response,
    serve_h2, strip_hop_by_hop, tell,
};
use crate::inner::{Target, is_probe};
use crate::stream::Stream;

impl Inbound {
    pub(super) async fn serve_http<S: Stream + 'static>(&self, tls: TlsStream<S>, peer: Rc<Peer>) {
        let shared = Rc::clone(&self.shared);
        let activity = Activity::new();
        let streams = activity.clone();
        let handler = Handler::new(activity, move |request, caller| -> Answer {
            let (shared, peer) = (Rc::clone(&shared), Rc::clone(&peer));
            let streams = streams.clone();
            Box::pin(async move { shared.respond(request, caller, &peer, &streams).await })
        });
        serve_h2(tls, handler, &self.shared.timeouts, &self.shared.drain).await;
    }
}

impl Shared {
    async fn respond(
        &self,
        mut request: Request<Incoming>,
        caller: Caller,
        peer: &Peer,
        streams: &Activity,
    ) -> Response<Body> {
        let grpc = is_grpc(request.headers());
        let start = self.clock.now();
        if is_probe(&request) {
            let mut alive = Response::new(Body::empty());
            *alive.status_mut() = StatusCode::NO_CONTENT;
            return alive;
        }
        if !fits(request.headers()) {
            return refuse(Reason::HeadTooLarge, "this endpoint", grpc);
        }
        let destination = Target::take_from(request.headers_mut())
            .map_err(|_| Reason::BadRequest)
            .and_then(|target| self.find(&target));
        let destination = match destination {
            Ok(destination) => destination,
            Err(reason) => return refuse(reason, "this endpoint", grpc),
        };
        let mut labels = self.labels(peer, &destination, "http");
        let answer = match Wish::of(&request) {
            Some(wish) => {
                let exchange = streams.begin();
                self.upgrade(request, caller, &wish, peer, &destination, exchange)
                    .await
            }
            None => {
                self.forward(request, &caller.interim, peer, &destination)
                    .await
            }
        };
        let response = answer.unwrap_or_else(|reason| {
            labels.flags = reason.response_flag();
            refuse(reason, "the app", grpc)
        });
        labels.code = response.status().as_u16();
        self.recorder.request(labels, self.clock.now().since(start));
        response
    }

    pub(super) async fn forward(
        &self,
        request: Request<Incoming>,
        interim: &Interim,
        peer: &Peer,
        to: &Destination,
    ) -> Result<Response<Body>, Reason> {
        if *request.method() == Method::CONNECT {
            return Err(Reason::NotSupported);
        }
        let (mut head, incoming) = request.into_parts();
        self.clean(&mut head, peer)?;
        let body = Body::forwarded(incoming);
        match to.protocol {
            AppProtocol::Http2 | AppProtocol::Grpc => {
                let response = self
                    .apps
                    .send_h2(to.app, Request::from_parts(head, body), interim)
                    .await?;
                let (mut head, incoming) = response.into_parts();
                sanitize_response(&mut head.headers);
                Ok(Response::from_parts(head, Body::forwarded(incoming)))
            }
            AppProtocol::Http | AppProtocol::Tcp => {
                origin_form(&mut head)?;
                self.exchange_h1(to, Request::from_parts(head, body), interim)
                    .await
            }
        }
    }

    /// Leaves on a request's head what the app may believe.
    ///
    /// # Errors
    ///
    /// `BadRequest` if the app could not be told the host without being told more.
    pub(super) fn clean(&self, head: &mut http::request::Parts, peer: &Peer) -> Result<(), Reason> {
        if !head.uri.authority().is_some_and(is_plain) {
            return Err(Reason::BadRequest);
        }
        // Beside the authority it would be a second host; `origin_form` writes it anew.
        head.headers.remove(HOST);
        let client = introduced(&mut head.headers, peer.vouches);
        strip_hop_by_hop(&mut head.headers);
        sanitize(&mut head.headers);
        continue_trace(&mut head.headers, rand::random());
        tell(&mut head.headers, client, head.uri.authority());
        head.extensions.clear();
        head.headers
            .insert(FORWARDED_CLIENT_CERT, peer.forwarded_client_cert.clone());
        Ok(())
    }

    async fn exchange_h1(
        &self,
        to: &Destination,
        request: Request<Body>,
        interim: &Interim,
    ) -> Result<Response<Body>, Reason> {
        let (response, borrowed) = self.apps.send_h1(to.app, request, interim).await?;
        let (mut head, incoming) = response.into_parts();
        if head.status.is_informational() {
            // 101, which nobody asked for.
            return Err(Reason::UpstreamProtocol);
        }
        if head.headers.contains_key(TRANSFER_ENCODING) && head.headers.contains_key(CONTENT_LENGTH)
        {
            // Two readers may end it at two places (RFC 9112 §6.1).
            return Err(Reason::UpstreamProtocol);
        }
        strip_hop_by_hop(&mut head.headers);
        sanitize_response(&mut head.headers);
        let body = Body::forwarded(incoming).watched(Box::new(move |end| {
            if matches!(end, BodyEnd::Complete { .. }) {
                borrowed.give_back();
            }
        }));
        Ok(Response::from_parts(head, body))
    }
}

/// As an HTTP/1.1 server expects it: the host in `Host`, the path in the target,
/// crumbs of `Cookie` joined (RFC 9113 §8.2.3).
pub(super) fn origin_form(head: &mut http::request::Parts) -> Result<(), Reason> {
    let authority = head.uri.authority().ok_or(Reason::BadRequest)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::BadRequest)?;
    head.headers.insert(HOST, host);
    let path = head.uri.path_and_query().cloned();
    head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    head.version = Version::HTTP_11;
    join_cookies(head);
    Ok(())
}

fn join_cookies(head: &mut http::request::Parts) {
    let crumbs: Vec<&[u8]> = head
        .headers
        .get_all(http::header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        head.headers.insert(http::header::COOKIE, joined);
    }
}
