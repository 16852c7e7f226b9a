//! A cluster's stand-in with its catalog, for this module's tests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use weft_decide::Place;
use weft_identity::{Authority, BundleSource, SvidSource, fixture as identity};
use weft_model::fixture::{CLUSTERS, DOMAIN, Log, export, name};
use weft_model::{
    AppProtocol, ClusterName, Command, Endpoint, EndpointId, EndpointPort, Federation, Health,
    HealthCheck, ServiceKey, ServiceType, SpiffeId, VirtualIpRanges, WorkloadEntrySpec,
};
use weft_plan::Moment;
use weft_plan::catalog::{Catalog, CatalogView, Epoch, SessionId, Timing};
use weft_proxy::{Connector, Metrics, NoRemote};

use super::{
    BoxError, Clients, Connectors, FrontAddress, Issue, Situation, StandIn, StandInConfig,
    StandInParts, Word,
};
use crate::scene::Reach;
use crate::testing::{PATIENCE, now, within};
use crate::workers::Workers;

/// The first cluster's gateway and everything around its stand-in.
pub(super) struct World {
    pub(super) log: Log,
    pub(super) cluster: ClusterName,
    node: u64,
    federation: watch::Sender<Arc<Federation>>,
    reach: Reach,
    /// The catalog's view, as it follows what the stand-in tells.
    pub(super) view: watch::Receiver<Arc<CatalogView>>,
    pub(super) catalog: Arc<Mutex<Catalog>>,
    pub(super) stand_in: Arc<StandIn>,
    supervisor: AbortOnDropHandle<()>,
    /// What the stand-in told, and whether the catalog took it.
    pub(super) words: Arc<Mutex<Vec<(Word, bool)>>>,
}

/// What differs between the tests' worlds.
pub(super) struct Plan {
    pub(super) log: Log,
    pub(super) node: u64,
    pub(super) clients: Clients,
    pub(super) workers: Workers,
    pub(super) connectors: Connectors,
    pub(super) issues: bool,
    pub(super) authority: Authority,
    pub(super) bundles: BundleSource,
    pub(super) reach: Reach,
}

impl Plan {
    /// One cluster, whose virtual IPs no other test has.
    pub(super) fn new() -> Self {
        let mut log = Log::founded();
        set_range(&mut log, &loopback_range());
        let authority = authority(CLUSTERS[0].0);
        Self {
            log,
            node: 1,
            clients: Clients::Answer,
            workers: Workers::start(NonZeroUsize::new(2).unwrap()).unwrap(),
            connectors: Arc::new(|_| Rc::new(NoRemote) as Rc<dyn Connector>),
            issues: true,
            bundles: identity::bundles(&[&authority]),
            authority,
            reach: Reach::default(),
        }
    }
}

impl World {
    /// A stand-in that has been shown nothing yet, and who shows it everything from now on.
    pub(super) fn start(plan: Plan) -> Self {
        let cluster = plan.log.cluster_of(plan.node);
        let member = plan.log.state.cluster(&cluster).unwrap();
        let own = SpiffeId::gateway(member.trust_domain.clone(), name("gw"));
        let place = Place {
            cluster: cluster.clone(),
            region: member.spec.region.clone(),
            zone: None,
        };
        let epoch = Epoch([u8::try_from(plan.node).unwrap(); 16]);
        let start = Moment::default();
        let timing = Timing::default();
        let mut catalog = Catalog::new(cluster.clone(), name("gw"), epoch, timing, start);
        catalog.open_session(SESSION, own.clone(), start);
        let catalog = Arc::new(Mutex::new(catalog));
        let (tell, told) = mpsc::unbounded_channel();
        let words = Arc::<Mutex<Vec<(Word, bool)>>>::default();
        let federation = watch::Sender::new(Arc::new(plan.log.state.clone()));
        let svid = identity::svid(&plan.authority, &own.to_string(), now());
        let config = StandInConfig {
            place,
            gateway: name("gw"),
            epoch,
            recovery: Duration::ZERO,
            clients: plan.clients,
            front: Some(FrontAddress {
                bind: Ipv4Addr::LOCALHOST.into(),
                advertised: Ipv4Addr::LOCALHOST.into(),
            }),
        };
        let parts = StandInParts {
            workers: plan.workers,
            connectors: plan.connectors,
            svid: SvidSource::new(svid),
            bundles: plan.bundles.clone(),
            issue: plan
                .issues
                .then(|| issuer(cluster.as_str(), &plan.authority)),
            tell: {
                let (words, catalog) = (Arc::clone(&words), Arc::clone(&catalog));
                let state = federation.subscribe();
                Box::new(move |word| {
                    let told = take(&catalog, word.clone(), &state.borrow());
                    words.lock().unwrap().push((word, told.is_ok()));
                    let _ = tell.send(());
                    told
                })
            },
            now,
            metrics: Metrics::new().unwrap(),
        };
        let stand_in = Arc::new(StandIn::start(config, parts).unwrap());
        let (show, view) = watch::channel(catalog.lock().unwrap().refresh().0);
        let supervisor = tokio::spawn(supervise(Supervisor {
            stand_in: Arc::clone(&stand_in),
            catalog: Arc::clone(&catalog),
            federation: federation.subscribe(),
            reach: plan.reach.clone(),
            told,
            show,
        }));
        Self {
            log: plan.log,
            cluster,
            node: plan.node,
            federation,
            reach: plan.reach,
            view,
            catalog,
            stand_in,
            supervisor: AbortOnDropHandle::new(supervisor),
            words,
        }
    }

    /// Writes to the log as its gateway, and lets everyone know.
    pub(super) fn write(&mut self, command: Command) {
        let author = self.log.gateway(self.node);
        self.log.accept(author, command);
        self.publish();
    }

    /// Everyone learns of the log as it is.
    pub(super) fn publish(&self) {
        self.federation
            .send_replace(Arc::new(self.log.state.clone()));
    }

    /// Offers a service of one port.
    pub(super) fn export(&mut self, key: &str, spoken: AppProtocol, port: u16) {
        let spec = export(ServiceType::ClusterSetIP, "main", spoken, port);
        self.log.export(self.node, key, &spec);
        self.publish();
    }

    /// Registers a server of `key` without a sidecar at `address`.
    pub(super) fn entry(
        &mut self,
        entry: &str,
        key: &str,
        at: SocketAddr,
        checks: Vec<HealthCheck>,
    ) {
        let key: ServiceKey = name(key);
        let spec = WorkloadEntrySpec {
            service: key.name.clone(),
            address: at.ip(),
            ports: BTreeMap::from([(name("main"), NonZeroU16::new(at.port()).unwrap())]),
            service_account: None,
            version: None,
            zone: None,
            weight: 100,
            checks,
        };
        let cluster = self.cluster.clone();
        let put = Command::PutWorkloadEntry(cluster, key.namespace, name(entry), Box::new(spec));
        self.write(put);
    }

    /// Where clients without a sidecar find `key`.
    pub(super) fn virtual_address(&self, key: &str) -> SocketAddr {
        let service = self.log.state.service(&name(key)).unwrap();
        let member = self.log.state.cluster(&self.cluster).unwrap();
        let ip = service.virtual_ipv4(&member.spec.virtual_ips);
        SocketAddr::new(ip.into(), service.ports[0].port.get())
    }

    /// Waits until the catalog has as many ready endpoints of `key`.
    pub(super) async fn until_ready(&mut self, key: &str, count: usize) {
        let key: ServiceKey = name(key);
        let ready = |view: &Arc<CatalogView>| {
            let known = view.service(&key);
            known.map_or(0, |known| known.ready().count()) == count
        };
        within("the catalog has the endpoints", self.view.wait_for(ready))
            .await
            .unwrap();
    }

    /// Waits until the stand-in has followed everything up to a moment ago.
    pub(super) async fn until_followed(&self) {
        let mut status = self.stand_in.status();
        let before = status.borrow_and_update().followed;
        self.stand_in.update(self.situation());
        let followed = status.wait_for(|status| status.followed > before);
        within("the stand-in follows", followed).await.unwrap();
    }

    /// Ends the supervisor and gives the stand-in away.
    pub(super) async fn take_stand_in(self) -> StandIn {
        let Self {
            stand_in,
            supervisor,
            ..
        } = self;
        supervisor.abort();
        let _ = supervisor.await;
        Arc::try_unwrap(stand_in).unwrap_or_else(|_| panic!("only the supervisor shared it"))
    }

    fn situation(&self) -> Situation {
        Situation {
            federation: self.federation.borrow().clone(),
            catalog: self.view.borrow().clone(),
            reach: self.reach.clone(),
            silence: Duration::ZERO,
            clamps: Arc::default(),
            addresses: Vec::new(),
        }
    }
}

struct Supervisor {
    stand_in: Arc<StandIn>,
    catalog: Arc<Mutex<Catalog>>,
    federation: watch::Receiver<Arc<Federation>>,
    reach: Reach,
    told: mpsc::UnboundedReceiver<()>,
    show: watch::Sender<Arc<CatalogView>>,
}

/// Takes what the stand-in tells into the catalog, and shows it what changed.
async fn supervise(mut s: Supervisor) {
    loop {
        let federation = s.federation.borrow_and_update().clone();
        let view = s.catalog.lock().unwrap().refresh().0;
        s.show.send_replace(Arc::clone(&view));
        s.stand_in.update(Situation {
            federation: Arc::clone(&federation),
            catalog: view,
            reach: s.reach.clone(),
            silence: Duration::ZERO,
            clamps: Arc::default(),
            addresses: Vec::new(),
        });
        tokio::select! {
            changed = s.federation.changed() => if changed.is_err() { return },
            told = s.told.recv() => if told.is_none() { return },
        }
    }
}

fn take(catalog: &Mutex<Catalog>, word: Word, federation: &Federation) -> Result<(), BoxError> {
    let mut catalog = catalog.lock().unwrap();
    let now = Moment::default();
    match word {
        Word::Put(endpoint) => catalog.put(SESSION, *endpoint, federation, now)?,
        Word::Withdraw { id, sequence } => catalog.withdraw(SESSION, id, sequence, now)?,
    }
    Ok(())
}

/// Issues as the cluster's CA would, with a copy of its key.
fn issuer(cluster: &str, authority: &Authority) -> Issue {
    let domain = format!("{cluster}.{DOMAIN}");
    let copy = Authority::open(name(&domain), authority.root().clone(), &authority.key()).unwrap();
    Arc::new(move |id| Ok(identity::svid(&copy, &id.to_string(), now())))
}

/// The CA of a cluster.
pub(super) fn authority(cluster: &str) -> Authority {
    identity::authority(&format!("{cluster}.{DOMAIN}"), now())
}

/// Gives the first cluster these virtual IPs.
pub(super) fn set_range(log: &mut Log, ipv4: &str) {
    let cluster = log.cluster_of(1);
    let mut spec = log.state.cluster(&cluster).unwrap().spec.clone();
    spec.virtual_ips = VirtualIpRanges {
        ipv4: name(ipv4),
        ipv6: None,
    };
    let admin = log.admin();
    log.accept(admin, Command::PutCluster(cluster, Box::new(spec)));
}

/// A piece of 127.64.0.0/10 of the smallest size: listeners share ports, so two
/// tests must not meet, and two runs of the tests should not.
pub(super) fn loopback_range() -> String {
    static FIRST: LazyLock<u32> = LazyLock::new(|| rand::random_range(0..1 << 10));
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let place = (*FIRST + NEXT.fetch_add(1, Ordering::Relaxed)) % (1 << 10);
    let network = Ipv4Addr::new(127, 64, 0, 0).to_bits() + (place << 12);
    format!("{}/20", Ipv4Addr::from_bits(network))
}

/// An endpoint with a number, for tests that only compare.
pub(crate) fn endpoint(n: u8, health: Health) -> Endpoint {
    Endpoint {
        id: EndpointId([n; 16]),
        service: name("shop/checkout"),
        cluster: name(CLUSTERS[0].0),
        zone: None,
        version: None,
        hostname: None,
        address: Some(SocketAddr::from(([127, 0, 0, 1], 15006))),
        workload: None,
        ports: vec![EndpointPort {
            name: Some(name("http")),
            service_port: NonZeroU16::new(80).unwrap(),
            protocol: AppProtocol::Http,
        }],
        identity: name(&format!(
            "spiffe://{}.{DOMAIN}/ns/shop/sa/checkout",
            CLUSTERS[0].0
        )),
        weight: 100,
        health,
        unready: None,
        sequence: 0,
    }
}

/// Connects, says `request`, ends its side and reads to the end: again until
/// somebody answers, since listeners and endpoints come in their own time.
pub(super) async fn converse(at: SocketAddr, request: &[u8]) -> Vec<u8> {
    let patience = Instant::now() + PATIENCE;
    loop {
        match try_converse(at, request).await {
            Ok(answer) if !answer.is_empty() => return answer,
            outcome => assert!(Instant::now() < patience, "never answered: {outcome:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One try of [`converse`].
pub(super) async fn try_converse(at: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let talk = async {
        let mut tcp = TcpStream::connect(at).await?;
        tcp.write_all(request).await?;
        tcp.shutdown().await?;
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await?;
        Ok(answer)
    };
    within("an answer or a refusal", talk).await
}

/// The identity of the first cluster's gateway.
pub(super) fn own_id() -> String {
    format!("spiffe://{}.{DOMAIN}/gateway/gw", CLUSTERS[0].0)
}

pub(super) const SESSION: SessionId = SessionId([9; 16]);

/// A TCP check that turns at once.
pub(super) fn tcp_check(at: SocketAddr) -> HealthCheck {
    HealthCheck {
        http: None,
        grpc: None,
        tcp: Some(weft_model::TcpProbe {
            port: NonZeroU16::new(at.port()).unwrap(),
        }),
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(1),
        failures: 1,
        successes: 1,
    }
}

/// Addresses that are no machine's (RFC 2544), so that nobody can bind them.
pub(super) const FOREIGN_RANGE: &str = "198.18.0.0/20";
