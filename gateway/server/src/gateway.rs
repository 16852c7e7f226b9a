//! The gateway: everything built, connected and kept up to date, in one place.

mod announce;
mod directory;
mod durable;
mod error;
mod follow;
mod gauges;
mod heard;
mod links;
mod names;
mod pages;
mod parts;
mod peers;
mod renew;
mod serial;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use weft_identity::{BundleSource, ClientAuth, PeerRule, SigningKey, SvidSource, server_config};
use weft_model::{Command, GatewayRole};
use weft_plan::dns::Zones;
use weft_proto::api::admin_server::AdminServer;
use weft_proto::identity::enrolment_server::EnrolmentServer;
use weft_proto::identity::renewal_server::RenewalServer;
use weft_proxy::rpc::ALPN_GRPC;

use crate::admin::AdminService;
use crate::api::{self, ApiListener, EnrolmentService, Guarded, RenewalService, UsedTokens};
use crate::catalog::Surroundings;
use crate::clamps::{ClampKeeper, ClampSource};
use crate::config::GatewayConfigFile;
use crate::control::{self, TunnelTransport};
use crate::dns::{DnsService, DnsServiceConfig, ZonesSource};
use crate::hub::{Hub, Parts};
use crate::membership::Membership;
use crate::observe;
use crate::outlook::Clock;
use crate::relay::{Relay, Sessions};
use crate::scene::Reach;
use crate::standin::StandIn;
use crate::tunnel::{self, Relaying, Tuning, TunnelConfig, Tunnels};

use follow::Follower;
use gauges::Gauges;
use names::Names;
use pages::Pages;

pub use error::GatewayError;
pub(crate) use links::METHOD_RENEW;
pub(crate) use peers::{METHOD_PEERS, answer as answer_peers};

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
        if spec.leave_on_stop && spec.role == GatewayRole::Member {
            return Err(GatewayError::LeaveOnStop);
        }
        let svid = SvidSource::new(membership.svid.clone());
        let bundles = BundleSource::new(parts::first_bundles(&membership));
        let workers = parts::start_workers(&spec)?;
        let started = Tunnels::start(TunnelConfig {
            bind: spec.tunnel.bind,
            node: membership.node,
            gateway: membership.gateway.clone(),
            workers,
            svid: svid.clone(),
            bundles: bundles.clone(),
            tuning: Tuning::default(),
            relaying: Some(Relaying {
                cluster: membership.cluster.clone(),
                signing: Arc::new(SigningKey::from_seed(*membership.signing.seed())),
            }),
        })?;
        let tunnels = started.tunnels;
        tunnels.set_peers(follow::targets(&membership.peers));
        let registry =
            parts::start_registry(&spec, &mut membership, TunnelTransport(tunnels.clone()))?;
        let sessions = Arc::new(Sessions::default());
        let clock = Clock::start();
        let clamps = ClampSource::default();
        let keeper = ClampKeeper::open(spec.state_dir.join("clamps.pb"), clamps.clone())?;
        let surroundings = Surroundings {
            federation: registry.state(),
            silence: registry.applied().silence(),
            reach: Reach::default(),
            clamps: clamps.load(),
        };
        let catalog = parts::start_catalog(&spec, &membership, surroundings, &sessions, keeper);
        let zone = parts::own_zone(&spec)?;
        let zones: ZonesSource = Arc::new(ArcSwap::from_pointee(Zones::unknown(zone.clone())));
        let names = Names::new(&spec, zone, Arc::clone(&zones));
        let answers = DnsServiceConfig {
            bind: spec.dns.bind,
            upstreams: spec.dns.upstreams.clone(),
            interest: None,
        };
        let console = parts::bind_console(&spec).await?;
        let listener = ApiListener::bind(spec.api.bind).await?;
        let used = parts::open_used(&spec.state_dir)?;
        let follows = membership.role == GatewayRole::Follower;
        let told = follows.then(|| membership.peers.clone());
        let hub = Arc::new(Hub::new(
            spec,
            membership,
            Parts {
                svid,
                bundles,
                registry,
                tunnels,
                catalog,
                clamps,
                zones: Arc::clone(&zones),
                clock,
            },
        ));
        let directory = Arc::new(ArcSwap::from_pointee(follow::directory(&hub)));
        let relay = parts::start_relay(&hub, started.relays, sessions, &directory)?;
        let stand_in = parts::start_stand_in(&hub)?;
        let mut follower = Follower::new(directory, names, Arc::clone(&stand_in));
        follower.look(&hub);
        // Only now: whoever asks sooner would be told that nothing is known.
        let dns = DnsService::start(answers, zones)?;
        let mut gateway = Self {
            hub,
            relay,
            dns,
            stand_in,
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        gateway.run_control(started.incoming, follower);
        if let Some(told) = told {
            let hub = Arc::clone(&gateway.hub);
            gateway.tasks.spawn(peers::keep(hub, told));
        }
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
        let traffic = self.stand_in.traffic().clone();
        self.tasks
            .spawn(observe::own_traffic(Arc::clone(hub), traffic));
        self.tasks.spawn(links::keep(Arc::clone(hub)));
        self.tasks.spawn(links::accept(Arc::clone(hub), streams));
        self.tasks.spawn(links::leases(Arc::clone(hub)));
        self.tasks.spawn(links::format(Arc::clone(hub)));
        self.tasks.spawn(follower.follow(Arc::clone(hub)));
        self.tasks.spawn(hub.clamp_keeper().clone().keep());
        self.tasks.spawn(renew::renew(Arc::clone(hub)));
        self.tasks.spawn(announce::announce(Arc::clone(hub)));
        self.tasks.spawn(heard::keep(Arc::clone(hub)));
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
        let enrolment = EnrolmentService::new(Arc::clone(hub), used);
        let routes = Routes::new(EnrolmentServer::new(enrolment))
            .add_service(RenewalServer::new(RenewalService(Arc::clone(hub))))
            .add_service(InterceptedService::new(
                hub.catalog_handle().service(),
                api::identified,
            ))
            .add_service(AdminServer::new(AdminService::new(Arc::clone(hub))));
        let routes = Guarded::new(Arc::clone(hub), routes);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if let Err(error) = api::serve(listener, tls, routes, stop.cancelled_owned()).await {
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
        if self.hub.config().leave_on_stop {
            self.leave(deadline).await;
        }
        self.hub.registry().shutdown().await;
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        // Of itself the API would wait for them.
        self.hub.catalog_handle().end_sessions();
        // Those who use this gateway look for another one at once, so that nothing need be
        // cut when its time is over.
        let tunnels = self.hub.tunnels();
        tokio::join!(
            tunnels.announce_drain(),
            end(self.stand_in, self.hub.config().drain)
        );
        tunnels.drain(deadline).await;
        self.dns.shutdown().await;
    }
}

impl Gateway {
    /// Removes its own record, once nobody uses it: from then on no peer lets it in.
    async fn leave(&self, deadline: Instant) {
        self.hub.catalog_handle().end_sessions();
        let tunnels = self.hub.tunnels();
        tunnels.announce_drain().await;
        tunnels.idle(deadline).await;
        let removal = Command::RemoveGateway(self.hub.node());
        match tokio::time::timeout(LEAVE, self.hub.write(removal, None)).await {
            Ok(Ok(index)) => tracing::info!(%index, "this gateway has left the federation"),
            Ok(Err(why)) => {
                let why = why.message();
                tracing::warn!(
                    why,
                    "this gateway leaves its record behind: `weft gateway remove`"
                );
            }
            // Its peers may have closed before it has heard that it is gone.
            Err(_) => {
                tracing::info!("this gateway leaves; it has not heard whether its record is gone");
            }
        }
    }
}

/// How long a gateway that leaves waits to hear that its record is gone.
const LEAVE: Duration = Duration::from_secs(3);

/// The follower held the other handle, and has ended.
async fn end(stand_in: Arc<StandIn>, deadline: Duration) {
    if let Some(stand_in) = Arc::into_inner(stand_in) {
        stand_in.shutdown(deadline).await;
    }
}
