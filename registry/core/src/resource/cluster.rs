//! What is said of a member cluster.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GatewayName, HostPort, Namespace, Percent, RegionName};

/// Whether a cluster's gateways may vote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClusterRole {
    /// Eligible: trusted with the log.
    Voter,
    /// Holds a replica, has no vote.
    #[default]
    Member,
    /// Votes, so that a federation of two survives the loss of one; leads only when nobody else
    /// can, and offers no service.
    Witness,
}

impl ClusterRole {
    /// Whether its gateways may vote, and so are trusted with the log.
    pub fn votes(self) -> bool {
        match self {
            Self::Voter | Self::Witness => true,
            Self::Member => false,
        }
    }
}

/// What part a gateway has in the registry. It never changes: a vote must outlive who gave it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GatewayRole {
    /// Keeps the log on its disk, and votes if its cluster's role lets it.
    #[default]
    Member,
    /// Follows the log without a vote, and keeps nothing of it on a disk.
    Follower,
}

impl GatewayRole {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Follower => "follower",
        }
    }
}

/// Whether a cluster carries traffic between two others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RelayConsent {
    /// It does, within its quota.
    Allow,
    /// It does not.
    #[default]
    Deny,
}

/// Where a cluster answers for services, one address per virtual-IP index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualIpRanges {
    /// IPv4 range; its first address plus the index is a service's virtual IP.
    /// Indexes end at the middle: the upper half is for what this cluster's DNS
    /// gives out by itself.
    #[schemars(with = "String")]
    pub ipv4: ipnet::Ipv4Net,
    /// IPv6 range; without one, AAAA questions get NODATA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ipv6: Option<ipnet::Ipv6Net>,
}

/// How other gateways reach a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayAddress {
    /// The gateway's name.
    pub name: GatewayName,
    /// Its tunnel address (UDP); none if it can only dial out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub tunnel: Option<HostPort>,
    /// Its API address (TCP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub api: Option<HostPort>,
}

/// What an administrator says of a member cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// Its region.
    pub region: RegionName,
    /// Whether its gateways may vote.
    #[serde(default)]
    pub role: ClusterRole,
    /// Whether it relays between two others.
    #[serde(default)]
    pub relay: RelayConsent,
    /// Takes no new traffic from other clusters while set.
    #[serde(default)]
    pub drain: bool,
    /// Of what other clusters' workloads ask of a service, it serves at most so many percent, for as
    /// long as another cluster can serve the rest; without one, whatever falls to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_share: Option<Percent>,
    /// Namespaces it may export from; empty means all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub namespaces: BTreeSet<Namespace>,
    /// Its virtual-IP ranges.
    #[serde(rename = "virtualIPs")]
    pub virtual_ips: VirtualIpRanges,
}
