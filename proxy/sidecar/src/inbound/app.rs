//! Connections to the app, kept alive between requests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use weft_decide::Reason;

use crate::http::{Body, client_h1, client_h2};
use crate::inner::connect_tcp;

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
    idle: RefCell<HashMap<SocketAddr, Vec<http1::SendRequest<Body>>>>,
    multiplexed: RefCell<HashMap<SocketAddr, http2::SendRequest<Body>>>,
}

/// An HTTP/1.1 connection that carries one exchange; give it back once the
/// answer's body was read to its end, drop it otherwise.
pub(super) struct Borrowed {
    app: SocketAddr,
    send: http1::SendRequest<Body>,
    pools: Rc<Pools>,
}

impl Borrowed {
    pub(super) fn give_back(self) {
        let mut idle = self.pools.idle.borrow_mut();
        let idle = idle.entry(self.app).or_default();
        if idle.len() < IDLE_MAX && !self.send.is_closed() {
            idle.push(self.send);
        }
    }
}

impl AppPool {
    /// One HTTP/1.1 exchange. A kept-alive connection that the app closed in the
    /// meantime gives the request back unsent, and a fresh one takes it.
    pub(super) async fn send_h1(
        &self,
        app: SocketAddr,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Borrowed), Reason> {
        while let Some(mut borrowed) = self.idle(app) {
            if borrowed.send.ready().await.is_err() {
                continue;
            }
            match borrowed.send.try_send_request(request).await {
                Ok(response) => return Ok((response, borrowed)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failure(&error.into_error())),
                },
            }
        }
        let mut borrowed = self.connect_h1(app).await?;
        let response = borrowed
            .send
            .send_request(request)
            .await
            .map_err(|error| failure(&error))?;
        Ok((response, borrowed))
    }

    /// One exchange on a connection of its own, which may become something else.
    pub(super) async fn send_upgrade(
        &self,
        app: SocketAddr,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Reason> {
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
        send.send_request(request)
            .await
            .map_err(|error| failure(&error))
    }

    /// One HTTP/2 exchange on the connection that all share.
    pub(super) async fn send_h2(
        &self,
        app: SocketAddr,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Reason> {
        let open = self.shared.multiplexed.borrow().get(&app).cloned();
        let mut send = match open {
            Some(send) if !send.is_closed() => send,
            _ => self.connect_h2(app).await?,
        };
        send.ready().await.map_err(|error| failure(&error))?;
        send.send_request(request)
            .await
            .map_err(|error| failure(&error))
    }

    fn idle(&self, app: SocketAddr) -> Option<Borrowed> {
        let mut idle = self.shared.idle.borrow_mut();
        let idle = idle.get_mut(&app)?;
        while let Some(send) = idle.pop() {
            if !send.is_closed() {
                return Some(Borrowed {
                    app,
                    send,
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
        Ok(Borrowed {
            app,
            send,
            pools: Rc::clone(&self.shared),
        })
    }

    async fn connect_h2(&self, app: SocketAddr) -> Result<http2::SendRequest<Body>, Reason> {
        let stream = connect(app).await?;
        let (send, driver) = client_h2()
            .handshake(TokioIo::new(stream))
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
