//! Which service a request means.

mod authority;
mod head;

pub use authority::{Authority, Host, Scope};
pub use head::{HeaderList, HeaderView, NO_HEADERS, RequestHead};

use std::num::NonZeroU16;
use std::sync::Arc;

use weft_model::{AppProtocol, EndpointId};

use crate::{
    EndpointRefusal, EndpointView, Level, LevelMembers, Locality, PortRoutes, Reason,
    ServiceRoutes, ServiceTable,
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
    let service = match &authority.host {
        Host::Service(name) => table.by_short_host(name),
        Host::Ip(ip) => table.by_virtual_ip(*ip),
    }
    .ok_or(Reason::NoRoute)?;
    let number = authority.port.unwrap_or(head.port_default);
    let port = service.port(number).ok_or(Reason::NoSuchPort)?;
    Ok(Route {
        service,
        port,
        scope: authority.scope,
    })
}

impl Route<'_> {
    /// The port's number.
    pub fn number(&self) -> NonZeroU16 {
        self.port.port.port
    }

    /// What is spoken on the port.
    pub fn protocol(&self) -> AppProtocol {
        self.port.port.app_protocol
    }

    /// Every endpoint of the service with its level, or why it takes no work for
    /// this route. For explanations; a pick reads the compiled levels, which
    /// come from the same [`EndpointView::admit`].
    pub fn candidates<'a>(
        &'a self,
        table: &'a ServiceTable,
        ejected: impl Fn(EndpointId) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a EndpointView, Result<Level, EndpointRefusal>)> + 'a {
        self.service.endpoints().iter().map(move |view| {
            let verdict = view
                .admit(self.number(), self.service.identities())
                .and_then(|()| {
                    if !self.scope.admits(view, table) {
                        Err(EndpointRefusal::OutOfScope)
                    } else if ejected(view.endpoint.id) {
                        Err(EndpointRefusal::Ejected)
                    } else {
                        Ok(Level::of(view, table.place()))
                    }
                });
            (view.as_ref(), verdict)
        })
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
