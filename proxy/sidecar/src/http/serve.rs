//! One HTTP connection from a client, to its end or to the drain's.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Exchange, Overdue};
use super::guard::Guard;
use super::interim::{Interim, Line};
use super::{Body, Incoming, Rewound, Timeouts, Tunnel, http2, server_h1};
use crate::stream::Stream;

/// What a [`Handler`] returns. Refusals are answers too.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Response<Body>>>>;

/// Answers the requests of one connection.
pub(crate) struct Handler<F> {
    pub(super) activity: Activity,
    pub(super) answer: F,
}

/// The ways to whoever asks, beside the answer.
pub(crate) struct Caller {
    /// Before it.
    pub(crate) interim: Interim,
    /// After it, if it opens a tunnel: the stream of a CONNECT by HTTP/2.
    pub(crate) stream: Option<oneshot::Receiver<Tunnel>>,
}

impl<F: Fn(Request<Incoming>, Caller) -> Answer> Handler<F> {
    pub(crate) fn new(activity: Activity, answer: F) -> Self {
        Self { activity, answer }
    }
}

/// A handler behind hyper's HTTP/1.
struct Http1<F> {
    handler: Handler<F>,
    line: Rc<Line>,
}

impl<F> Service<Request<hyper::body::Incoming>> for Http1<F>
where
    F: Fn(Request<Incoming>, Caller) -> Answer,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Http1Answer;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Http1Answer {
        let caller = Caller {
            interim: Interim::http1(&self.line, request.version()),
            stream: None,
        };
        Http1Answer {
            exchange: Some(self.handler.activity.begin()),
            answer: (self.handler.answer)(request.map(Incoming::Http1), caller),
            answered: None,
            line: Rc::clone(&self.line),
        }
    }
}

/// An answer that stands back until the interim ones before it are written.
struct Http1Answer {
    answer: Answer,
    answered: Option<Response<Body>>,
    exchange: Option<Exchange>,
    line: Rc<Line>,
}

impl Future for Http1Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (answered, is_new) = match this.answered.take() {
            Some(answered) => (answered, false),
            None => (ready!(this.answer.as_mut().poll(cx)), true),
        };
        if this.line.poll_sent(cx).is_pending() {
            // From here on it is the client's turn, which may be too slow for any answer.
            if let (true, Some(exchange)) = (is_new, &this.exchange) {
                exchange.offer();
            }
            this.answered = Some(answered);
            return Poll::Pending;
        }
        Poll::Ready(Ok(match this.exchange.take() {
            Some(exchange) => answered.map(|body| body.during(exchange)),
            None => answered,
        }))
    }
}

/// Time for a last answer to leave, once a connection shall end.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a drain waits for the first request of a connection that is there already:
/// a client that connects sends at once, and a close would overtake it.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(500);

/// Resolves some time after the drain began: by then a connection on which no
/// request has come is unlikely to bring one.
pub(crate) async fn patience_over(drain: &CancellationToken) {
    drain.cancelled().await;
    tokio::time::sleep(FIRST_REQUEST_GRACE).await;
}

/// Serves HTTP/1.1. Returns the stream if an answer turned it into a tunnel.
///
/// `stream` writes what is put on `line` when it is flushed, and only then.
pub(crate) async fn serve_h1<S, F>(
    stream: S,
    line: Rc<Line>,
    handler: Handler<F>,
    timeouts: &Timeouts,
    drain: &CancellationToken,
) -> Option<Rewound<S>>
where
    S: Stream + 'static,
    F: Fn(Request<Incoming>, Caller) -> Answer + Unpin + 'static,
{
    let activity = handler.activity.clone();
    let service = Http1 { handler, line };
    let mut connection = server_h1().serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        // In this order: a connection that is asked to end before it was first polled ends
        // without a look at the request that is there.
        biased;
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        () = drain.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
        overdue = activity.overdue(timeouts) => {
            tracing::debug!(?overdue, "client's connection ends");
            if overdue == Overdue::Stalled {
                return None;
            }
            Pin::new(&mut connection).graceful_shutdown();
            let last = poll_fn(|cx| connection.poll_without_shutdown(cx));
            activity.end(LAST_WORDS, last).await?
        }
    };
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    let mut stream = Rewound::new(read_buf.into(), io.into_inner());
    match ended {
        Ok(()) => Some(stream),
        Err(error) => {
            tracing::debug!(%error, "client's connection ended");
            // An answer to what was refused may still be on its way: end well.
            let _ = stream.shutdown().await;
            None
        }
    }
}

/// Serves HTTP/2 with prior knowledge, or as ALPN chose it.
pub(crate) async fn serve_h2<S, F>(
    stream: S,
    handler: Handler<F>,
    timeouts: &Timeouts,
    drain: &CancellationToken,
) where
    S: Stream + 'static,
    F: Fn(Request<Incoming>, Caller) -> Answer + 'static,
{
    let stream = Guard::new(stream, timeouts.head);
    if let Err(error) = http2::serve(stream, handler, timeouts, drain).await {
        tracing::debug!(%error, "client's connection ended");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use crate::http::Strict;

    use super::*;

    /// The answer behind it is not begun, and would never be.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_take_an_interim_answer_stalls() {
        let (mut client, server) = duplex(64);
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let handler = Handler::new(Activity::new(), |_, caller: Caller| -> Answer {
            Box::pin(async move {
                let early = Response::builder()
                    .status(103)
                    .header("link", "x".repeat(1000));
                caller.interim.pass(early.body(()).unwrap()).unwrap();
                Response::new(Body::empty())
            })
        });
        let (timeouts, drain) = (Timeouts::default(), CancellationToken::new());
        let stream = Strict::new(server, timeouts.head);
        let (line, start) = (stream.line(), Instant::now());
        assert!(
            serve_h1(stream, line, handler, &timeouts, &drain)
                .await
                .is_none()
        );
        assert!((60..=90).contains(&start.elapsed().as_secs()));
    }

    /// The drain has begun when a connection is served whose request has arrived, as many
    /// times as it takes for an unlucky order to show.
    #[tokio::test]
    async fn a_request_that_arrived_before_the_drain_is_answered() {
        let drain = CancellationToken::new();
        drain.cancel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..32 {
            let connected = TcpStream::connect(listener.local_addr().unwrap());
            let (client, accepted) = tokio::join!(connected, listener.accept());
            let (mut client, (stream, _)) = (client.unwrap(), accepted.unwrap());
            let request = b"GET / HTTP/1.1\r\nhost: checkout.shop\r\n\r\n";
            client.write_all(request).await.unwrap();
            stream.readable().await.unwrap();
            let handler = Handler::new(Activity::new(), |_, _| -> Answer {
                Box::pin(async { Response::new(Body::empty()) })
            });
            let timeouts = Timeouts::default();
            let served = serve_h1(stream, Rc::default(), handler, &timeouts, &drain).await;
            drop(served);
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        }
    }
}
