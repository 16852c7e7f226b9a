//! Client and server against each other, and against peers that fall silent.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Cause, SendRequest, serve};
use crate::http::{Activity, Answer, Body, Caller, Handler, Incoming, Timeouts};

type Served = JoinHandle<Result<(), h2::Error>>;

fn start<F>(answer: F) -> (DuplexStream, Served)
where
    F: Fn(Request<Incoming>, Caller) -> Answer + 'static,
{
    let (near, far) = duplex(4096);
    let served = spawn_local(async move {
        let (timeouts, drain) = (Timeouts::default(), CancellationToken::new());
        serve(
            far,
            Handler::new(Activity::new(), answer),
            &timeouts,
            &drain,
        )
        .await
    });
    (near, served)
}

async fn client(stream: DuplexStream) -> (SendRequest, Served) {
    let (send, driver) = SendRequest::handshake(stream).await.unwrap();
    (send, spawn_local(driver))
}

fn post(body: Body) -> Request<Body> {
    Request::post("http://checkout.shop/").body(body).unwrap()
}

/// A peer that says its settings and never anything again, but reads.
fn silent(begin: &'static [u8]) -> (DuplexStream, JoinHandle<()>) {
    let (near, mut far) = duplex(4096);
    let ended = spawn_local(async move {
        far.write_all(begin).await.unwrap();
        let mut all = Vec::new();
        let _ = far.read_to_end(&mut all).await;
    });
    (near, ended)
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test(start_paused = true)]
async fn a_server_without_a_word_is_lost() {
    let test = async {
        let (stream, _ended) = silent(SETTINGS);
        let (mut send, _driver) = client(stream).await;
        let start = Instant::now();
        let failed = send.send(post(Body::empty()), |_| Ok(())).await.err();
        let failed = failed.unwrap();
        assert!(matches!(failed.cause, Cause::Lost), "{:?}", failed.cause);
        assert!(failed.unsent.is_none());
        assert_eq!(start.elapsed().as_secs(), 75);
        assert!(send.is_closed());
        let again = send.send(post(Body::empty()), |_| Ok(())).await.err();
        assert!(again.unwrap().unsent.is_some(), "it was given back");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_asks_nobody() {
    let test = async {
        let (stream, _ended) = silent(SETTINGS);
        let (mut send, _driver) = client(stream).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(!send.is_closed());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_word_is_let_go() {
    let test = async {
        let (stream, served) = start(|_, _| Box::pin(pending()));
        let (mut read, mut write) = tokio::io::split(stream);
        write
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        write.write_all(SETTINGS).await.unwrap();
        let begun = Instant::now();
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.unwrap();
        let _ = served.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 75);
    };
    LocalSet::new().run_until(test).await;
}

/// Larger than any window, in both directions at once, and trailers behind.
#[tokio::test]
async fn long_bodies_pass_whole() {
    let test = async {
        let (stream, _served) = start(|request, _| {
            Box::pin(async move { Response::new(Body::forwarded(request.into_body())) })
        });
        let (mut send, _driver) = client(stream).await;
        let long: Vec<u8> = (0..3 << 20).map(|n: u32| n as u8).collect();
        let sent = send.send(post(Body::ours(long.clone())), |_| Ok(()));
        let answer = sent.await.ok().unwrap();
        assert_eq!(answer.headers()["content-length"], "3145728");
        assert!(answer.headers().contains_key("date"));
        let back = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(back == long, "{} bytes", back.len());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_request_that_is_dropped_is_cancelled() {
    let test = async {
        let (begun, dropped) = (Rc::<Cell<bool>>::default(), Rc::<Cell<bool>>::default());
        let (begin, tell) = (Rc::clone(&begun), Rc::clone(&dropped));
        let (stream, _served) = start(move |_, _| {
            begin.set(true);
            let guard = Tell(Rc::clone(&tell));
            Box::pin(async move {
                let _guard = guard;
                pending().await
            })
        });
        let (mut send, _driver) = client(stream).await;
        let sent = spawn_local(async move {
            let _ = send.send(post(Body::ours("words")), |_| Ok(())).await;
            pending::<()>().await;
        });
        until(&begun).await;
        sent.abort();
        until(&dropped).await;
    };
    LocalSet::new().run_until(test).await;
}

async fn until(level: &Cell<bool>) {
    while !level.get() {
        tokio::task::yield_now().await;
    }
}

struct Tell(Rc<Cell<bool>>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_last_answer_once_nobody_holds_it() {
    let test = async {
        let (stream, served) = start(|_, _| {
            Box::pin(async {
                let mut answer = Response::new(Body::ours("late"));
                *answer.status_mut() = StatusCode::CREATED;
                answer
            })
        });
        let (mut send, driver) = client(stream).await;
        let answer = send
            .send(post(Body::empty()), |_| Ok(()))
            .await
            .ok()
            .unwrap();
        drop(send);
        assert_eq!(answer.status(), 201);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "late");
        driver.await.unwrap().unwrap();
        served.await.unwrap().unwrap();
    };
    LocalSet::new().run_until(test).await;
}
