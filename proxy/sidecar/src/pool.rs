//! Inner HTTP/2 connections of one worker, per endpoint and port.
//!
//! A request gets a place on a connection that is neither about to be left nor silent
//! where it should answer; if there is none, on a new one.

mod vitals;

pub(crate) use vitals::Vitals;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, pending};
use std::num::NonZeroU16;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use weft_decide::{EndpointView, Reason, ServiceTable, Tick};
use weft_model::{EndpointId, SpiffeId};

use crate::clock::Clock;
use crate::http::SendRequest;
use crate::inner::{Dialer, Protocol, Target, TargetFields};
use vitals::Sensed;

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
    send: SendRequest,
    streams: Rc<Streams>,
    vitals: Rc<Vitals>,
    /// What all its requests are for.
    target: Rc<TargetFields>,
}

/// How many requests a connection carries, and since when none.
struct Streams {
    count: Cell<usize>,
    idle_since: Cell<Tick>,
    clock: Clock,
}

/// A place on a connection for one request; hold it until the answer's body ended.
pub(crate) struct Lease {
    pub(crate) send: SendRequest,
    pub(crate) place: Place,
    pub(crate) vitals: Rc<Vitals>,
    pub(crate) target: Rc<TargetFields>,
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
    /// After something broke at `since`, only what was heard from later is trusted: what
    /// broke one connection may have broken others that do not know it yet.
    pub(crate) async fn lease(
        &self,
        view: &Arc<EndpointView>,
        port: NonZeroU16,
        since: Option<Tick>,
    ) -> Result<Lease, Reason> {
        loop {
            let dialing = {
                let mut entries = self.shared.entries.borrow_mut();
                let entry = entries.entry((view.endpoint.id, port)).or_default();
                entry.prune(&view.endpoint.identity);
                if let Some(lease) = entry.lease(since) {
                    return Ok(lease);
                }
                match &entry.dialing {
                    Some(dialing) => dialing.clone(),
                    None if entry.connections.len() >= CONNECTIONS_MAX => {
                        return entry.last_resort().ok_or(Reason::Overload);
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
    /// Lets go of connections that have ended, or that no request will be given any more.
    fn prune(&mut self, peer: &SpiffeId) {
        self.connections.retain_mut(|connection| {
            let in_vain = connection.streams.count.get() == 0 && connection.vitals.is_suspect();
            !connection.send.is_closed() && connection.peer == *peer && !in_vain
        });
    }

    /// A place on a connection that is trusted.
    fn lease(&mut self, since: Option<Tick>) -> Option<Lease> {
        self.emptiest(|vitals| {
            !vitals.is_suspect() && since.is_none_or(|since| vitals.was_heard(since))
        })
    }

    /// A place on any connection: no further one may be opened.
    fn last_resort(&mut self) -> Option<Lease> {
        self.emptiest(|_| true)
    }

    fn emptiest(&mut self, is_trusted: impl Fn(&Vitals) -> bool) -> Option<Lease> {
        let trusted = self.connections.iter().filter(|c| is_trusted(&c.vitals));
        let connection = trusted.min_by_key(|connection| connection.streams.count.get())?;
        let count = connection.streams.count.get();
        if count >= STREAMS_MAX {
            return None;
        }
        connection.streams.count.set(count + 1);
        Some(Lease {
            send: connection.send.clone(),
            place: Place(Rc::clone(&connection.streams)),
            vitals: Rc::clone(&connection.vitals),
            target: Rc::clone(&connection.target),
        })
    }
}

impl Inner {
    async fn connect(
        self: &Rc<Self>,
        view: &EndpointView,
        port: NonZeroU16,
    ) -> Result<Connection, Reason> {
        let begun = self.clock.now();
        let (tls, way) = self.dialer.dial(view, port, Protocol::H2).await?;
        // Two round trips or more: TCP or a relay's answer, and the handshake.
        let rtt = self.clock.now().since(begun) / 2;
        let vitals = Vitals::new(self.clock, rtt, way);
        let (send, driver) = SendRequest::handshake(Sensed::new(tls, Rc::clone(&vitals)))
            .await
            .map_err(|_| Reason::ConnectFailed)?;
        let streams = Rc::new(Streams {
            count: Cell::new(0),
            idle_since: Cell::new(self.clock.now()),
            clock: self.clock,
        });
        let endpoint = view.endpoint.id;
        let target = Target {
            endpoint,
            service: view.endpoint.service.clone(),
            port,
        };
        let left = self.left((endpoint, port), &vitals, &streams);
        tokio::task::spawn_local(async move {
            let mut driver = pin!(driver);
            let ended = tokio::select! {
                ended = driver.as_mut() => ended,
                () = left => driver.await,
            };
            if let Err(error) = ended {
                tracing::debug!(%endpoint, %error, "inner connection ended");
            }
        });
        Ok(Connection {
            peer: view.endpoint.identity.clone(),
            send,
            streams,
            vitals,
            target: Rc::new(target.to_fields()),
        })
    }

    /// Lets go of a connection as soon as its way is about to end: what runs on it may
    /// finish, and then it closes.
    fn left(
        self: &Rc<Self>,
        key: Key,
        vitals: &Vitals,
        which: &Rc<Streams>,
    ) -> impl Future<Output = ()> + use<> {
        let leaving = vitals.leaving();
        let (shared, which) = (Rc::downgrade(self), Rc::downgrade(which));
        async move {
            match leaving {
                Some(leaving) => leaving.cancelled().await,
                None => pending().await,
            }
            let (Some(shared), Some(which)) = (shared.upgrade(), which.upgrade()) else {
                return;
            };
            if let Some(entry) = shared.entries.borrow_mut().get_mut(&key) {
                let is_other = |c: &Connection| !Rc::ptr_eq(&c.streams, &which);
                entry.connections.retain(is_other);
            }
        }
    }
}
