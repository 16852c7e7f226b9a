//! Connections to the app, kept alive between requests.

mod early;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest as SendHttp1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use weft_decide::Reason;
use weft_model::AppProtocol;

use crate::http::{Body, Cause, Incoming, Interim, SendError, SendRequest, client_h1};
use crate::inner::connect_tcp;
use early::{Early, Failed};

/// Idle HTTP/1.1 connections kept per app port and worker.
const IDLE_MAX: usize = 128;
/// Longest time for a TCP connection on the same machine.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// This worker's connections to the app. Clones share them.
#[derive(Clone, Default)]
pub(super) struct AppPool {
    shared: Rc<Pools>,
}

#[derive(Default)]
struct Pools {
    idle: RefCell<HashMap<SocketAddr, Vec<Kept>>>,
    multiplexed: RefCell<HashMap<SocketAddr, SendRequest>>,
}

/// An HTTP/1.1 connection between two exchanges.
struct Kept {
    send: SendHttp1<Body>,
    early: Early,
}

/// An HTTP/1.1 connection that carries one exchange; give it back once the
/// answer's body was read to its end, drop it otherwise.
pub(super) struct Borrowed {
    app: SocketAddr,
    kept: Kept,
    pools: Rc<Pools>,
}

impl Borrowed {
    pub(super) fn give_back(self) {
        let mut idle = self.pools.idle.borrow_mut();
        let idle = idle.entry(self.app).or_default();
        if idle.len() < IDLE_MAX && !self.kept.send.is_closed() {
            idle.push(self.kept);
        }
    }
}

impl Kept {
    async fn exchange(
        &mut self,
        mut request: Request<Body>,
        interim: &Interim,
    ) -> Result<Response<Incoming>, Failed<TrySendError<Request<Body>>>> {
        self.early.expect(&mut request);
        let answer = self.send.try_send_request(request);
        let answer = self.early.until(answer, interim).await?;
        Ok(answer.map(Incoming::Http1))
    }
}

impl AppPool {
    /// Whether the app takes connections; the one that shows it is kept for the next exchange.
    ///
    /// # Errors
    ///
    /// Why none could be made.
    pub(super) async fn reach(&self, app: SocketAddr, by: AppProtocol) -> Result<(), Reason> {
        match by {
            AppProtocol::Http2 | AppProtocol::Grpc => self.multiplexed(app).await.map(drop),
            AppProtocol::Http | AppProtocol::Tcp => {
                let kept = match self.idle(app) {
                    Some(kept) => kept,
                    None => self.connect_h1(app).await?,
                };
                kept.give_back();
                Ok(())
            }
        }
    }

    /// One HTTP/1.1 exchange. A kept-alive connection that the app closed in the
    /// meantime gives the request back unsent, and a fresh one takes it.
    pub(super) async fn send_h1(
        &self,
        app: SocketAddr,
        mut request: Request<Body>,
        interim: &Interim,
    ) -> Result<(Response<Incoming>, Borrowed), Reason> {
        while let Some(mut borrowed) = self.idle(app) {
            if borrowed.kept.send.ready().await.is_err() {
                continue;
            }
            match borrowed.kept.exchange(request, interim).await {
                Ok(response) => return Ok((response, borrowed)),
                Err(Failed::Answer(mut error)) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failure(&error.into_error())),
                },
                Err(Failed::Interim) => return Err(Reason::UpstreamProtocol),
            }
        }
        let mut borrowed = self.connect_h1(app).await?;
        match borrowed.kept.exchange(request, interim).await {
            Ok(response) => Ok((response, borrowed)),
            Err(Failed::Answer(error)) => Err(failure(&error.into_error())),
            Err(Failed::Interim) => Err(Reason::UpstreamProtocol),
        }
    }

    /// One exchange on a connection of its own, which may become something else.
    pub(super) async fn send_upgrade(
        &self,
        app: SocketAddr,
        mut request: Request<Body>,
        interim: &Interim,
    ) -> Result<Response<hyper::body::Incoming>, Reason> {
        let stream = connect(app).await?;
        let (mut send, driver) = client_h1()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Reason::ConnectFailed)?;
        tokio::task::spawn_local(async move {
            if let Err(error) = driver.with_upgrades().await {
                tracing::debug!(%app, %error, "connection to the app ended");
            }
        });
        let mut early = Early::new();
        early.expect(&mut request);
        match early.until(send.send_request(request), interim).await {
            Ok(response) => Ok(response),
            Err(Failed::Answer(error)) => Err(failure(&error)),
            Err(Failed::Interim) => Err(Reason::UpstreamProtocol),
        }
    }

    /// One HTTP/2 exchange on the connection that all share.
    pub(super) async fn send_h2(
        &self,
        app: SocketAddr,
        request: Request<Body>,
        interim: &Interim,
    ) -> Result<Response<Incoming>, Reason> {
        let mut send = self.multiplexed(app).await?;
        let sent = send.send(request, |early| interim.pass(early)).await;
        sent.map_err(|error| failure_h2(&error))
    }

    fn idle(&self, app: SocketAddr) -> Option<Borrowed> {
        let mut idle = self.shared.idle.borrow_mut();
        let idle = idle.get_mut(&app)?;
        while let Some(kept) = idle.pop() {
            if !kept.send.is_closed() {
                return Some(Borrowed {
                    app,
                    kept,
                    pools: Rc::clone(&self.shared),
                });
            }
        }
        None
    }

    async fn connect_h1(&self, app: SocketAddr) -> Result<Borrowed, Reason> {
        let stream = connect(app).await?;
        let (send, driver) = client_h1()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Reason::ConnectFailed)?;
        tokio::task::spawn_local(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%app, %error, "connection to the app ended");
            }
        });
        let early = Early::new();
        Ok(Borrowed {
            app,
            kept: Kept { send, early },
            pools: Rc::clone(&self.shared),
        })
    }

    async fn multiplexed(&self, app: SocketAddr) -> Result<SendRequest, Reason> {
        let open = self.shared.multiplexed.borrow().get(&app).cloned();
        match open.map(|mut send| (send.is_closed(), send)) {
            Some((false, send)) => Ok(send),
            _ => self.connect_h2(app).await,
        }
    }

    async fn connect_h2(&self, app: SocketAddr) -> Result<SendRequest, Reason> {
        let stream = connect(app).await?;
        let (send, driver) = SendRequest::handshake(stream)
            .await
            .map_err(|_| Reason::ConnectFailed)?;
        tokio::task::spawn_local(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%app, %error, "connection to the app ended");
            }
        });
        self.shared
            .multiplexed
            .borrow_mut()
            .insert(app, send.clone());
        Ok(send)
    }
}

async fn connect(app: SocketAddr) -> Result<tokio::net::TcpStream, Reason> {
    match timeout(CONNECT_MAX, connect_tcp(app)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            tracing::debug!(%app, %error, "app not reached");
            Err(Reason::ConnectFailed)
        }
        Err(_) => Err(Reason::Timeout),
    }
}

fn failure(error: &hyper::Error) -> Reason {
    if error.is_parse() {
        Reason::UpstreamProtocol
    } else if error.is_user() || error.is_body_write_aborted() {
        Reason::BadRequest
    } else {
        Reason::UpstreamReset
    }
}

fn failure_h2(error: &SendError) -> Reason {
    match &error.cause {
        Cause::Broken(error) if error.is_library() && !error.is_io() => Reason::UpstreamProtocol,
        Cause::Broken(_) | Cause::Refused(_) | Cause::Lost => Reason::UpstreamReset,
        Cause::Interim(_) => Reason::UpstreamProtocol,
    }
}
