//! The identities under which this gateway fronts servers, each with a listener
//! of its own: inner TLS carries no SNI, so the address says who is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use weft_identity::{Svid, SvidSource};
use weft_model::{SpiffeId, WallTime};
use weft_proxy::LocalEndpoints;

use super::pool::{Pool, Work};
use super::servers::Server;

/// Why something failed, for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Issues an SVID for a stand-in identity of this gateway. It must not block for long.
pub type Issue = Arc<dyn Fn(&SpiffeId) -> Result<Svid, BoxError> + Send + Sync>;

/// Where fronted servers are reached, inside the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontAddress {
    /// Listen here, on a port per identity that the system chooses.
    pub bind: IpAddr,
    /// This cluster's sidecars and gateways reach it here.
    pub advertised: IpAddr,
}

/// One identity and what stands behind it.
pub(super) struct Front {
    pub(super) identity: SpiffeId,
    pub(super) svid: SvidSource,
    pub(super) endpoints: LocalEndpoints,
    address: SocketAddr,
}

/// All identities that servers of this cluster need now.
pub(super) struct Fronts {
    address: FrontAddress,
    issue: Issue,
    now: fn() -> WallTime,
    pool: Pool,
    fronts: BTreeMap<SpiffeId, Held>,
    failing: BTreeSet<SpiffeId>,
}

struct Held {
    front: Arc<Front>,
    _accepting: DropGuard,
    _renew: AbortOnDropHandle<()>,
}

/// How long after a failed renewal the next is tried. The old SVID is good for
/// the other half of its life.
const RENEW_PAUSE: Duration = Duration::from_secs(5);

impl Fronts {
    pub(super) fn new(
        address: FrontAddress,
        issue: Issue,
        now: fn() -> WallTime,
        pool: Pool,
    ) -> Self {
        Self {
            address,
            issue,
            now,
            pool,
            fronts: BTreeMap::new(),
            failing: BTreeSet::new(),
        }
    }

    /// Fronts these servers and no others. Returns those that can be reached,
    /// with their address filled in.
    pub(super) fn settle(&mut self, servers: Vec<Server>) -> Vec<Server> {
        let mut by_identity: BTreeMap<SpiffeId, Vec<Server>> = BTreeMap::new();
        for server in servers {
            let identity = server.identity().clone();
            by_identity.entry(identity).or_default().push(server);
        }
        self.fronts.retain(|id, _| by_identity.contains_key(id));
        self.failing.retain(|id| by_identity.contains_key(id));
        let mut placed = Vec::new();
        for (identity, mut servers) in by_identity {
            let Some(front) = self.front(&identity) else {
                continue;
            };
            front
                .endpoints
                .replace(servers.iter().map(|s| s.local.clone()).collect());
            for server in &mut servers {
                server.endpoint.address = Some(front.address);
            }
            placed.append(&mut servers);
        }
        placed
    }

    fn front(&mut self, identity: &SpiffeId) -> Option<Arc<Front>> {
        if let Some(held) = self.fronts.get(identity) {
            return Some(Arc::clone(&held.front));
        }
        match self.open(identity) {
            Ok(held) => {
                self.failing.remove(identity);
                let front = Arc::clone(&held.front);
                self.fronts.insert(identity.clone(), held);
                Some(front)
            }
            Err(error) => {
                // Once per identity: it is tried again with every change.
                if self.failing.insert(identity.clone()) {
                    tracing::warn!(%identity, %error, "servers cannot be fronted");
                }
                None
            }
        }
    }

    fn open(&self, identity: &SpiffeId) -> Result<Held, BoxError> {
        let svid = SvidSource::new((self.issue)(identity)?);
        let listener = std::net::TcpListener::bind((self.address.bind, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let listener = TcpListener::from_std(listener)?;
        let front = Arc::new(Front {
            identity: identity.clone(),
            svid: svid.clone(),
            endpoints: LocalEndpoints::default(),
            address: SocketAddr::new(self.address.advertised, port),
        });
        let work = {
            let front = Arc::clone(&front);
            move |_: &_| Some(Work::Server(Arc::clone(&front)))
        };
        let stop = CancellationToken::new();
        tokio::spawn(self.pool.clone().accept(listener, stop.clone(), work));
        let renew = tokio::spawn(renew(svid, Arc::clone(&self.issue), self.now));
        Ok(Held {
            front,
            _accepting: stop.drop_guard(),
            _renew: AbortOnDropHandle::new(renew),
        })
    }
}

/// Keeps an SVID fresh: the next one is asked for at half life. Open connections go on.
async fn renew(source: SvidSource, issue: Issue, now: fn() -> WallTime) {
    loop {
        let current = source.current();
        sleep(until_renewal(&current, now())).await;
        loop {
            match issue(current.id()) {
                Ok(next) => {
                    source.replace(next);
                    break;
                }
                Err(error) => {
                    tracing::warn!(identity = %current.id(), %error, "a stand-in's SVID is not renewed yet");
                    sleep(RENEW_PAUSE).await;
                }
            }
        }
    }
}

/// Lives begin in the past, for clocks that are behind: half of a short one may be
/// over at once. Then half of what is left counts.
fn until_renewal(svid: &Svid, now: WallTime) -> Duration {
    let half_life = svid.renew_at(rand::random()).since(now);
    if half_life.is_zero() {
        (svid.left(now) / 2).max(RENEW_PAUSE_MIN)
    } else {
        half_life
    }
}

/// However short lives are, they are not renewed more often than this.
const RENEW_PAUSE_MIN: Duration = Duration::from_secs(1);
