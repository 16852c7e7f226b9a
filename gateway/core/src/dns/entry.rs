//! One service under one scope: what its names answer with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use weft_model::{ClusterName, ServiceKey, ServicePort};

use super::{ClusterLiveness, Scope};

/// A service as one scope sees it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: ServiceKey,
    pub(super) scope: Scope,
    /// Of addresses and SRV records, in seconds.
    pub(super) ttl: u32,
    pub(super) ports: Vec<ServicePort>,
    pub(super) addressing: Addressing,
    /// The clusters of the scope that export it to us; none if it exists here by
    /// registration alone.
    pub(super) exporters: Vec<(ClusterName, ClusterLiveness)>,
}

/// How a service is addressed here.
#[derive(Debug, Clone)]
pub(super) enum Addressing {
    /// By one virtual IP per family; none if no place was left for it.
    Virtual(Option<Addresses>),
    /// By its endpoints, cluster by cluster.
    Headless(Vec<ClusterEndpoints>),
}

/// Addresses of one thing, at most one per family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Addresses {
    pub(super) ipv4: Option<Ipv4Addr>,
    pub(super) ipv6: Option<Ipv6Addr>,
}

impl Addresses {
    pub(super) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let ipv4 = self.ipv4.map(IpAddr::V4);
        ipv4.into_iter().chain(self.ipv6.map(IpAddr::V6))
    }
}

/// The endpoints of a headless service in one cluster.
#[derive(Debug, Clone)]
pub(super) struct ClusterEndpoints {
    pub(super) cluster: ClusterName,
    /// None if they are not known.
    pub(super) known: Option<Arc<[HeadlessAddress]>>,
}

/// An endpoint of a headless service as names answer with it.
#[derive(Debug, Clone)]
pub(super) struct HeadlessAddress {
    /// Its host name, else its id.
    pub(super) label: String,
    pub(super) weight: u16,
    /// What it answers with, or why it does not.
    pub(super) outcome: Result<Addresses, LeftOut>,
}

/// Why an endpoint does not stand in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    NotReady,
    Withdrawn,
    NoAddress,
    NoPlace,
}

impl LeftOut {
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::NotReady => "it is not ready",
            Self::Withdrawn => "its cluster's lease has lapsed",
            Self::NoAddress => "its workload has no address of a family that is given out",
            Self::NoPlace => "no virtual IP is left for it",
        }
    }
}

/// What can be said of a headless service as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// There is at least one endpoint to answer with.
    Some,
    /// All clusters are known, and none has one.
    None,
    /// No known cluster has one to answer with, and some are not known or lack an address.
    Unknown,
}

impl Entry {
    /// The ports that have a name, hence a SRV record.
    pub(super) fn named_ports(&self) -> impl Iterator<Item = (&str, &ServicePort)> {
        self.ports
            .iter()
            .filter_map(|port| Some((port.name.as_ref()?.as_str(), port)))
    }

    /// What can be said of its endpoints; a virtual IP stands whatever they do.
    pub(super) fn presence(&self) -> Presence {
        let Addressing::Headless(clusters) = &self.addressing else {
            return Presence::Some;
        };
        let answers = |c: &ClusterEndpoints| c.answering().next().is_some();
        if clusters.iter().any(answers) {
            Presence::Some
        } else if self.is_partly_unknown() || self.lacks_places() {
            Presence::Unknown
        } else {
            Presence::None
        }
    }

    /// Whether a virtual IP is missing, for itself or for one of its endpoints.
    pub(super) fn lacks_places(&self) -> bool {
        match &self.addressing {
            Addressing::Virtual(addresses) => addresses.is_none(),
            Addressing::Headless(clusters) => {
                let lacks = |endpoint: &HeadlessAddress| endpoint.outcome == Err(LeftOut::NoPlace);
                clusters
                    .iter()
                    .any(|c| c.known.as_deref().unwrap_or_default().iter().any(lacks))
            }
        }
    }

    /// Whether the endpoints of some cluster are not known.
    pub(super) fn is_partly_unknown(&self) -> bool {
        match &self.addressing {
            Addressing::Virtual(_) => false,
            Addressing::Headless(clusters) => clusters.iter().any(|c| c.known.is_none()),
        }
    }

    /// Its endpoints in one cluster of the scope.
    pub(super) fn endpoints_in(&self, cluster: &[u8]) -> Option<&ClusterEndpoints> {
        let Addressing::Headless(clusters) = &self.addressing else {
            return None;
        };
        clusters
            .iter()
            .find(|c| c.cluster.as_str().as_bytes() == cluster)
    }
}

impl ClusterEndpoints {
    /// Those that stand in answers.
    pub(super) fn answering(&self) -> impl Iterator<Item = (&HeadlessAddress, Addresses)> {
        let known = self.known.as_deref().unwrap_or_default();
        known
            .iter()
            .filter_map(|endpoint| Some((endpoint, endpoint.outcome.ok()?)))
    }

    /// Whether an endpoint of this name would stand in answers had it a virtual IP.
    pub(super) fn lacks_place(&self, label: &[u8]) -> bool {
        self.known
            .as_deref()
            .unwrap_or_default()
            .iter()
            .any(|endpoint| {
                endpoint.label.as_bytes() == label && endpoint.outcome == Err(LeftOut::NoPlace)
            })
    }
}
