//! The open listeners for clients without a sidecar.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use weft_proxy::Hint;

use super::answers::{ListenerPlan, plan_listeners};
use super::metrics::StandInMetrics;
use super::pool::{Pool, Work};

/// What is open, and what could not be opened.
pub(super) struct Listeners {
    pool: Pool,
    metrics: StandInMetrics,
    open: BTreeMap<SocketAddr, Open>,
    unbound: BTreeMap<SocketAddr, io::ErrorKind>,
    accepting: TaskTracker,
}

struct Open {
    to: watch::Sender<Hint>,
    _accepting: DropGuard,
}

impl Listeners {
    pub(super) fn new(pool: Pool, metrics: StandInMetrics) -> Self {
        Self {
            pool,
            metrics,
            open: BTreeMap::new(),
            unbound: BTreeMap::new(),
            accepting: TaskTracker::new(),
        }
    }

    /// Opens and closes until all that can be is as wanted.
    pub(super) fn settle(&mut self, wanted: &BTreeMap<SocketAddr, Hint>) {
        let current = self.open.iter();
        let current = current
            .map(|(at, open)| (*at, open.to.borrow().clone()))
            .collect();
        let ListenerPlan {
            close,
            open,
            retarget,
        } = plan_listeners(&current, wanted);
        for at in close {
            self.open.remove(&at);
        }
        for (at, hint) in retarget {
            if let Some(open) = self.open.get(&at) {
                open.to.send_replace(hint);
            }
        }
        self.unbound.retain(|at, _| wanted.contains_key(at));
        for (at, hint) in open {
            self.open(at, hint);
        }
        self.metrics.listening(self.open.len(), self.unbound.len());
    }

    /// Whether it is open.
    pub(super) fn is_open(&self, at: &SocketAddr) -> bool {
        self.open.contains_key(at)
    }

    /// The addresses that should be open and are not, with the system's reason.
    pub(super) fn unbound(&self) -> &BTreeMap<SocketAddr, io::ErrorKind> {
        &self.unbound
    }

    fn open(&mut self, at: SocketAddr, hint: Hint) {
        let listener = match listen(at) {
            Ok(listener) => listener,
            Err(error) => {
                // Once per address: it is tried again with every change.
                if self.unbound.insert(at, error.kind()) != Some(error.kind()) {
                    tracing::warn!(address = %at, service = %hint.service, %error,
                        "clients without a sidecar cannot be answered here");
                }
                return;
            }
        };
        self.unbound.remove(&at);
        let (to, meaning) = watch::channel(hint);
        let work = move |_: &_| Some(Work::Client(meaning.borrow().clone()));
        let stop = CancellationToken::new();
        self.accepting
            .spawn(self.pool.clone().accept(listener, stop.clone(), work));
        let _accepting = stop.drop_guard();
        self.open.insert(at, Open { to, _accepting });
    }

    /// Stops accepting; what has been accepted is with the workers then.
    pub(super) async fn close(self) {
        let Self {
            open, accepting, ..
        } = self;
        drop(open);
        accepting.close();
        accepting.wait().await;
    }
}

/// Connections that wait to be accepted, per listener.
const BACKLOG: i32 = 1024;

/// `SO_REUSEPORT` lets the gateways of one cluster that share a machine answer
/// on the same virtual IPs: the kernel spreads connections over them, and one
/// that dies takes only its own along.
pub(super) fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(at),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
        // A local route is enough to bind an IPv4 address in it; of IPv6 the kernel wants
        // the very address on an interface, though it delivers to the route all the same.
        socket.set_freebind_v6(true)?;
    }
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
