//! One service: its ports, who may serve it, and its endpoints by nearness.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use weft_model::{ClusterName, ServiceKey, ServicePort, SpiffeId, TrafficPolicySpec};

use super::level::Gathered;
use super::{EndpointRefusal, EndpointView, Level, LevelMembers, Place};
use crate::lane::LaneKind;
use crate::{Lane, ReleaseView, RequestHead, Rng, RouteSource, RuleTable, Scope};

/// What the catalog says of a service, without its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name.
    pub key: ServiceKey,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Who may serve it; nobody if empty.
    pub identities: BTreeSet<SpiffeId>,
    /// Whether clients ask for endpoints instead of one address.
    pub headless: bool,
    /// Its virtual IPs in the reader's cluster.
    pub virtual_ips: Vec<IpAddr>,
    /// Clusters that take nothing new for it: their lease lapsed, and their export's `onStale`
    /// forbids to serve then.
    pub stale: BTreeSet<ClusterName>,
    /// The routes that are for it, in the order of their names.
    pub routes: Vec<RouteSource>,
    /// How its callers treat its endpoints, if somebody says.
    pub policy: Option<Arc<TrafficPolicySpec>>,
    /// The release in effect for it, ended or not; none: every version serves by weight.
    pub release: Option<ReleaseView>,
}

/// A port and the endpoints that take work on it, nearest level first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRoutes {
    /// The port.
    pub port: ServicePort,
    /// Levels that have endpoints; empty levels are left out.
    pub levels: Box<[LevelMembers]>,
    /// The same by lane, if a release is in effect: `levels` then serves only who asks for one
    /// endpoint by name.
    lanes: Option<Lanes>,
    /// The rules for its requests; none if no route is for it.
    pub rules: Option<RuleTable>,
}

/// The levels of each lane.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lanes {
    stable: Box<[LevelMembers]>,
    canary: Box<[LevelMembers]>,
}

/// A service and its endpoints, compiled so that a pick needs no search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRoutes {
    spec: ServiceSpec,
    place: Place,
    ports: Box<[PortRoutes]>,
    endpoints: Arc<[Arc<EndpointView>]>,
}

impl ServiceRoutes {
    /// Compiles `endpoints` of the service, given in any order; of two with one
    /// id the later stays.
    pub fn new(
        spec: ServiceSpec,
        place: &Place,
        endpoints: impl IntoIterator<Item = Arc<EndpointView>>,
    ) -> Self {
        let by_id: BTreeMap<_, _> = endpoints
            .into_iter()
            .map(|view| (view.endpoint.id, view))
            .collect();
        let endpoints: Arc<[_]> = by_id.into_values().collect();
        let ports = spec
            .ports
            .iter()
            .map(|port| PortRoutes::compile(&spec, place, &endpoints, port))
            .collect();
        Self {
            spec,
            place: place.clone(),
            ports,
            endpoints,
        }
    }

    /// Its name.
    pub fn key(&self) -> &ServiceKey {
        &self.spec.key
    }

    /// What the catalog says of it.
    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// Where its reader is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Who may serve it.
    pub fn identities(&self) -> &BTreeSet<SpiffeId> {
        &self.spec.identities
    }

    /// Its virtual IPs.
    pub fn virtual_ips(&self) -> &[IpAddr] {
        &self.spec.virtual_ips
    }

    /// Its ports, each with its levels.
    pub fn ports(&self) -> &[PortRoutes] {
        &self.ports
    }

    /// The port with this number.
    pub fn port(&self, port: NonZeroU16) -> Option<&PortRoutes> {
        self.ports.iter().find(|routes| routes.port.port == port)
    }

    /// The lane of a request to it, while a release is in effect; without a head it is a connection.
    pub fn lane(&self, head: Option<&RequestHead<'_>>, rng: &mut Rng) -> Lane {
        let release = self.spec.release.as_ref();
        release.map_or(Lane::Any, |release| release.lane(head, rng))
    }

    /// All endpoints, usable or not, in the order of their ids.
    pub fn endpoints(&self) -> &Arc<[Arc<EndpointView>]> {
        &self.endpoints
    }
}

impl PortRoutes {
    fn compile(
        spec: &ServiceSpec,
        place: &Place,
        endpoints: &[Arc<EndpointView>],
        port: &ServicePort,
    ) -> Self {
        let of = |wanted: &dyn Fn(&EndpointView) -> bool| {
            levels(&spec.identities, place, endpoints, port.port, wanted)
        };
        let lanes = spec.release.as_ref().map(|release| {
            let lane =
                |kind| of(&|view| release.kind_of(view.endpoint.version.as_ref()) == Some(kind));
            Lanes {
                stable: lane(LaneKind::Stable),
                canary: lane(LaneKind::Canary),
            }
        });
        Self {
            port: port.clone(),
            levels: of(&|_| true),
            lanes,
            rules: RuleTable::compile(&spec.key, port.port, &spec.routes),
        }
    }
}

/// Which levels of a port a request may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneLevels<'t> {
    /// Those that are meant.
    pub(crate) first: &'t [LevelMembers],
    /// Those that serve while the first have nobody who can be used.
    pub(crate) fallback: Option<&'t [LevelMembers]>,
}

impl ServiceRoutes {
    /// The levels that a request of `lane` may use on `port`. One endpoint asked for by its own
    /// name is asked for in spite of releases.
    pub(crate) fn levels<'t>(
        &self,
        port: &'t PortRoutes,
        lane: Lane,
        scope: &Scope,
    ) -> LaneLevels<'t> {
        let whole = LaneLevels {
            first: &port.levels,
            fallback: None,
        };
        let (Some(lanes), Some(release)) = (&port.lanes, &self.spec.release) else {
            return whole;
        };
        if matches!(scope, Scope::Endpoint(_)) {
            return whole;
        }
        match release.meant(lane) {
            LaneKind::Stable => LaneLevels {
                first: &lanes.stable,
                fallback: None,
            },
            LaneKind::Canary => LaneLevels {
                first: &lanes.canary,
                fallback: Some(&lanes.stable),
            },
        }
    }
}

fn levels(
    identities: &BTreeSet<SpiffeId>,
    place: &Place,
    endpoints: &[Arc<EndpointView>],
    port: NonZeroU16,
    wanted: &dyn Fn(&EndpointView) -> bool,
) -> Box<[LevelMembers]> {
    let mut levels: BTreeMap<Level, Gathered> = BTreeMap::new();
    for (position, view) in (0u32..).zip(endpoints).filter(|(_, view)| wanted(view)) {
        let weight = view.endpoint.weight;
        let verdict = view.admit(port, identities);
        if !matches!(verdict, Ok(()) | Err(EndpointRefusal::NotReady)) {
            continue;
        }
        // Of a remote cluster each endpoint says the same, and a level is one cluster's.
        let level = levels.entry(Level::of(view, place)).or_default();
        level.max_share = view.locality.max_share();
        match verdict {
            Ok(()) => level.members.push((position, weight)),
            // What a level lacks: the next one takes it over.
            Err(_) => level.unready += u64::from(weight),
        }
    }
    levels
        .into_iter()
        .filter(|(_, gathered)| !gathered.members.is_empty())
        .map(|(level, gathered)| LevelMembers::new(level, gathered))
        .collect()
}
