//! Requests on an HTTP/2 connection to the next hop.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture};
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::alive::Alive;
use super::link::{Link, Used};
use super::pump::Pump;
use super::without_connection;
use crate::http::interim::InterimError;
use crate::http::limits::http2_client;
use crate::http::{Body, Incoming, Tunnel};

/// Sends requests on one connection. Clones share it; once all are gone, and what they
/// began has ended, it closes.
#[derive(Clone)]
pub(crate) struct SendRequest {
    send: h2::client::SendRequest<Bytes>,
    link: Rc<Link>,
}

/// Why a request has no answer.
pub(crate) struct SendError {
    pub(crate) cause: Cause,
    /// The request, if nothing of it was sent.
    pub(crate) unsent: Option<Box<Request<Body>>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("the stream or its connection broke")]
    Broken(#[source] h2::Error),
    /// It may be sent again, whatever it asks for.
    #[error("the peer says that it did not act on the request")]
    Refused(#[source] h2::Error),
    #[error("the peer has given no sign of life for long")]
    Lost,
    #[error("an interim answer is unfit")]
    Interim(#[source] InterimError),
}

/// What became of CONNECT.
pub(crate) enum Opened {
    Tunnel(Response<()>, Tunnel),
    Answer(Response<Incoming>),
}

impl SendRequest {
    /// Opens a connection on `stream`. The future returned drives it to its end.
    pub(crate) async fn handshake<S>(
        stream: S,
    ) -> Result<(Self, impl Future<Output = Result<(), h2::Error>>), h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (send, mut connection) = http2_client().handshake(stream).await?;
        let link = Rc::<Link>::default();
        let driver = Driver {
            alive: Alive::new(connection.ping_pong()),
            connection,
            link: Rc::clone(&link),
        };
        Ok((Self { send, link }, driver))
    }

    /// Whether it takes no further request.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.link.is_lost() || matches!(self.send.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Sends a request and waits for the answer's head; interim answers go to `interim`
    /// before. Dropped earlier, it cancels the request.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
        interim: impl FnMut(Response<()>) -> Result<(), InterimError>,
    ) -> Result<Response<Incoming>, SendError> {
        let (head, body) = self.ready(request).await?.into_parts();
        let mut head = Request::from_parts(head, ());
        let is_whole = body.is_end_stream();
        if !is_whole && let Some(length) = body.size_hint().exact() {
            let fields = head.headers_mut();
            fields
                .entry(CONTENT_LENGTH)
                .or_insert_with(|| HeaderValue::from(length));
        }
        let (answer, stream) = self.begin(head, is_whole)?;
        let used = Used::of(&self.link);
        let mut pump = (!is_whole).then(|| Pump::new(body, stream, Some(Used::of(&self.link))));
        let answer = self.answer(answer, &mut pump, interim).await?;
        if let Some(pump) = pump {
            // The answer came first: both directions go on.
            tokio::task::spawn_local(pump);
        }
        Ok(with_body(answer, used))
    }

    /// Sends CONNECT. A 200 makes its stream a tunnel.
    pub(crate) async fn connect(
        &mut self,
        request: Request<Body>,
        interim: impl FnMut(Response<()>) -> Result<(), InterimError>,
    ) -> Result<Opened, SendError> {
        let request = self.ready(request).await?;
        let (answer, stream) = self.begin(request.map(drop), false)?;
        let used = Used::of(&self.link);
        let answer = self.answer(answer, &mut None, interim).await?;
        if answer.status() == StatusCode::OK {
            let (head, received) = answer.into_parts();
            let tunnel = Tunnel::new(stream, received, Some(used));
            return Ok(Opened::Tunnel(Response::from_parts(head, ()), tunnel));
        }
        Ok(Opened::Answer(with_body(answer, used)))
    }

    /// Gives the request back if the connection takes none.
    async fn ready(&mut self, request: Request<Body>) -> Result<Request<Body>, SendError> {
        match poll_fn(|cx| self.send.poll_ready(cx)).await {
            Ok(()) => Ok(request),
            Err(error) => Err(SendError {
                cause: self.link.explain(error),
                unsent: Some(Box::new(request)),
            }),
        }
    }

    fn begin(
        &mut self,
        mut head: Request<()>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), SendError> {
        without_connection(head.headers_mut());
        let sent = self.send.send_request(head, is_whole);
        sent.map_err(|error| self.link.explain(error).into())
    }

    /// The answer's head, while what there is of the request goes out.
    async fn answer(
        &self,
        mut answer: ResponseFuture,
        pump: &mut Option<Pump>,
        mut interim: impl FnMut(Response<()>) -> Result<(), InterimError>,
    ) -> Result<Response<RecvStream>, SendError> {
        poll_fn(|cx| {
            if let Some(pumping) = pump
                && Pin::new(pumping).poll(cx).is_ready()
            {
                *pump = None;
            }
            while let Poll::Ready(Some(early)) = answer.poll_informational(cx) {
                let early = early.map_err(|error| self.link.explain(error))?;
                interim(early).map_err(Cause::Interim)?;
            }
            let answered = Pin::new(&mut answer).poll(cx);
            answered.map_err(|error| self.link.explain(error).into())
        })
        .await
    }
}

fn with_body(answer: Response<RecvStream>, used: Used) -> Response<Incoming> {
    let (head, stream) = answer.into_parts();
    let body = Incoming::http2(&head.headers, stream, Some(used));
    Response::from_parts(head, body)
}

impl Link {
    fn explain(&self, error: h2::Error) -> Cause {
        if self.is_lost() {
            Cause::Lost
        } else if is_refusal(&error) {
            Cause::Refused(error)
        } else {
            Cause::Broken(error)
        }
    }
}

/// RFC 9113 §8.7: a stream that was refused, or is beyond the last one that a peer which goes
/// away has begun. (A connection that breaks later than it said so is an error of its transport.)
fn is_refusal(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && (reason == Some(Reason::REFUSED_STREAM)
            || error.is_go_away() && reason == Some(Reason::NO_ERROR))
}

impl From<Cause> for SendError {
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            unsent: None,
        }
    }
}

struct Driver<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connection: Connection<S, Bytes>,
    alive: Option<Alive>,
    link: Rc<Link>,
}

impl<S> Future for Driver<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(alive) = &mut this.alive
            && alive.poll_lost(cx, this.link.is_used()).is_ready()
        {
            this.link.lose();
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.connection).poll(cx)
    }
}
