//! One HTTP connection from a client, to its end or to the drain's.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Overdue};
use super::guard::Guard;
use super::{Body, Rewound, Timeouts, server_h1, server_h2};
use crate::stream::Stream;

/// What a [`Handler`] returns.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

/// Answers the requests of one connection. Never fails: refusals are answers.
pub(crate) struct Handler<F> {
    activity: Activity,
    answer: F,
}

impl<F: Fn(Request<Incoming>) -> Answer> Handler<F> {
    pub(crate) fn new(activity: Activity, answer: F) -> Self {
        Self { activity, answer }
    }
}

impl<F: Fn(Request<Incoming>) -> Answer> Service<Request<Incoming>> for Handler<F> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let exchange = self.activity.begin();
        let answer = (self.answer)(request);
        Box::pin(async move { Ok(answer.await?.map(|body| body.during(exchange))) })
    }
}

/// Time for a last answer to leave, once a connection shall end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves HTTP/1.1. Returns the stream if an answer turned it into a tunnel.
pub(crate) async fn serve_h1<S, F>(
    stream: S,
    handler: Handler<F>,
    timeouts: &Timeouts,
    drain: &CancellationToken,
) -> Option<Rewound<S>>
where
    S: Stream + 'static,
    F: Fn(Request<Incoming>) -> Answer + Unpin + 'static,
{
    let activity = handler.activity.clone();
    let mut connection = server_h1().serve_connection(TokioIo::new(stream), handler);
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
    F: Fn(Request<Incoming>) -> Answer + 'static,
{
    let activity = handler.activity.clone();
    let stream = TokioIo::new(Guard::new(stream, timeouts.head));
    let mut connection = pin!(server_h2().serve_connection(stream, handler));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        overdue = activity.overdue(timeouts) => {
            tracing::debug!(?overdue, "client's connection ends");
            if overdue == Overdue::Stalled {
                return;
            }
            connection.as_mut().graceful_shutdown();
            match activity.end(LAST_WORDS, connection).await {
                Some(ended) => ended,
                None => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "client's connection ended");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

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
            let handler = Handler::new(Activity::new(), |_: Request<Incoming>| -> Answer {
                Box::pin(async { Ok(Response::new(Body::empty())) })
            });
            let timeouts = Timeouts::default();
            let served = serve_h1(stream, handler, &timeouts, &drain).await;
            drop(served);
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        }
    }
}
