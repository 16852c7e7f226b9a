//! What a name, and the address it answers with, stands for.

use std::fmt;

use weft_model::{ClusterName, EndpointId, RegionName, ServiceKey};

/// Which part of the federation a name speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All of it: `….svc.clusterset.local`.
    Federation,
    /// One cluster: `….svc.<cluster>.cluster.weft.internal`.
    Cluster(ClusterName),
    /// One region: `….svc.<region>.region.weft.internal`.
    Region(RegionName),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Federation => f.write_str("the federation"),
            Self::Cluster(cluster) => write!(f, "cluster {cluster}"),
            Self::Region(region) => write!(f, "region {region}"),
        }
    }
}

/// What connections to one of our addresses are for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Any endpoint of a service within a scope.
    Service(ServiceKey, Scope),
    /// One endpoint of a headless service in another cluster.
    Endpoint(ServiceKey, ClusterName, EndpointId),
}

impl Target {
    /// The service meant.
    pub fn service(&self) -> &ServiceKey {
        match self {
            Self::Service(key, _) | Self::Endpoint(key, ..) => key,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key, scope) => write!(f, "{key} in {scope}"),
            Self::Endpoint(key, cluster, id) => write!(f, "endpoint {id} of {key} in {cluster}"),
        }
    }
}
