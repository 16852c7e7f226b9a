//! Services: their keys, ports and protocols, and the derived record everyone sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ClusterName, Federation, Index, NameError, Namespace, OnStale, PortName, ServiceAccount,
    ServiceName, SpiffeId, SpiffePath, VirtualIpIndex,
};

/// A service's name in the federation: `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: Namespace,
    /// The name within it.
    pub name: ServiceName,
}

impl ServiceKey {
    /// Joins the two parts.
    pub fn new(namespace: Namespace, name: ServiceName) -> Self {
        Self { namespace, name }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.namespace, self.name))
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ServiceKey {
    type Err = NameError;

    /// Parses `namespace/name`.
    fn from_str(key: &str) -> Result<Self, NameError> {
        let (namespace, name) = key.split_once('/').ok_or(NameError::Empty)?;
        Ok(Self {
            namespace: namespace.parse()?,
            name: name.parse()?,
        })
    }
}

impl TryFrom<String> for ServiceKey {
    type Error = NameError;
    fn try_from(key: String) -> Result<Self, NameError> {
        key.parse()
    }
}

impl From<ServiceKey> for String {
    fn from(key: ServiceKey) -> String {
        key.to_string()
    }
}

/// How a service is addressed (MCS `ServiceImport.spec.type`).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
pub enum ServiceType {
    /// One virtual IP for the service.
    #[default]
    ClusterSetIP,
    /// No virtual IP: DNS answers with the endpoints.
    Headless,
}

/// The transport below a port.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
pub enum TransportProtocol {
    /// TCP.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
}

/// What is spoken on a port (Kubernetes `appProtocol`).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AppProtocol {
    /// Opaque bytes: connections are balanced.
    #[default]
    Tcp,
    /// HTTP/1.1: requests are balanced.
    Http,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
}

/// A port of a service.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort {
    /// Its name; without one it has no SRV record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PortName>,
    /// The transport.
    #[serde(default)]
    pub protocol: TransportProtocol,
    /// What is spoken on it.
    #[serde(default)]
    pub app_protocol: AppProtocol,
    /// The port clients connect to.
    pub port: NonZeroU16,
}

/// A disagreement between exports of one service (MCS condition reasons, verbatim).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Conflict {
    /// Two exports give one port name or number different meanings.
    PortConflict,
    /// One is headless, another is not.
    TypeConflict,
}

/// What one cluster contributes to a [`Service`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exporter {
    /// When this export was first accepted: the lower one wins conflicts.
    pub precedence: Index,
    /// The ports of the merged service that this cluster serves.
    pub ports: BTreeSet<NonZeroU16>,
    /// Who may serve it there, in that cluster's trust domain.
    pub identities: BTreeSet<(Namespace, ServiceAccount)>,
    /// Which clusters may use it: all of them, or the named ones.
    pub export_to: crate::ExportTo,
    /// What to do with that cluster's endpoints once its lease has lapsed.
    pub on_stale: OnStale,
    /// How this export disagrees with the merged service.
    pub conflicts: BTreeSet<Conflict>,
}

/// A service of the federation, derived from all exports of its name by the
/// MCS rules (KEP-1645); nobody writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub key: ServiceKey,
    /// Its place in every cluster's virtual-IP range; headless services have one as well,
    /// so that a change of type needs no new one.
    pub index: VirtualIpIndex,
    /// How it is addressed: the oldest export decides.
    pub service_type: ServiceType,
    /// The union of all exports' ports, merged by name, then by number.
    pub ports: Vec<ServicePort>,
    /// TTL of its DNS answers: the oldest export decides.
    pub ttl: Duration,
    /// The clusters that export it.
    pub exporters: BTreeMap<ClusterName, Exporter>,
    /// The log position of the last change to this record.
    pub changed: Index,
}

impl Service {
    /// Whether `cluster` may see and use this service. An exporter imports its own.
    pub fn is_visible_to(&self, cluster: &ClusterName) -> bool {
        self.exporters
            .iter()
            .any(|(exporter, e)| exporter == cluster || e.export_to.admits(cluster))
    }

    /// Whether this is who an endpoint of the service may prove to be: a workload
    /// with an identity that the export of its own cluster names, or a gateway of
    /// that cluster that stands in for one. The callers' check on the inner handshake.
    pub fn accepts(&self, identity: &SpiffeId, federation: &Federation) -> bool {
        let Some((cluster, _)) = federation.cluster_of(&identity.trust_domain) else {
            return false;
        };
        let Some(exporter) = self.exporters.get(cluster) else {
            return false;
        };
        let named = |namespace: &Namespace, account: &ServiceAccount| {
            let pair = (namespace.clone(), account.clone());
            exporter.identities.contains(&pair)
        };
        match &identity.path {
            SpiffePath::Workload { namespace, account } => named(namespace, account),
            SpiffePath::StandIn {
                gateway,
                namespace,
                account,
            } => named(namespace, account) && federation.has_gateway(cluster, gateway),
            SpiffePath::Gateway(_) | SpiffePath::User(_) => false,
        }
    }

    /// The port with this number.
    pub fn port(&self, number: NonZeroU16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.port == number)
    }
}
