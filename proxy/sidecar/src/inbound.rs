//! From peers to the app beside this sidecar: one [`Inbound`] per worker.

mod app;
mod http;
mod tcp;
mod upgrade;
mod within;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use weft_decide::Reason;
use weft_identity::{BundleSource, SvidSource, peer_id};
use weft_model::{AppProtocol, ServiceKey, SpiffeId, SpiffePath};

use crate::config::LocalService;
use crate::http::{HEAD_TIMEOUT, Timeouts};
use crate::inner::{Identities, Protocol, Target};
use crate::local::LocalEndpoint;
use crate::metrics::{Labels, Metrics, Recorder, Reporter};
use crate::snapshot::TableSource;
use app::AppPool;

/// The endpoints behind one inbound side. Clones share them; a replacement
/// counts from the next request or connection on.
#[derive(Debug, Clone, Default)]
pub struct LocalEndpoints(Arc<ArcSwap<Vec<LocalEndpoint>>>);

impl LocalEndpoints {
    /// Serves these, and nothing else.
    pub fn replace(&self, endpoints: Vec<LocalEndpoint>) {
        self.0.store(Arc::new(endpoints));
    }

    /// What is served now.
    pub fn current(&self) -> Arc<Vec<LocalEndpoint>> {
        self.0.load_full()
    }
}

impl From<Arc<[LocalEndpoint]>> for LocalEndpoints {
    fn from(endpoints: Arc<[LocalEndpoint]>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(endpoints.to_vec())))
    }
}

/// Ends inner connections and hands their requests to the app. It belongs to one
/// thread, whose tasks run on a `LocalSet`; clones share its state.
///
/// The sidecar's workers and the gateway's stand-in use the same type: a sidecar
/// serves the workload beside it, a stand-in the servers behind one identity.
#[derive(Clone)]
pub struct Inbound {
    shared: Rc<Shared>,
}

struct Shared {
    endpoints: LocalEndpoints,
    /// What is exported, where the endpoints do not say it themselves.
    tables: Option<TableSource>,
    identities: Identities,
    acceptor: TlsAcceptor,
    apps: AppPool,
    recorder: Recorder,
    clock: crate::clock::Clock,
    timeouts: Timeouts,
    drain: CancellationToken,
}

/// A peer, and what its connections have in common.
struct Peer {
    id: SpiffeId,
    /// Whether it stands in for clients of this very cluster, and its word for their addresses
    /// counts: another cluster's gateway could name whom the app trusts by its address.
    vouches: bool,
    /// Ready to be sent to the app.
    forwarded_client_cert: ::http::HeaderValue,
}

/// Where a target leads here.
#[derive(Debug, Clone)]
struct Destination {
    service: ServiceKey,
    version: Option<weft_model::Version>,
    app: SocketAddr,
    protocol: AppProtocol,
}

impl Inbound {
    /// An inbound side that proves to be `svid` and serves `endpoints`. Once `drain`
    /// is cancelled connections end as soon as their work is done.
    pub fn new(
        endpoints: impl Into<LocalEndpoints>,
        svid: SvidSource,
        bundles: BundleSource,
        metrics: Metrics,
        drain: CancellationToken,
    ) -> Self {
        let identities = Identities::new(svid, bundles);
        let timeouts = Timeouts::default();
        Self::with(endpoints.into(), None, identities, metrics, timeouts, drain)
    }

    /// The same beside a workload, whose ports may be exported as more than they are called in its
    /// own configuration, and with times other than the defaults.
    pub(crate) fn beside(
        endpoints: Arc<[LocalEndpoint]>,
        tables: TableSource,
        identities: Identities,
        metrics: Metrics,
        timeouts: Timeouts,
        drain: CancellationToken,
    ) -> Self {
        let (endpoints, tables) = (endpoints.into(), Some(tables));
        Self::with(endpoints, tables, identities, metrics, timeouts, drain)
    }

    fn with(
        endpoints: LocalEndpoints,
        tables: Option<TableSource>,
        identities: Identities,
        metrics: Metrics,
        timeouts: Timeouts,
        drain: CancellationToken,
    ) -> Self {
        Self {
            shared: Rc::new(Shared {
                acceptor: TlsAcceptor::from(identities.server()),
                endpoints,
                tables,
                identities,
                apps: AppPool::default(),
                recorder: Recorder::new(metrics),
                clock: crate::clock::Clock::start(),
                timeouts,
                drain,
            }),
        }
    }

    /// Serves one connection from a peer, until it ends.
    pub async fn serve(&self, stream: TcpStream) {
        let shared = &self.shared;
        // The certificate may be hot-swapped, so the acceptor is made of sources.
        let handshake = timeout(HEAD_TIMEOUT, shared.acceptor.accept(stream)).await;
        let tls = match handshake {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                tracing::debug!(%error, "inner handshake refused");
                return;
            }
            Err(_) => return,
        };
        let session = tls.get_ref().1;
        let Some(peer) = session
            .peer_certificates()
            .and_then(|chain| peer_id(chain).ok())
        else {
            return;
        };
        let peer = Rc::new(shared.peer(peer));
        match Protocol::of(session.alpn_protocol()) {
            Some(Protocol::H2) => self.serve_http(tls, peer).await,
            Some(Protocol::Tcp) => self.serve_tcp(tls, peer).await,
            None => tracing::debug!(peer = %peer.id, "inner connection without a protocol"),
        }
    }
}

impl Shared {
    fn peer(&self, id: SpiffeId) -> Peer {
        let own = self.identities.own_id();
        let value = format!("By={own};URI={id}");
        Peer {
            forwarded_client_cert: ::http::HeaderValue::try_from(value)
                .expect("SPIFFE ids are visible ASCII"),
            vouches: matches!(id.path, SpiffePath::Gateway(_))
                && id.trust_domain == own.trust_domain,
            id,
        }
    }

    /// Whether the target is one of this workload's own. A stale endpoint id
    /// means the caller's table is older than this process.
    fn find(&self, target: &Target) -> Result<Destination, Reason> {
        let endpoints = self.endpoints.0.load();
        let local = endpoints
            .iter()
            .find(|local| local.id == target.endpoint && local.service.key == target.service)
            .ok_or(Reason::NoSuchEndpoint)?;
        let port = port(&local.service, target.port).ok_or(Reason::NoSuchPort)?;
        let protocol = match port.protocol {
            AppProtocol::Tcp => self.exported_as(target).unwrap_or(port.protocol),
            stated => stated,
        };
        Ok(Destination {
            service: local.service.key.clone(),
            version: local.service.version.clone(),
            app: SocketAddr::new(local.service.app, port.app_port.get()),
            protocol,
        })
    }

    /// What the port speaks by its export: a port of HTTP that this workload calls no more than TCP
    /// is asked by HTTP all the same, and must not be had as bytes beside that.
    fn exported_as(&self, target: &Target) -> Option<AppProtocol> {
        let table = self.tables.as_ref()?.load();
        let port = table.service(&target.service)?.port(target.port)?;
        Some(port.port.app_protocol)
    }

    fn labels(&self, peer: &Peer, to: &Destination, protocol: &'static str) -> Labels {
        Labels {
            reporter: Reporter::Destination,
            source: Some(peer.id.clone()),
            service: Some(to.service.clone()),
            destination_cluster: None,
            destination_version: to.version.clone(),
            protocol,
            code: 0,
            flags: "-",
        }
    }
}

fn port(service: &LocalService, wanted: NonZeroU16) -> Option<&crate::config::LocalPort> {
    service
        .ports
        .iter()
        .find(|port| port.service_port == wanted)
}
