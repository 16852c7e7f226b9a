//! Answers on an HTTP/2 connection from a client or the hop before.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, DATE, EXPECT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::alive::Alive;
use super::pump::Pump;
use super::without_connection;
use crate::http::activity::Overdue;
use crate::http::date::date;
use crate::http::interim::{Heads, Interim};
use crate::http::limits::http2_server;
use crate::http::serve::{Answer, Caller, Handler, LAST_WORDS};
use crate::http::{Body, Incoming, Timeouts, Tunnel};

/// Serves `stream` to its end, or to the drain's.
pub(in crate::http) async fn serve<S, F>(
    stream: S,
    handler: Handler<F>,
    timeouts: &Timeouts,
    drain: &CancellationToken,
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>, Caller) -> Answer + 'static,
{
    let activity = handler.activity.clone();
    let mut overdue = pin!(activity.overdue(timeouts));
    let mut connection = tokio::select! {
        connection = http2_server().handshake(stream) => connection?,
        _ = &mut overdue => return Ok(()),
    };
    let mut server = Server {
        alive: Alive::new(connection.ping_pong()),
        handler: Rc::new(handler),
        heads: Rc::default(),
    };
    let overdue = tokio::select! {
        biased;
        ended = poll_fn(|cx| server.poll(&mut connection, cx)) => return ended,
        () = drain.cancelled() => None,
        overdue = &mut overdue => Some(overdue),
    };
    tracing::debug!(?overdue, "client's connection ends");
    if overdue == Some(Overdue::Stalled) {
        return Ok(());
    }
    connection.graceful_shutdown();
    let last = poll_fn(|cx| server.poll(&mut connection, cx));
    match overdue {
        None => last.await,
        Some(_) => activity.end(LAST_WORDS, last).await.unwrap_or(Ok(())),
    }
}

struct Server<F> {
    alive: Option<Alive>,
    handler: Rc<Handler<F>>,
    heads: Rc<Heads>,
}

impl<F> Server<F>
where
    F: Fn(Request<Incoming>, Caller) -> Answer + 'static,
{
    /// Ready at the connection's end.
    fn poll<S>(
        &mut self,
        connection: &mut Connection<S, Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), h2::Error>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let Some(alive) = &mut self.alive
            && alive.poll_lost(cx, true).is_ready()
        {
            tracing::debug!("client gave no sign of life");
            self.alive = None;
            connection.abrupt_shutdown(Reason::NO_ERROR);
        }
        loop {
            match std::task::ready!(connection.poll_accept(cx)) {
                Some(Ok((request, respond))) => self.begin(request, respond),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    fn begin(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (head, stream) = request.into_parts();
        let mut caller = Caller {
            interim: Interim::http2(&self.heads),
            stream: None,
        };
        let (body, opening) = if head.method == Method::CONNECT {
            let (opening, opened) = oneshot::channel();
            caller.stream = Some(opened);
            (Incoming::None, Some(Opening { stream, opening }))
        } else {
            (Incoming::http2(&head.headers, stream, None), None)
        };
        if waits_to_continue(&head.headers) && !body.is_end_stream() {
            let mut proceed = Response::new(());
            *proceed.status_mut() = StatusCode::CONTINUE;
            // Fails on a stream that is over.
            let _ = respond.send_informational(proceed);
        }
        let exchange = self.handler.activity.begin();
        let answer = (self.handler.answer)(Request::from_parts(head, body), caller);
        let heads = Rc::clone(&self.heads);
        tokio::task::spawn_local(async move {
            let Some(answer) = wait(answer, &mut respond, &heads).await else {
                return;
            };
            let answer = answer.map(|body| body.during(exchange));
            match send(answer, respond, opening) {
                Ok(Some(pump)) => pump.await,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "an answer was not sent"),
            }
        });
    }
}

/// CONNECT that has no answer yet.
struct Opening {
    stream: RecvStream,
    opening: oneshot::Sender<Tunnel>,
}

/// The answer; none if the client gives up before. Interim answers go out meanwhile.
async fn wait(
    mut answer: Answer,
    respond: &mut SendResponse<Bytes>,
    heads: &Heads,
) -> Option<Response<Body>> {
    poll_fn(|cx| {
        let polled = answer.as_mut().poll(cx);
        let is_over = respond.poll_reset(cx).is_ready();
        for early in heads.borrow_mut().drain(..) {
            if !is_over && let Err(error) = respond.send_informational(early) {
                tracing::debug!(%error, "an interim answer was not sent");
            }
        }
        match polled {
            _ if is_over => Poll::Ready(None),
            polled => polled.map(Some),
        }
    })
    .await
}

/// Sends an answer's head, and makes a tunnel of the stream if it says so. Returns what
/// sends the body, if there is one.
fn send(
    answer: Response<Body>,
    mut respond: SendResponse<Bytes>,
    opening: Option<Opening>,
) -> Result<Option<Pump>, h2::Error> {
    let (mut head, body) = answer.into_parts();
    without_connection(&mut head.headers);
    head.headers.entry(DATE).or_insert_with(date);
    if let Some(opening) = opening
        && head.status.is_success()
    {
        head.headers.remove(CONTENT_LENGTH);
        let stream = respond.send_response(Response::from_parts(head, ()), false)?;
        // Whoever wanted it may be gone: then the stream is cancelled.
        let tunnel = Tunnel::new(stream, opening.stream, None);
        let _ = opening.opening.send(tunnel);
        return Ok(None);
    }
    let is_whole = body.is_end_stream();
    if !is_whole && let Some(length) = body.size_hint().exact() {
        let length = || HeaderValue::from(length);
        head.headers.entry(CONTENT_LENGTH).or_insert_with(length);
    }
    let head = Response::from_parts(head, ());
    let sent = respond.send_response(head, is_whole);
    let stream = sent.inspect_err(|_| respond.send_reset(Reason::INTERNAL_ERROR))?;
    Ok((!is_whole).then(|| Pump::new(body, stream, None)))
}

fn waits_to_continue(headers: &HeaderMap) -> bool {
    let expect = headers.get(EXPECT);
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
