//! Inner HTTP/2 connections of one worker, per endpoint and port.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use weft_decide::{EndpointView, Reason, ServiceTable, Tick};
use weft_model::{EndpointId, SpiffeId};

use crate::clock::Clock;
use crate::http::{Body, client_h2};
use crate::inner::{Dialer, Protocol};

/// Concurrent requests on one connection. Lower: less head-of-line blocking over
/// a lossy WAN, more connections.
const STREAMS_MAX: usize = 100;
/// Connections to one endpoint from one worker; with all of them full a request
/// is refused as overload.
const CONNECTIONS_MAX: usize = 8;
/// A connection without requests is closed after this.
const IDLE_MAX: Duration = Duration::from_secs(90);

type Key = (EndpointId, NonZeroU16);
type Dialing = Shared<LocalBoxFuture<'static, Result<(), Reason>>>;

/// The connections. Clones share them.
#[derive(Clone)]
pub(crate) struct Pool {
    shared: Rc<Inner>,
}

struct Inner {
    dialer: Rc<Dialer>,
    clock: Clock,
    entries: RefCell<HashMap<Key, Entry>>,
}

#[derive(Default)]
struct Entry {
    connections: Vec<Connection>,
    dialing: Option<Dialing>,
}

struct Connection {
    // Whom the handshake proved: an endpoint that now names another identity gets a new connection.
    peer: SpiffeId,
    send: SendRequest<Body>,
    streams: Rc<Streams>,
}

/// How many requests a connection carries, and since when none.
struct Streams {
    count: Cell<usize>,
    idle_since: Cell<Tick>,
    clock: Clock,
}

/// A place on a connection for one request; hold it until the answer's body ended.
pub(crate) struct Lease {
    pub(crate) send: SendRequest<Body>,
    pub(crate) place: Place,
}

/// One of a connection's concurrent requests.
pub(crate) struct Place(Rc<Streams>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.idle_since.set(self.0.clock.now());
    }
}

impl Pool {
    pub(crate) fn new(dialer: Rc<Dialer>, clock: Clock) -> Self {
        Self {
            shared: Rc::new(Inner {
                dialer,
                clock,
                entries: RefCell::default(),
            }),
        }
    }

    /// A place for a request to `view`: on a connection that has room, or on a new one.
    pub(crate) async fn lease(
        &self,
        view: &Arc<EndpointView>,
        port: NonZeroU16,
    ) -> Result<Lease, Reason> {
        loop {
            let dialing = {
                let mut entries = self.shared.entries.borrow_mut();
                let entry = entries.entry((view.endpoint.id, port)).or_default();
                if let Some(lease) = entry.lease(&view.endpoint.identity) {
                    return Ok(lease);
                }
                match &entry.dialing {
                    Some(dialing) => dialing.clone(),
                    None if entry.connections.len() >= CONNECTIONS_MAX => {
                        return Err(Reason::Overload);
                    }
                    None => {
                        let dialing = self.dial(Arc::clone(view), port);
                        entry.dialing = Some(dialing.clone());
                        dialing
                    }
                }
            };
            dialing.await?;
        }
    }

    /// Dials in a task of its own: callers that join may go away, the connection stays.
    fn dial(&self, view: Arc<EndpointView>, port: NonZeroU16) -> Dialing {
        let shared = Rc::clone(&self.shared);
        let task = tokio::task::spawn_local(async move {
            let dialed = shared.connect(&view, port).await;
            let mut entries = shared.entries.borrow_mut();
            let entry = entries.entry((view.endpoint.id, port)).or_default();
            entry.dialing = None;
            dialed.map(|connection| entry.connections.push(connection))
        });
        async move { task.await.unwrap_or(Err(Reason::ConnectFailed)) }
            .boxed_local()
            .shared()
    }

    /// Lets go of endpoints that left the table and of idle connections. Requests
    /// under way finish.
    pub(crate) fn tidy(&self, table: &ServiceTable) {
        let known = |id: &EndpointId| {
            table.services().any(|service| {
                service
                    .endpoints()
                    .binary_search_by_key(id, |view| view.endpoint.id)
                    .is_ok()
            })
        };
        let now = self.shared.clock.now();
        self.shared.entries.borrow_mut().retain(|(id, _), entry| {
            entry.connections.retain(|c| {
                c.streams.count.get() > 0 || now.since(c.streams.idle_since.get()) < IDLE_MAX
            });
            (!entry.connections.is_empty() || entry.dialing.is_some()) && known(id)
        });
    }
}

impl Entry {
    fn lease(&mut self, peer: &SpiffeId) -> Option<Lease> {
        self.connections
            .retain(|connection| !connection.send.is_closed() && connection.peer == *peer);
        let connection = self
            .connections
            .iter()
            .min_by_key(|connection| connection.streams.count.get())?;
        let count = connection.streams.count.get();
        if count >= STREAMS_MAX {
            return None;
        }
        connection.streams.count.set(count + 1);
        Some(Lease {
            send: connection.send.clone(),
            place: Place(Rc::clone(&connection.streams)),
        })
    }
}

impl Inner {
    async fn connect(&self, view: &EndpointView, port: NonZeroU16) -> Result<Connection, Reason> {
        let tls = self.dialer.dial(view, port, Protocol::H2).await?;
        let (send, driver) = client_h2()
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|_| Reason::ConnectFailed)?;
        let endpoint = view.endpoint.id;
        tokio::task::spawn_local(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%endpoint, %error, "inner connection ended");
            }
        });
        Ok(Connection {
            peer: view.endpoint.identity.clone(),
            send,
            streams: Rc::new(Streams {
                count: Cell::new(0),
                idle_since: Cell::new(self.clock.now()),
                clock: self.clock,
            }),
        })
    }
}
