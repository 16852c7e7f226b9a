//! Extended CONNECT and upgrades from peers, as an upgrade to the app.

use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT};
use http::{Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use weft_decide::Reason;
use weft_model::AppProtocol;

use super::http::origin_form;
use super::{Destination, Peer, Shared};
use crate::http::{
    Body, Caller, Exchange, Incoming, Interim, METHOD, Rewound, STATUS, Wish, sanitize_response,
    strip_hop_by_hop,
};
use crate::pipe::pipe;
use crate::stream::Stream;

impl Shared {
    /// Asks the app on a connection of its own. If it grants the wish, the stream
    /// and that connection become one.
    pub(super) async fn upgrade(
        &self,
        request: Request<Incoming>,
        caller: Caller,
        wish: &Wish,
        peer: &Peer,
        to: &Destination,
        exchange: Exchange,
    ) -> Result<Response<Body>, Reason> {
        let stream = caller.stream.ok_or(Reason::BadRequest)?;
        let (mut head, _) = request.into_parts();
        head.method = match head.headers.remove(METHOD) {
            Some(method) => {
                Method::from_bytes(method.as_bytes()).map_err(|_| Reason::BadRequest)?
            }
            None => Method::GET,
        };
        let (mut response, app) = match self.ask(head, &caller.interim, wish, peer, to).await? {
            Asked::Granted(response, app) => (response, app),
            Asked::Unchanged(mut response) => {
                tell_success(&mut response);
                return Ok(response);
            }
        };
        tokio::task::spawn_local(async move {
            match stream.await {
                Ok(stream) => carry(stream, app).await,
                Err(_) => tracing::debug!("the peer left before the tunnel began"),
            }
            drop(exchange);
        });
        *response.status_mut() = StatusCode::OK;
        Ok(response)
    }

    /// Asks the app on a connection of its own.
    ///
    /// # Errors
    ///
    /// The request is not fit for it, it was not reached, or it grants what was not wished.
    pub(super) async fn ask(
        &self,
        mut head: http::request::Parts,
        interim: &Interim,
        wish: &Wish,
        peer: &Peer,
        to: &Destination,
    ) -> Result<Asked, Reason> {
        if matches!(to.protocol, AppProtocol::Http2 | AppProtocol::Grpc) {
            return Err(Reason::NotSupported);
        }
        self.clean(&mut head, peer)?;
        origin_form(&mut head)?;
        let proof = wish.ask(&mut head.headers, rand::random());
        let request = Request::from_parts(head, Body::empty());
        let mut response = self.apps.send_upgrade(to.app, request, interim).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Asked::Unchanged(unchanged(response)));
        }
        if !wish.is_granted(response.headers(), proof.as_ref()) {
            return Err(Reason::UpstreamProtocol);
        }
        let app = hyper::upgrade::on(&mut response);
        let (mut head, _) = response.into_parts();
        head.extensions.clear();
        head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        strip_hop_by_hop(&mut head.headers);
        sanitize_response(&mut head.headers);
        Ok(Asked::Granted(
            Response::from_parts(head, Body::empty()),
            app,
        ))
    }
}

/// What the app said to a wish.
pub(super) enum Asked {
    /// 101; what the connection became is yet to come.
    Granted(Response<Body>, OnUpgrade),
    /// An answer in HTTP.
    Unchanged(Response<Body>),
}

fn unchanged(response: Response<hyper::body::Incoming>) -> Response<Body> {
    let (mut head, incoming) = response.into_parts();
    strip_hop_by_hop(&mut head.headers);
    sanitize_response(&mut head.headers);
    Response::from_parts(head, Body::forwarded(Incoming::Http1(incoming)))
}

/// To extended CONNECT a success would say that the protocol has changed: it is told in a field of
/// its own.
fn tell_success(response: &mut Response<Body>) {
    if response.status().is_success() {
        let status = HeaderValue::from(response.status().as_u16());
        response.headers_mut().insert(STATUS, status);
        *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    }
}

/// Makes one of what a peer's stream and the app's connection became.
pub(super) async fn carry(mut peer: impl Stream, app: OnUpgrade) {
    let Ok(app) = app.await else {
        peer.reset();
        return tracing::debug!("the app left before the tunnel began");
    };
    let parts = match app.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => parts,
        Err(_) => return tracing::error!("the app's connection is no TCP connection"),
    };
    let mut app = Rewound::new(parts.read_buf.into(), parts.io.into_inner());
    let transfer = pipe(&mut peer, &mut app).await;
    if let Err(error) = &transfer.end {
        tracing::debug!(%error, "connection cut");
        app.reset();
    }
}
