//! One endpoint as its reader sees it.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use weft_model::{
    AppProtocol, ClusterName, Endpoint, Health, Percent, RegionName, SpiffeId, ZoneName,
};

/// Where the reader of a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its region.
    pub region: RegionName,
    /// Its availability zone, if it says so.
    pub zone: Option<ZoneName>,
}

/// Whether another cluster takes traffic from here now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathState {
    /// A tunnel to it is up.
    Up,
    /// No tunnel to it is up.
    Down,
    /// Its administrator drains it: nothing new goes there.
    Draining,
    /// Its lease lapsed and the service's `onStale` forbids serving.
    Lapsed,
}

/// How far an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locality {
    /// In the reader's cluster: its address can be dialled.
    Local,
    /// In another cluster, [`Endpoint::cluster`]: reached through a gateway by id.
    Remote {
        /// That cluster's region.
        region: RegionName,
        /// Round trip between the gateways, smoothed by whoever measured it.
        rtt: Duration,
        /// Whether traffic may go there.
        path: PathState,
        /// How much of a service's traffic may, while others can serve the rest.
        max_share: Option<Percent>,
    },
}

/// Another cluster, as gateways of the reader's cluster see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// Its region.
    pub region: RegionName,
    /// Round trip to it; none while no tunnel to it is up.
    pub rtt: Option<Duration>,
    /// Whether its administrator drains it.
    pub drain: bool,
    /// How much of a service's traffic it may draw; none: whatever falls to it.
    pub max_share: Option<Percent>,
}

impl Locality {
    /// How much of a service's traffic may go there; none: whatever falls to it.
    pub(crate) fn max_share(&self) -> Option<Percent> {
        match self {
            Self::Local => None,
            Self::Remote { max_share, .. } => max_share.filter(|share| *share < Percent::ALL),
        }
    }

    /// How far `cluster` is from `place` for a service whose clusters in `stale` take nothing
    /// new. `seen` is none for a cluster that nobody has told of yet: no tunnel to it is up.
    pub fn of(
        place: &Place,
        cluster: &ClusterName,
        seen: Option<&ClusterView>,
        stale: &BTreeSet<ClusterName>,
    ) -> Self {
        if *cluster == place.cluster {
            return Self::Local;
        }
        let Some(seen) = seen else {
            return Self::Remote {
                region: place.region.clone(),
                rtt: Duration::ZERO,
                path: PathState::Down,
                max_share: None,
            };
        };
        let path = match seen.rtt {
            _ if seen.drain => PathState::Draining,
            None => PathState::Down,
            Some(_) if stale.contains(cluster) => PathState::Lapsed,
            Some(_) => PathState::Up,
        };
        Self::Remote {
            region: seen.region.clone(),
            rtt: seen.rtt.unwrap_or_default(),
            path,
            max_share: seen.max_share,
        }
    }
}

/// An endpoint and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// What its owner says of it.
    pub endpoint: Endpoint,
    /// How it is reached from here.
    pub locality: Locality,
}

/// Why an endpoint takes no new work from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum EndpointRefusal {
    /// It does not answer the port asked for.
    #[error("does not serve this port")]
    PortNotServed,
    /// Its checks fail.
    #[error("its health checks fail")]
    NotReady,
    /// It is going away.
    #[error("it is draining")]
    Draining,
    /// Its weight is 0.
    #[error("its weight is 0")]
    NoWeight,
    /// Its identity is none that may serve this service.
    #[error("its identity may not serve this service")]
    IdentityNotAllowed,
    /// It is in this cluster but has no address.
    #[error("it has no address")]
    NoAddress,
    /// No tunnel to its cluster is up.
    #[error("no tunnel to its cluster is up")]
    PathDown,
    /// Its cluster is drained.
    #[error("its cluster is drained")]
    ClusterDraining,
    /// Its cluster's lease lapsed.
    #[error("its cluster's lease lapsed")]
    LeaseLapsed,
    /// Another cluster or region was asked for.
    #[error("outside the cluster or region asked for")]
    OutOfScope,
    /// A release is in effect, and its version is not the one that this request meets.
    #[error("its version is not in this request's lane")]
    OtherLane,
    /// It was ejected after failures.
    #[error("it is ejected after failures")]
    Ejected,
}

impl EndpointView {
    /// Whether it takes new work for `port`, and if not, why. Ejection and
    /// scope are judged later: they belong to the caller, not to the table.
    pub fn admit(
        &self,
        port: NonZeroU16,
        identities: &BTreeSet<SpiffeId>,
    ) -> Result<(), EndpointRefusal> {
        let endpoint = &self.endpoint;
        if self.protocol(port).is_none() {
            return Err(EndpointRefusal::PortNotServed);
        }
        if !identities.contains(&endpoint.identity) {
            return Err(EndpointRefusal::IdentityNotAllowed);
        }
        match endpoint.health {
            Health::Ready => {}
            Health::NotReady => return Err(EndpointRefusal::NotReady),
            Health::Draining => return Err(EndpointRefusal::Draining),
        }
        if endpoint.weight == 0 {
            return Err(EndpointRefusal::NoWeight);
        }
        match &self.locality {
            Locality::Local if endpoint.address.is_none() => Err(EndpointRefusal::NoAddress),
            Locality::Local => Ok(()),
            Locality::Remote { path, .. } => match path {
                PathState::Up => Ok(()),
                PathState::Down => Err(EndpointRefusal::PathDown),
                PathState::Draining => Err(EndpointRefusal::ClusterDraining),
                PathState::Lapsed => Err(EndpointRefusal::LeaseLapsed),
            },
        }
    }

    /// What it speaks on `port`; none if it does not answer it.
    pub fn protocol(&self, port: NonZeroU16) -> Option<AppProtocol> {
        self.endpoint
            .ports
            .iter()
            .find(|p| p.service_port == port)
            .map(|p| p.protocol)
    }
}
