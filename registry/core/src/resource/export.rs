//! A cluster's offer of a service to others.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration;
use crate::{ClusterName, Namespace, ServiceAccount, ServicePort, ServiceType};

/// Which clusters may use an exported service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExportTo {
    /// No other cluster.
    #[default]
    Nobody,
    /// Every member.
    Everyone,
    /// The named ones.
    Clusters(BTreeSet<ClusterName>),
}

impl ExportTo {
    /// Whether `cluster` may use the service.
    pub fn admits(&self, cluster: &ClusterName) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everyone => true,
            Self::Clusters(named) => named.contains(cluster),
        }
    }
}

impl Serialize for ExportTo {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nobody => to.collect_seq::<[&str; 0]>([]),
            Self::Everyone => to.collect_seq(["*"]),
            Self::Clusters(named) => to.collect_seq(named),
        }
    }
}

impl<'de> Deserialize<'de> for ExportTo {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        if names.iter().any(|name| name == "*") {
            return match names.len() {
                1 => Ok(Self::Everyone),
                _ => Err(serde::de::Error::custom(
                    "'*' stands alone: it already means every cluster",
                )),
            };
        }
        let named: BTreeSet<ClusterName> = names
            .into_iter()
            .map(|name| name.parse().map_err(serde::de::Error::custom))
            .collect::<Result<_, _>>()?;
        Ok(if named.is_empty() {
            Self::Nobody
        } else {
            Self::Clusters(named)
        })
    }
}

impl JsonSchema for ExportTo {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ExportTo".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "array", "items": { "type": "string" } })
    }
}

/// What to do with a cluster's endpoints once its lease has lapsed.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnStale {
    /// Go on with the last known set while a tunnel is up.
    #[default]
    Serve,
    /// Start nothing new, finish what runs.
    Drain,
    /// Stop at once.
    Fail,
}

/// DNS settings of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsSpec {
    /// TTL of address answers. Lower: clients notice changes sooner and ask more often. Default 5s.
    #[serde(with = "duration", default = "default_ttl")]
    #[schemars(with = "String")]
    pub ttl: Duration,
}

impl Default for DnsSpec {
    fn default() -> Self {
        Self { ttl: default_ttl() }
    }
}

fn default_ttl() -> Duration {
    Duration::from_secs(5)
}

/// An exported service, as its cluster offers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportSpec {
    /// One virtual IP, or headless.
    #[serde(default, rename = "type")]
    pub service_type: ServiceType,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// `["*"]`, or names of clusters; left out: nobody.
    #[serde(default)]
    pub export_to: ExportTo,
    /// Who may serve it, as `ns/<namespace>/sa/<account>`; left out: `ns/<namespace>/sa/<service>`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub identities: BTreeSet<ServingIdentity>,
    /// What a lapsed lease means for its endpoints.
    #[serde(default)]
    pub on_stale: OnStale,
    /// DNS settings.
    #[serde(default)]
    pub dns: DnsSpec,
}

/// An identity relative to a cluster's trust domain: `ns/<namespace>/sa/<account>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServingIdentity {
    /// The namespace.
    pub namespace: Namespace,
    /// The service account.
    pub account: ServiceAccount,
}

impl TryFrom<String> for ServingIdentity {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>()[..] {
            ["ns", namespace, "sa", account] => Ok(Self {
                namespace: namespace.parse().map_err(|e| format!("{e}"))?,
                account: account.parse().map_err(|e| format!("{e}"))?,
            }),
            _ => Err(format!(
                "{text:?} is not of the form ns/<namespace>/sa/<account>"
            )),
        }
    }
}

impl From<ServingIdentity> for String {
    fn from(id: ServingIdentity) -> String {
        format!("ns/{}/sa/{}", id.namespace, id.account)
    }
}

impl JsonSchema for ServingIdentity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ServingIdentity".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^ns/[^/]+/sa/[^/]+$" })
    }
}
