//! From the app to endpoints: one [`Outbound`] per worker.

mod attempts;
mod captured;
mod flight;
mod http;
mod limits;
mod tcp;
mod withdrawn;

pub(crate) use captured::Captured;
pub use http::Hint;

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use weft_decide::{
    Backend, Balancer, Demand, EndpointView, Lane, Outcome, OutlierConfig, Reason, RequestHead,
    RetryBudget, Rng, Scope, ServiceRoutes, Tick,
};
use weft_identity::{BundleSource, SvidSource};
use weft_model::{AppProtocol, EndpointId, ServiceKey};

use crate::clock::Clock;
use crate::config::Upstream;
use crate::http::Timeouts;
use crate::inner::{Connector, Dialer, Identities};
use crate::metrics::{Metrics, Recorder};
use crate::pool::Pool;
use crate::snapshot::TableSource;
use limits::{Bounds, Gauge, Limits, Permit};
use withdrawn::Withdrawals;

/// Routes, balances and forwards what clients on this side send. It belongs to
/// one thread, whose tasks run on a `LocalSet`; clones share its state.
///
/// The sidecar's workers and the gateway's stand-in use the same type with
/// different [`Connector`]s.
#[derive(Clone)]
pub struct Outbound {
    shared: Rc<Shared>,
}

/// What an [`Outbound`] is made of.
pub struct OutboundParts {
    /// The services.
    pub tables: TableSource,
    /// Who this process is.
    pub svid: SvidSource,
    /// Whom it trusts.
    pub bundles: BundleSource,
    /// The way to other clusters.
    pub connector: Rc<dyn Connector>,
    /// Where to count.
    pub metrics: Metrics,
    /// Ejection rules.
    pub outliers: OutlierConfig,
    /// How many workers share the process's retry reserve.
    pub workers: usize,
    /// Seed of this worker's choices.
    pub seed: u64,
    /// Cancelled when connections should end as soon as their work is done.
    pub drain: CancellationToken,
}

struct Shared {
    tables: TableSource,
    identities: Rc<Identities>,
    dialer: Rc<Dialer>,
    pool: Pool,
    recorder: Recorder,
    clock: Clock,
    outliers: OutlierConfig,
    timeouts: Timeouts,
    workers: u32,
    /// Copies of requests under way.
    mirrors: Gauge,
    withdrawals: Withdrawals,
    drain: CancellationToken,
    rng: RefCell<Rng>,
    services: RefCell<HashMap<ServiceKey, ServiceState>>,
}

/// What this worker learnt about one service.
struct ServiceState {
    balancer: Balancer,
    budget: RetryBudget,
    limits: Limits,
}

/// Retries that a process may always make, per second and service (Linkerd's default).
const RETRY_RESERVE: f64 = 10.0;
/// How often idle connections and departed endpoints are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(15);

/// A chosen port of a service, kept while the table may move on.
#[derive(Clone)]
struct Chosen {
    service: Arc<ServiceRoutes>,
    port: NonZeroU16,
    scope: Scope,
    /// Of which version, while a release is in effect.
    lane: Lane,
}

impl Chosen {
    /// The port of `backend`, for a request with this head; without one it is a connection.
    fn new(backend: &Backend<'_>, head: Option<&RequestHead<'_>>, rng: &mut Rng) -> Self {
        Self {
            lane: backend.service.lane(head, rng),
            service: Arc::clone(backend.service),
            port: backend.port.port.port,
            scope: backend.scope.clone(),
        }
    }
}

impl Outbound {
    /// An outbound side without connections yet. Spawns its housekeeping: call it
    /// inside the worker's `LocalSet`.
    pub fn new(parts: OutboundParts) -> Self {
        Self::with_timeouts(parts, Timeouts::default())
    }

    /// The same with times other than the defaults.
    pub fn with_timeouts(parts: OutboundParts, timeouts: Timeouts) -> Self {
        let clock = Clock::start();
        let identities = Rc::new(Identities::new(parts.svid, parts.bundles));
        let dialer = Rc::new(Dialer::new(Rc::clone(&identities), parts.connector));
        let workers = u32::try_from(parts.workers.max(1)).unwrap_or(u32::MAX);
        let outbound = Self {
            shared: Rc::new(Shared {
                tables: parts.tables,
                pool: Pool::new(Rc::clone(&dialer), clock),
                identities,
                dialer,
                recorder: Recorder::new(parts.metrics),
                clock,
                outliers: parts.outliers,
                timeouts,
                workers,
                mirrors: Gauge::default(),
                withdrawals: Withdrawals::default(),
                drain: parts.drain,
                rng: RefCell::new(Rng::seeded(parts.seed)),
                services: RefCell::default(),
            }),
        };
        outbound.spawn_housekeeping();
        outbound.spawn_withdrawals();
        outbound
    }

    /// Serves a connection to a configured local port.
    pub(crate) async fn serve_local_port(&self, client: TcpStream, upstream: &Upstream) {
        let hint = Hint {
            service: upstream.service.clone(),
            port: upstream.port,
            scope: Scope::Any,
        };
        self.serve(client, hint).await;
    }

    /// Serves a connection whose address says where it goes, as that port speaks:
    /// request by request if it is HTTP, as opaque bytes otherwise.
    pub async fn serve(&self, client: TcpStream, to: Hint) {
        let protocol = {
            let table = self.shared.tables.load();
            table
                .service(&to.service)
                .and_then(|service| service.port(to.port))
                .map(|port| port.port.app_protocol)
        };
        match protocol {
            Some(AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Grpc) => {
                self.serve_http(client, Some(to)).await;
            }
            Some(AppProtocol::Tcp) | None => self.serve_tcp_to(client, &to).await,
        }
    }

    fn spawn_housekeeping(&self) {
        let weak = Rc::downgrade(&self.shared);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(TIDY_INTERVAL).await;
                let Some(shared) = weak.upgrade() else {
                    return;
                };
                let table = shared.tables.load_full();
                shared.pool.tidy(&table);
                shared.recorder.flows.tidy();
                shared
                    .services
                    .borrow_mut()
                    .retain(|key, _| table.service(key).is_some());
            }
        });
    }
}

impl Shared {
    /// The port of a service by key, as configured local ports and stand-ins know it.
    fn choose_service(&self, to: &Hint) -> Result<Chosen, Reason> {
        let table = self.tables.load();
        let service = table.service(&to.service).ok_or(Reason::NoRoute)?;
        service.port(to.port).ok_or(Reason::NoSuchPort)?;
        Ok(Chosen {
            service: Arc::clone(service),
            port: to.port,
            scope: to.scope.clone(),
            lane: service.lane(None, &mut self.rng.borrow_mut()),
        })
    }

    /// Takes the service as the table has it now; a service that left stays as it was.
    fn refresh(&self, chosen: &mut Chosen) {
        if let Some(service) = self.tables.load().service(chosen.service.key()) {
            chosen.service = Arc::clone(service);
        }
    }

    fn pick(&self, chosen: &Chosen, tried: &[EndpointId]) -> Result<Arc<EndpointView>, Reason> {
        let now = self.clock.now();
        let demand = Demand {
            port: chosen.port,
            scope: &chosen.scope,
            lane: chosen.lane,
            tried,
        };
        self.with_service(chosen.service.key(), now, |state| {
            state
                .balancer
                .pick(&chosen.service, &demand, now, &mut self.rng.borrow_mut())
                .map(Arc::clone)
        })
    }

    fn started(&self, key: &ServiceKey, endpoint: EndpointId) {
        self.with_service(key, self.clock.now(), |state| {
            state.balancer.on_start(endpoint);
        });
    }

    fn ended(&self, key: &ServiceKey, endpoint: EndpointId, outcome: Outcome, latency: Duration) {
        let now = self.clock.now();
        let ejected = self.with_service(key, now, |state| {
            state.balancer.on_response(endpoint, outcome, latency, now)
        });
        if let Some(ejected) = ejected {
            self.recorder.ejected();
            tracing::info!(service = %key, endpoint = %ejected.id, for_ = ?ejected.until.since(now),
                "endpoint ejected after failures in a row");
        }
    }

    fn may_retry(&self, key: &ServiceKey) -> bool {
        let now = self.clock.now();
        self.with_service(key, now, |state| state.budget.try_retry(now))
    }

    fn requested(&self, chosen: &Chosen) {
        let policy = chosen.service.spec().policy.as_deref();
        let budget = policy.map(|policy| policy.retry_budget).unwrap_or_default();
        let ratio = budget.percent.map(|percent| f64::from(percent) / 100.0);
        let reserve = budget
            .min_retries_per_second
            .map_or(RETRY_RESERVE, f64::from);
        let reserve = reserve / f64::from(self.workers);
        self.with_service(chosen.service.key(), self.clock.now(), |state| {
            state.budget.configure(ratio, reserve);
            state.budget.on_request();
        });
    }

    /// A place under one of the service's limits, or [`Reason::Overload`].
    fn enter(
        &self,
        chosen: &Chosen,
        which: impl FnOnce(&Limits, Bounds) -> Result<Permit, Reason>,
    ) -> Result<Permit, Reason> {
        let bounds = Bounds::of(chosen.service.spec().policy.as_deref(), self.workers);
        let now = self.clock.now();
        self.with_service(chosen.service.key(), now, |state| {
            which(&state.limits, bounds)
        })
    }

    fn with_service<T>(
        &self,
        key: &ServiceKey,
        now: Tick,
        then: impl FnOnce(&mut ServiceState) -> T,
    ) -> T {
        let mut services = self.services.borrow_mut();
        if let Some(state) = services.get_mut(key) {
            return then(state);
        }
        then(services.entry(key.clone()).or_insert_with(|| ServiceState {
            balancer: Balancer::new(self.outliers),
            budget: RetryBudget::new(RETRY_RESERVE / f64::from(self.workers), now),
            limits: Limits::default(),
        }))
    }
}

/// Whether a failed attempt says something about the endpoint itself.
fn blame(reason: Reason) -> Outcome {
    match reason {
        Reason::Overload | Reason::RequestStalled => Outcome::Cancelled,
        _ => Outcome::LocalOrigin,
    }
}
