//! Which service a request means.

mod authority;
mod head;

pub use authority::{Authority, Host, Scope};
pub use head::{HeaderList, HeaderView, NO_HEADERS, RequestHead};

use std::num::NonZeroU16;
use std::sync::Arc;

use weft_model::{AppProtocol, BackendRef, EndpointId, ServiceKey};

use crate::lane::LaneKind;
use crate::{
    EndpointRefusal, EndpointView, Lane, Level, LevelMembers, Locality, Matched, PortRoutes,
    Reason, Rng, RuleTable, ServiceRoutes, ServiceTable,
};

/// The service and port a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'t> {
    /// The service.
    pub service: &'t Arc<ServiceRoutes>,
    /// Its port, with its endpoints by nearness.
    pub port: &'t PortRoutes,
    /// Which of its endpoints are meant.
    pub scope: Scope,
    /// The rule that counts, if a route is for the port.
    pub matched: Option<Matched<'t>>,
}

/// Who answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend<'t> {
    /// The service: the one asked for, or one that a rule names.
    pub service: &'t Arc<ServiceRoutes>,
    /// Its port.
    pub port: &'t PortRoutes,
    /// Which of its endpoints are meant.
    pub scope: Scope,
}

/// The service a request means, or why none.
pub type Decision<'t> = Result<Route<'t>, Reason>;

/// Resolves a request's authority against `table`.
///
/// Accepts, without regard to case and with or without a trailing dot,
/// `<service>.<namespace>`, the same with `.svc.clusterset.local` (the Multi-Cluster
/// Services API, KEP-1645), with `.svc.<cluster>.cluster.weft.internal` or
/// `.svc.<region>.region.weft.internal`, and a virtual IP.
pub fn find<'t>(table: &'t ServiceTable, head: &RequestHead<'_>) -> Decision<'t> {
    let authority = Authority::parse(head.authority)?;
    let service = service_of(table, &authority).ok_or(Reason::NoRoute)?;
    let number = authority.port.unwrap_or(head.port_default);
    route(service, number, authority.scope, head)
}

/// The same for a client whose address already says service, port and scope.
///
/// One endpoint asked for by its own address is asked for in spite of all routes.
pub fn find_service<'t>(
    table: &'t ServiceTable,
    service: &ServiceKey,
    port: NonZeroU16,
    scope: Scope,
    head: &RequestHead<'_>,
) -> Decision<'t> {
    let service = table.service(service).ok_or(Reason::NoRoute)?;
    route(service, port, scope, head)
}

/// The rules that judge requests for this authority, whether one matches or not. For explanations.
pub fn rules_of<'t>(table: &'t ServiceTable, head: &RequestHead<'_>) -> Option<&'t RuleTable> {
    let authority = Authority::parse(head.authority).ok()?;
    let service = service_of(table, &authority)?;
    let port = service.port(authority.port.unwrap_or(head.port_default))?;
    port.rules.as_ref()
}

fn service_of<'t>(
    table: &'t ServiceTable,
    authority: &Authority<'_>,
) -> Option<&'t Arc<ServiceRoutes>> {
    match &authority.host {
        Host::Service(name) => table.by_short_host(name),
        Host::Ip(ip) => table.by_virtual_ip(*ip),
    }
}

fn route<'t>(
    service: &'t Arc<ServiceRoutes>,
    number: NonZeroU16,
    scope: Scope,
    head: &RequestHead<'_>,
) -> Decision<'t> {
    let port = service.port(number).ok_or(Reason::NoSuchPort)?;
    let speaks_http = port.port.app_protocol != AppProtocol::Tcp && head.method != "CONNECT";
    let rules = port.rules.as_ref();
    let rules = rules.filter(|_| speaks_http && !matches!(scope, Scope::Endpoint(_)));
    let matched = match rules {
        Some(rules) => Some(rules.find(head).ok_or(Reason::NoRule)?),
        None => None,
    };
    Ok(Route {
        service,
        port,
        scope,
        matched,
    })
}

impl<'t> Route<'t> {
    /// Who answers: the service itself, or a backend of the rule, drawn by weight.
    pub fn backend(&self, table: &'t ServiceTable, rng: &mut Rng) -> Result<Backend<'t>, Reason> {
        let Some(matched) = &self.matched else {
            return Ok(Backend {
                service: self.service,
                port: self.port,
                scope: self.scope.clone(),
            });
        };
        let drawn = matched.rule.draw_backend(rng).ok_or(Reason::NoBackend)?;
        self.refer(table, drawn)
    }

    /// Who is meant by a reference of the rule that counts: the same cluster or region is asked.
    pub fn refer(&self, table: &'t ServiceTable, to: &BackendRef) -> Result<Backend<'t>, Reason> {
        let namespace = match &self.matched {
            Some(matched) => &matched.rule.route.namespace,
            None => &self.service.key().namespace,
        };
        let service = table.service(&to.key(namespace)).ok_or(Reason::NoBackend)?;
        let number = to.port.unwrap_or(self.number());
        Ok(Backend {
            service,
            port: service.port(number).ok_or(Reason::NoBackend)?,
            scope: self.scope.clone(),
        })
    }

    /// The port's number.
    pub fn number(&self) -> NonZeroU16 {
        self.port.port.port
    }

    /// What is spoken on the port.
    pub fn protocol(&self) -> AppProtocol {
        self.port.port.app_protocol
    }
}

impl<'t> Backend<'t> {
    /// Every endpoint of the service with its level, or why it takes no work for
    /// this request, whose lane this is. For explanations; a pick reads the compiled levels, which
    /// come from the same [`EndpointView::admit`].
    pub fn candidates<'a>(
        &'a self,
        table: &'a ServiceTable,
        lane: Lane,
        ejected: impl Fn(EndpointId) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a EndpointView, Result<Level, EndpointRefusal>)> + 'a {
        let judge = move |view: &EndpointView| {
            view.admit(self.port.port.port, self.service.identities())?;
            if !self.scope.admits(view, table) {
                return Err(EndpointRefusal::OutOfScope);
            }
            match ejected(view.endpoint.id) {
                true => Err(EndpointRefusal::Ejected),
                false => Ok(Level::of(view, table.place())),
            }
        };
        let mut endpoints = self.service.endpoints().iter();
        let takes_work = |view: &Arc<EndpointView>| judge(view).is_ok();
        let meant = self.meant(lane);
        let is_open = |view: &EndpointView| view.locality.max_share().is_none();
        let (mut meant, mut falls_back) = (meant, false);
        // The canary's request falls back where the canary has nobody, or what is beyond the ceilings
        // of those that have it.
        if meant == Some(LaneKind::Canary) {
            let canary = endpoints.clone().filter(|view| self.is_of(view, meant));
            let mut canary = canary.filter(|view| takes_work(view)).peekable();
            match canary.peek() {
                None => meant = Some(LaneKind::Stable),
                Some(_) => falls_back = self.scope.is_bounded() && !canary.any(|it| is_open(it)),
            }
        }
        std::iter::from_fn(move || endpoints.next()).map(move |view| {
            let is_fallback =
                || falls_back && is_open(view) && self.is_of(view, Some(LaneKind::Stable));
            let verdict = judge(view).and_then(|level| match self.is_of(view, meant) {
                true => Ok(level),
                false if is_fallback() => Ok(level),
                false => Err(EndpointRefusal::OtherLane),
            });
            (view.as_ref(), verdict)
        })
    }

    /// Which endpoints a lane means; none: all.
    fn meant(&self, lane: Lane) -> Option<LaneKind> {
        let release = self.service.spec().release.as_ref()?;
        match self.scope {
            Scope::Endpoint(_) => None,
            _ => Some(release.meant(lane)),
        }
    }

    fn is_of(&self, view: &EndpointView, meant: Option<LaneKind>) -> bool {
        let release = self.service.spec().release.as_ref();
        let version = view.endpoint.version.as_ref();
        match (meant, release) {
            (None, _) | (_, None) => true,
            (Some(_), Some(release)) => release.kind_of(version) == meant,
        }
    }
}

impl Scope {
    fn admits(&self, view: &EndpointView, table: &ServiceTable) -> bool {
        match self {
            Self::Any => true,
            Self::Endpoint(id) => view.endpoint.id == *id,
            Self::Cluster(cluster) => view.endpoint.cluster == *cluster,
            Self::Region(wanted) => match &view.locality {
                Locality::Local => table.place().region == *wanted,
                Locality::Remote { region, .. } => region == wanted,
            },
        }
    }

    /// Whether clusters' ceilings count: not for who asks for a cluster, or an endpoint, by name.
    pub(crate) fn is_bounded(&self) -> bool {
        match self {
            Self::Any | Self::Region(_) => true,
            Self::Cluster(_) | Self::Endpoint(_) => false,
        }
    }

    /// Whether any endpoint of a level is meant: levels never mix clusters.
    pub(crate) fn admits_level(&self, level: &LevelMembers, service: &ServiceRoutes) -> bool {
        match (self, &level.level) {
            (Self::Any | Self::Endpoint(_), _) => true,
            (Self::Cluster(wanted), Level::SameZone | Level::SameCluster) => {
                *wanted == service.place().cluster
            }
            (Self::Region(wanted), Level::SameZone | Level::SameCluster) => {
                *wanted == service.place().region
            }
            (
                Self::Cluster(wanted),
                Level::SameRegion { cluster, .. } | Level::OtherRegion { cluster, .. },
            ) => wanted == cluster,
            (
                Self::Region(wanted),
                Level::SameRegion { region, .. } | Level::OtherRegion { region, .. },
            ) => wanted == region,
        }
    }

    /// Whether an endpoint of a level that is meant is meant itself.
    pub(crate) fn admits_member(&self, id: EndpointId) -> bool {
        match self {
            Self::Any | Self::Cluster(_) | Self::Region(_) => true,
            Self::Endpoint(wanted) => *wanted == id,
        }
    }
}

#[cfg(test)]
mod tests;
