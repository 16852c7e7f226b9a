//! The gateway: everything built, connected and kept up to date, in one place.

mod directory;
mod follow;
mod gauges;
mod links;
mod names;
mod pages;
mod renew;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use weft_identity::{
    BundleSource, Bundles, ClientAuth, PeerRule, Svid, SvidSource, new_csr, server_config,
};
use weft_model::SpiffeId;
use weft_plan::catalog::{Interest, Timing};
use weft_plan::dns::{Name, Zones};
use weft_proto::api::admin_server::AdminServer;
use weft_proto::identity::enrolment_server::EnrolmentServer;
use weft_proto::identity::renewal_server::RenewalServer;
use weft_proxy::rpc::ALPN_GRPC;
use weft_registry::{Proposal, Registry, RegistryConfig, Start};

use crate::admin::AdminService;
use crate::api::{self, ApiError, ApiListener, EnrolmentService, RenewalService, UsedTokens};
use crate::catalog::{CatalogConfig, CatalogHandle, RelayGrant, RelayGrants};
use crate::config::{GatewayConfig, GatewayConfigFile};
use crate::control::{self, TunnelTransport};
use crate::dns::{DnsService, DnsServiceConfig, ZonesSource};
use crate::hub::{Hub, Parts, wall_clock};
use crate::membership::{Membership, MembershipError};
use crate::outlook::Clock;
use crate::relay::{Limits, Local, Relay, RelayConfig, SessionId, Sessions};
use crate::standin::{self, Clients, FrontAddress, Issue, StandIn, StandInConfig, StandInParts};
use crate::tunnel::{self, IncomingRelay, Tuning, TunnelConfig, Tunnels};
use crate::workers::Workers;
use follow::Follower;
use gauges::Gauges;
use names::Names;
use pages::Pages;

pub(crate) use links::METHOD_RENEW;

/// A relayed connection that carries nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(3600);

/// Why a gateway cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its membership cannot be read.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The registry cannot start.
    #[error(transparent)]
    Registry(#[from] weft_registry::StartError),
    /// The founding entry on disk does not read.
    #[error("the founding entry does not read")]
    Founding(#[from] weft_registry::wire::WireError),
    /// The tunnels cannot start.
    #[error(transparent)]
    Tunnels(#[from] tunnel::StartError),
    /// The API cannot start.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The stand-in cannot start.
    #[error(transparent)]
    StandIn(#[from] standin::StartError),
    /// The relay cannot start.
    #[error(transparent)]
    Relay(#[from] crate::relay::ListenError),
    /// DNS cannot start.
    #[error(transparent)]
    Dns(#[from] crate::dns::DnsError),
    /// The configured zone is no name.
    #[error("dns.zone {zone:?} is no domain name: {source}")]
    Zone {
        /// As configured.
        zone: String,
        /// What is wrong with it.
        source: weft_plan::dns::NameError,
    },
    /// The metrics contradict each other.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
    /// The console port cannot be listened on.
    #[error("cannot listen on {address}")]
    Console {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A file in the state folder cannot be used, or a thread not be started.
    #[error("cannot use {what}")]
    Io {
        /// What.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The log's disk failed: nothing may be acknowledged any more.
    #[error("the registry's disk failed: {0}")]
    Disk(Arc<weft_registry::Failure>),
}

/// A running gateway.
pub struct Gateway {
    hub: Arc<Hub>,
    relay: Arc<Relay>,
    dns: DnsService,
    stand_in: Arc<StandIn>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Gateway {
    /// Opens the state folder and starts every part. It serves from what the folder holds
    /// when this returns, whoever is reachable.
    pub async fn start(config: GatewayConfigFile) -> Result<Self, GatewayError> {
        let mut membership = Membership::open(&config)?;
        let spec = config.spec;
        let svid = SvidSource::new(membership.svid.clone());
        let bundles = BundleSource::new(first_bundles(&membership));
        let workers = start_workers(&spec)?;
        let started = Tunnels::start(TunnelConfig {
            bind: spec.tunnel.bind,
            node: membership.node,
            gateway: membership.gateway.clone(),
            workers,
            svid: svid.clone(),
            bundles: bundles.clone(),
            tuning: Tuning::default(),
        })?;
        let tunnels = started.tunnels;
        tunnels.set_peers(follow::first_peers(&membership));
        let registry = start_registry(&spec, &mut membership, TunnelTransport(tunnels.clone()))?;
        let sessions = Arc::new(Sessions::default());
        let clock = Clock::start();
        let catalog = start_catalog(&spec, &membership, &registry, &sessions);
        let zone = own_zone(&spec)?;
        let zones: ZonesSource = Arc::new(ArcSwap::from_pointee(Zones::unknown(zone.clone())));
        let dns = DnsService::start(
            DnsServiceConfig {
                bind: spec.dns.bind,
                upstreams: spec.dns.upstreams.clone(),
                interest: None,
            },
            Arc::clone(&zones),
        )?;
        let names = Names::new(&spec, zone, Arc::clone(&zones));
        let console = bind_console(&spec).await?;
        let listener = ApiListener::bind(spec.api.bind).await?;
        let used = open_used(&spec.state_dir)?;
        let hub = Arc::new(Hub::new(
            spec,
            membership,
            Parts {
                svid,
                bundles,
                registry,
                tunnels,
                catalog,
                zones,
                clock,
            },
        ));
        let directory = Arc::new(ArcSwap::from_pointee(follow::directory(&hub)));
        let relay = start_relay(&hub, started.relays, sessions, &directory)?;
        let stand_in = start_stand_in(&hub)?;
        let follower = Follower {
            directory,
            names,
            stand_in: Arc::clone(&stand_in),
        };
        let mut gateway = Self {
            hub,
            relay,
            dns,
            stand_in,
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        gateway.run_control(started.incoming, follower);
        gateway.run_console(console)?;
        gateway.run_api(listener, used);
        Ok(gateway)
    }

    fn run_control(
        &mut self,
        incoming: mpsc::Receiver<tunnel::IncomingStream>,
        follower: Follower,
    ) {
        let hub = &self.hub;
        let (catalog, streams) = mpsc::channel(64);
        let registry = hub.registry().clone();
        self.tasks.spawn(control::serve(
            registry,
            incoming,
            catalog,
            Arc::clone(hub) as Arc<_>,
        ));
        self.tasks.spawn(links::keep(Arc::clone(hub)));
        self.tasks.spawn(links::accept(Arc::clone(hub), streams));
        self.tasks.spawn(links::leases(Arc::clone(hub)));
        self.tasks.spawn(follower.follow(Arc::clone(hub)));
        self.tasks.spawn(renew::renew(Arc::clone(hub)));
    }

    fn run_console(&mut self, listener: TcpListener) -> Result<(), GatewayError> {
        let metrics = prometheus::Registry::new();
        self.hub.tunnels().metrics().register(&metrics)?;
        self.relay.metrics().register(&metrics)?;
        metrics.register(Box::new(self.dns.metrics().clone()))?;
        metrics.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let gauges = Gauges::new(&metrics)?;
        let pages = Pages {
            hub: Arc::clone(&self.hub),
            metrics,
            gauges,
        };
        self.tasks.spawn(pages.serve(listener));
        Ok(())
    }

    fn run_api(&mut self, listener: ApiListener, used: UsedTokens) {
        let hub = &self.hub;
        let clients = ClientAuth::Optional(PeerRule::AnyKnown);
        let tls = server_config(hub.svid(), hub.bundles(), clients, &[ALPN_GRPC]);
        let router = Server::builder()
            .add_service(EnrolmentServer::new(EnrolmentService::new(
                Arc::clone(hub),
                used,
            )))
            .add_service(RenewalServer::new(RenewalService(Arc::clone(hub))))
            .add_service(InterceptedService::new(
                hub.catalog_handle().service(),
                api::identified,
            ))
            .add_service(AdminServer::new(AdminService::new(Arc::clone(hub))));
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if let Err(error) = api::serve(listener, tls, router, stop.cancelled_owned()).await {
                tracing::error!(%error, "the API ended");
            }
        });
    }

    /// What its parts share.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Resolves when the log's disk fails. The process must then end: it may not acknowledge anything.
    pub async fn failed(&self) -> GatewayError {
        GatewayError::Disk(self.hub.registry().failed().await)
    }

    /// Hands leadership over, lets running work finish within the configured time, and stops.
    pub async fn shutdown(mut self) {
        let deadline = Instant::now() + self.hub.config().drain;
        self.stop.cancel();
        self.hub.registry().shutdown().await;
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        // The follower held the other handle, and has ended.
        if let Some(stand_in) = Arc::into_inner(self.stand_in) {
            stand_in.shutdown(self.hub.config().drain).await;
        }
        self.hub.tunnels().drain(deadline).await;
        self.dns.shutdown().await;
    }
}

fn own_zone(config: &GatewayConfig) -> Result<Name, GatewayError> {
    let zone = &config.dns.zone;
    Name::parse(zone).map_err(|source| GatewayError::Zone {
        zone: zone.clone(),
        source,
    })
}

async fn bind_console(config: &GatewayConfig) -> Result<TcpListener, GatewayError> {
    let address = config.console.bind;
    TcpListener::bind(address)
        .await
        .map_err(|source| GatewayError::Console { address, source })
}

fn start_workers(config: &GatewayConfig) -> Result<Workers, GatewayError> {
    let count = NonZeroUsize::new(config.worker_count()).unwrap_or(NonZeroUsize::MIN);
    Workers::start(count).map_err(|source| GatewayError::Io {
        what: "worker threads".into(),
        source,
    })
}

/// Our own bundle and those of the peers we were told when we joined; the log knows more.
fn first_bundles(membership: &Membership) -> Bundles {
    let peers = membership.peers.iter().map(|peer| peer.bundle.clone());
    let operators = membership.operators.iter().map(|ca| ca.bundle().clone());
    peers
        .chain(operators)
        .chain([membership.bundle.clone()])
        .collect()
}

fn start_registry(
    config: &GatewayConfig,
    membership: &mut Membership,
    transport: TunnelTransport,
) -> Result<Registry, GatewayError> {
    let folder = config.state_dir.join("registry");
    let expected = weft_registry::disk::Folder {
        domain: membership.domain.clone(),
        node: membership.node,
    };
    let start = match (
        weft_registry::disk::exists(&folder),
        membership.founding.take(),
    ) {
        (true, _) => Start::Resume(Some(expected)),
        (false, Some(founding)) => Start::Found(Proposal::decode(founding)?),
        (false, None) => Start::Join {
            node: expected.node,
            domain: expected.domain,
        },
    };
    Ok(Registry::start(
        RegistryConfig::new(folder, start),
        transport,
    )?)
}

fn start_catalog(
    config: &GatewayConfig,
    membership: &Membership,
    registry: &Registry,
    sessions: &Arc<Sessions>,
) -> CatalogHandle {
    let (granted, revoked) = (Arc::clone(sessions), Arc::clone(sessions));
    let grants = RelayGrants {
        grant: Arc::new(move |grant: RelayGrant| {
            granted.insert(SessionId(grant.session), &grant.key, grant.identity);
        }),
        revoke: Arc::new(move |session| revoked.remove(SessionId(session))),
    };
    let config = CatalogConfig {
        cluster: config.cluster.clone(),
        region: config.region.clone(),
        gateway: membership.gateway.clone(),
        relay: config.relay.advertised(),
        state_file: Some(config.state_dir.join("catalog.pb")),
        interest: Interest::Everything,
        timing: Timing::default(),
    };
    CatalogHandle::start(
        config,
        grants,
        follow::surroundings(registry, &Default::default()),
    )
}

fn start_relay(
    hub: &Arc<Hub>,
    incoming: Vec<mpsc::Receiver<IncomingRelay>>,
    sessions: Arc<Sessions>,
    directory: &directory::Shared,
) -> Result<Arc<Relay>, GatewayError> {
    let listen = hub.config().relay.bind;
    // Where everything shares one machine, as in development, sidecars are on loopback too.
    let local = if listen.ip().is_loopback() {
        Local::Allow
    } else {
        Local::Refuse
    };
    let (near, far) = (Arc::clone(directory), Arc::clone(directory));
    Ok(Relay::start(RelayConfig {
        listen,
        tunnels: hub.tunnels().clone(),
        incoming,
        sessions,
        authorise: Arc::new(move |_, wanted| near.load().authorise(wanted)),
        deliver: Arc::new(move |peer, wanted| far.load().deliver(peer, wanted, local)),
        limits: Limits::default(),
        idle: IDLE,
    })?)
}

fn start_stand_in(hub: &Arc<Hub>) -> Result<Arc<StandIn>, GatewayError> {
    let config = hub.config();
    let inbound = config.stand_in.inbound;
    let front = inbound.advertised().map(|advertised| FrontAddress {
        bind: inbound.bind.ip(),
        advertised: advertised.ip(),
    });
    let settings = StandInConfig {
        place: hub.place(),
        gateway: hub.gateway().clone(),
        epoch: hub.catalog_handle().epoch(),
        clients: if config.stand_in.clients {
            Clients::Answer
        } else {
            Clients::Ignore
        },
        front: front.filter(|_| hub.holds_authority()),
    };
    let issuer = Arc::clone(hub);
    let issue: Issue = Arc::new(move |id: &SpiffeId| {
        let (key, csr) = new_csr();
        let chain = issuer
            .issue(&csr, id)
            .map_err(|status| status.message().to_owned())?;
        let chain = chain
            .iter()
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect();
        Ok(Svid::from_der(chain, key)?)
    });
    let session = hub
        .catalog_handle()
        .own_session(hub.svid().current().id().clone());
    let parts = StandInParts {
        workers: hub.tunnels().workers().clone(),
        connectors: standin::through(hub.tunnels().clone()),
        svid: hub.svid().clone(),
        bundles: hub.bundles().clone(),
        issue: hub.holds_authority().then_some(issue),
        tell: standin::tell(session),
        now: wall_clock,
        metrics: weft_proxy::Metrics::new()?,
    };
    Ok(Arc::new(StandIn::start(settings, parts)?))
}

fn open_used(state: &Path) -> Result<UsedTokens, GatewayError> {
    let path = state.join("used-tokens");
    UsedTokens::open(&path).map_err(|source| GatewayError::Io {
        what: path.display().to_string(),
        source,
    })
}
