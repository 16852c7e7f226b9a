//! One worker: a thread, a single-threaded runtime, listeners of its own.

use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weft_decide::OutlierConfig;

use crate::data_plane::{Listeners, Sources};
use crate::http::Timeouts;
use crate::inbound::Inbound;
use crate::inner::Identities;
use crate::local::LocalEndpoint;
use crate::metrics::Metrics;
use crate::outbound::{Outbound, OutboundParts};
use crate::relay::RelayConnector;

/// What a worker thread gets. Everything in it can cross to the thread; what the
/// worker makes of it cannot leave it.
pub(crate) struct WorkerParts {
    pub(crate) number: usize,
    pub(crate) workers: usize,
    pub(crate) seed: u64,
    pub(crate) sources: Sources,
    pub(crate) metrics: Metrics,
    pub(crate) endpoints: Arc<[LocalEndpoint]>,
    pub(crate) http: Timeouts,
    pub(crate) listeners: Listeners,
    /// Stop accepting, end what is idle, finish the rest.
    pub(crate) drain: CancellationToken,
    /// The drain's deadline is over.
    pub(crate) cut: CancellationToken,
}

/// After an accept failed for want of something (descriptors, memory), wait this
/// long for it to be freed instead of spinning.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Starts the thread. It ends once drained, or cut.
pub(crate) fn spawn(parts: WorkerParts) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name(format!("weft-worker-{}", parts.number))
        .spawn(move || LocalSet::new().block_on(&runtime, run(parts)))
}

async fn run(parts: WorkerParts) {
    let WorkerParts {
        number: _,
        workers,
        seed,
        sources,
        metrics,
        endpoints,
        http: timeouts,
        listeners,
        drain,
        cut,
    } = parts;
    let tables = sources.tables.clone();
    let parts = OutboundParts {
        tables: sources.tables,
        svid: sources.svid.clone(),
        bundles: sources.bundles.clone(),
        connector: RelayConnector::new(sources.relays),
        metrics: metrics.clone(),
        outliers: OutlierConfig::default(),
        workers,
        seed,
        drain: drain.clone(),
    };
    let outbound = Outbound::with_timeouts(parts, timeouts);
    let inbound = Inbound::beside(
        endpoints,
        tables,
        Identities::new(sources.svid, sources.bundles),
        metrics,
        timeouts,
        drain.clone(),
    );
    let tasks = TaskTracker::new();
    let acceptor = Acceptor {
        tasks: tasks.clone(),
        drain: drain.clone(),
    };
    acceptor.accept(listeners.inbound, move |stream| {
        let inbound = inbound.clone();
        async move { inbound.serve(stream).await }
    });
    let http = outbound.clone();
    acceptor.accept(listeners.outbound, move |stream| {
        let outbound = http.clone();
        async move { outbound.serve_http(stream, None).await }
    });
    for (upstream, listener) in listeners.upstreams {
        let outbound = outbound.clone();
        let upstream = Rc::new(upstream);
        acceptor.accept(listener, move |stream| {
            let (outbound, upstream) = (outbound.clone(), Rc::clone(&upstream));
            async move { outbound.serve_local_port(stream, &upstream).await }
        });
    }
    for listener in listeners.captured {
        let outbound = outbound.clone();
        acceptor.accept(listener, move |stream| {
            let outbound = outbound.clone();
            async move { outbound.serve_captured(stream).await }
        });
    }
    drain.cancelled().await;
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = cut.cancelled() => {
            tracing::info!(connections = tasks.len(), "drain deadline over, connections cut");
        }
    }
}

struct Acceptor {
    tasks: TaskTracker,
    drain: CancellationToken,
}

impl Acceptor {
    /// Serves each connection in a task of its own until the drain begins.
    /// Connections that the kernel already completed by then are still served.
    fn accept<F>(&self, listener: StdListener, serve: impl Fn(TcpStream) -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let (tasks, drain) = (self.tasks.clone(), self.drain.clone());
        self.tasks.spawn_local(async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(%error, "listener lost");
                    return;
                }
            };
            loop {
                let accepted = tokio::select! {
                    biased;
                    accepted = listener.accept() => accepted,
                    () = drain.cancelled() => return,
                };
                match accepted {
                    Ok((stream, _)) => {
                        // Small frames of an answer must not wait for an ACK.
                        let _ = stream.set_nodelay(true);
                        tasks.spawn_local(serve(stream));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }
}
