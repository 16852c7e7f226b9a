//! What zones are built from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_model::{
    ClusterName, EndpointId, Federation, Health, Hostname, ServiceKey, ServicePort, ServiceType,
    VirtualIpRanges,
};

use super::{Name, Zones};

/// Which address records this gateway gives out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AddressFamilies {
    /// A alone: AAAA is NODATA even where there is an IPv6 range.
    Ipv4,
    /// A, and AAAA where there is an IPv6 range.
    #[default]
    DualStack,
}

/// Whether names answer with a cluster's endpoints of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// They do.
    #[default]
    Listed,
    /// They do not: the cluster's lease has lapsed, and the path or the
    /// service's `onStale` lets it go.
    Withdrawn,
}

/// What is known of one service in one cluster, without its endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterLiveness {
    /// Endpoints that take work.
    pub ready: u32,
    /// Whether names answer with them.
    pub standing: Standing,
}

/// An endpoint of a headless service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadlessEndpoint {
    /// New at each start; its text is the host name of an endpoint without one.
    pub id: EndpointId,
    /// Its host name.
    pub hostname: Option<Hostname>,
    /// The workload's own address: what names answer with in its own cluster. Other
    /// clusters answer with an address that [`LocalVips`](super::LocalVips) gives.
    pub workload: Option<IpAddr>,
    /// Share of traffic beside its peers.
    pub weight: u32,
    /// Names answer with the ready ones alone.
    pub health: Health,
}

/// A service that exists by registration in this cluster, exported or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalService {
    /// How it is addressed.
    pub service_type: ServiceType,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// What this gateway knows of liveness, as far as names need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Liveness {
    /// Which view this is: a later one has a higher number.
    pub generation: u64,
    /// Per service and cluster. Where there is no entry, the cluster is listed.
    pub clusters: BTreeMap<(ServiceKey, ClusterName), ClusterLiveness>,
    /// Endpoints of headless services. No entry means that they are not known,
    /// an empty one that there are none.
    pub endpoints: BTreeMap<(ServiceKey, ClusterName), Vec<HeadlessEndpoint>>,
    /// Services of this cluster that exist by registration.
    pub local: BTreeMap<ServiceKey, LocalService>,
}

/// Everything that [`Zones::build`] takes but the addresses it hands out.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The replicated state, as applied here.
    pub federation: &'a Federation,
    /// Liveness, as merged here.
    pub liveness: &'a Liveness,
    /// This gateway's cluster.
    pub cluster: &'a ClusterName,
    /// Its virtual-IP ranges.
    pub ranges: &'a VirtualIpRanges,
    /// Which address records to give out.
    pub families: AddressFamilies,
    /// Our own zone: `weft.internal`.
    pub zone: &'a Name,
    /// Addresses at which clients reach this gateway's DNS, for `ns.<zone>`.
    pub servers: &'a [IpAddr],
    /// The zones served so far. Endpoints that they know and `liveness` does not
    /// know any longer stay: the last known set is better than none.
    pub previous: Option<&'a Zones>,
}
