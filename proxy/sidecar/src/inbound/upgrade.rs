//! Extended CONNECT from peers, as an upgrade to the app.

use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT};
use http::{Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use weft_decide::Reason;
use weft_model::AppProtocol;

use super::http::origin_form;
use super::{Destination, Peer, Shared};
use crate::http::{
    Body, Caller, Exchange, Incoming, METHOD, Rewound, STATUS, Tunnel, Wish, sanitize_response,
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
        if matches!(to.protocol, AppProtocol::Http2 | AppProtocol::Grpc) {
            return Err(Reason::NotSupported);
        }
        let stream = caller.stream.ok_or(Reason::BadRequest)?;
        let (mut head, _) = request.into_parts();
        head.method = match head.headers.remove(METHOD) {
            Some(method) => {
                Method::from_bytes(method.as_bytes()).map_err(|_| Reason::BadRequest)?
            }
            None => Method::GET,
        };
        self.clean(&mut head, peer);
        origin_form(&mut head)?;
        let proof = wish.ask(&mut head.headers, rand::random());
        let request = Request::from_parts(head, Body::empty());
        let mut response = self
            .apps
            .send_upgrade(to.app, request, &caller.interim)
            .await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(unchanged(response));
        }
        if !wish.is_granted(response.headers(), proof.as_ref()) {
            return Err(Reason::UpstreamProtocol);
        }
        let app = hyper::upgrade::on(&mut response);
        tokio::task::spawn_local(carry(stream, app, exchange));
        let (mut head, _) = response.into_parts();
        head.status = StatusCode::OK;
        head.extensions.clear();
        head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        strip_hop_by_hop(&mut head.headers);
        sanitize_response(&mut head.headers);
        Ok(Response::from_parts(head, Body::empty()))
    }
}

/// The app's answer in HTTP. A success is told in a field of its own.
fn unchanged(response: Response<hyper::body::Incoming>) -> Response<Body> {
    let (mut head, incoming) = response.into_parts();
    strip_hop_by_hop(&mut head.headers);
    sanitize_response(&mut head.headers);
    if head.status.is_success() {
        let status = HeaderValue::from(head.status.as_u16());
        head.headers.insert(STATUS, status);
        head.status = StatusCode::NOT_IMPLEMENTED;
    }
    Response::from_parts(head, Body::forwarded(Incoming::Http1(incoming)))
}

async fn carry(peer: oneshot::Receiver<Tunnel>, app: OnUpgrade, exchange: Exchange) {
    let (mut peer, app) = match tokio::join!(peer, app) {
        (Ok(peer), Ok(app)) => (peer, app),
        _ => return tracing::debug!("a side left before the tunnel began"),
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
    drop(exchange);
}
