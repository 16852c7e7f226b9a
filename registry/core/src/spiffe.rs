//! SPIFFE ids in the forms weft uses, parsed to the letter of the SPIFFE-ID
//! specification §2: scheme, trust domain, path; no port, query, fragment,
//! user info or percent-encoding; at most 2048 bytes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    ClusterName, FederationDomain, GatewayName, NameError, Namespace, ServiceAccount, UserName,
};

/// Why a SPIFFE id or trust domain was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Not `spiffe://…`.
    #[error("the scheme must be spiffe://")]
    Scheme,
    /// Longer than 2048 bytes.
    #[error("{0} bytes long, at most 2048 are allowed")]
    TooLong(usize),
    /// The trust domain is empty, too long, or has a character outside `[a-z0-9.-_]`.
    #[error("{0:?} is not a trust domain: 1 to 255 of a-z, 0-9, '.', '-', '_'")]
    TrustDomain(String),
    /// The path has an empty, `.` or `..` segment, a trailing slash or a foreign character.
    #[error("{0:?} is not a SPIFFE path")]
    Path(String),
    /// The path is valid SPIFFE but none of the forms weft issues.
    #[error("{0:?} is none of /ns/…/sa/…, /gateway/…, /gateway/…/for/ns/…/sa/…, /user/…")]
    Form(String),
    /// A name within the path was refused.
    #[error("in the path: {0}")]
    Name(#[from] NameError),
}

/// A SPIFFE trust domain. Each cluster has its own; operators have theirs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Checks and takes `domain`.
    pub fn new(domain: &str) -> Result<Self, SpiffeError> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(allowed) {
            return Err(SpiffeError::TrustDomain(domain.chars().take(300).collect()));
        }
        Ok(Self(domain.into()))
    }

    /// The trust domain of a cluster: `<cluster>.<federation domain>`.
    pub fn of_cluster(cluster: &ClusterName, federation: &FederationDomain) -> Self {
        Self(format!("{cluster}.{federation}").into())
    }

    /// The operators' trust domain: the federation domain itself.
    pub fn of_operators(federation: &FederationDomain) -> Self {
        Self(federation.as_str().into())
    }

    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeError;
    fn from_str(domain: &str) -> Result<Self, SpiffeError> {
        Self::new(domain)
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = SpiffeError;
    fn try_from(domain: String) -> Result<Self, SpiffeError> {
        Self::new(&domain)
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> String {
        domain.0.as_ref().to_owned()
    }
}

/// What an identity is for: the path of a SPIFFE id, in the forms weft issues.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpiffePath {
    /// `/ns/<namespace>/sa/<service account>`: Istio's form, Kubernetes and VM alike.
    Workload {
        /// The namespace.
        namespace: Namespace,
        /// The service account.
        account: ServiceAccount,
    },
    /// `/gateway/<name>`.
    Gateway(GatewayName),
    /// `/gateway/<name>/for/ns/<namespace>/sa/<account>`: a gateway that fronts a server without a sidecar.
    StandIn {
        /// The gateway.
        gateway: GatewayName,
        /// The namespace of the workload it fronts.
        namespace: Namespace,
        /// The service account of the workload it fronts.
        account: ServiceAccount,
    },
    /// `/user/<name>`: a person or a CI job.
    User(UserName),
}

impl fmt::Display for SpiffePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload { namespace, account } => write!(f, "/ns/{namespace}/sa/{account}"),
            Self::Gateway(gateway) => write!(f, "/gateway/{gateway}"),
            Self::StandIn {
                gateway,
                namespace,
                account,
            } => {
                write!(f, "/gateway/{gateway}/for/ns/{namespace}/sa/{account}")
            }
            Self::User(user) => write!(f, "/user/{user}"),
        }
    }
}

impl FromStr for SpiffePath {
    type Err = SpiffeError;

    fn from_str(path: &str) -> Result<Self, SpiffeError> {
        let segments: Vec<&str> = path
            .strip_prefix('/')
            .ok_or_else(|| SpiffeError::Path(path.to_owned()))?
            .split('/')
            .collect();
        let lawful = |s: &&str| {
            !matches!(*s, "" | "." | "..")
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        if !segments.iter().all(lawful) {
            return Err(SpiffeError::Path(path.to_owned()));
        }
        Ok(match segments[..] {
            ["ns", namespace, "sa", account] => Self::Workload {
                namespace: namespace.parse()?,
                account: account.parse()?,
            },
            ["gateway", gateway] => Self::Gateway(gateway.parse()?),
            ["gateway", gateway, "for", "ns", namespace, "sa", account] => Self::StandIn {
                gateway: gateway.parse()?,
                namespace: namespace.parse()?,
                account: account.parse()?,
            },
            ["user", user] => Self::User(user.parse()?),
            _ => return Err(SpiffeError::Form(path.to_owned())),
        })
    }
}

/// A whole SPIFFE id: `spiffe://<trust domain><path>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    /// Whose CA vouches for it.
    pub trust_domain: TrustDomain,
    /// What it names there.
    pub path: SpiffePath,
}

impl SpiffeId {
    /// A workload's id.
    pub fn workload(
        trust_domain: TrustDomain,
        namespace: Namespace,
        account: ServiceAccount,
    ) -> Self {
        Self {
            trust_domain,
            path: SpiffePath::Workload { namespace, account },
        }
    }

    /// A gateway's id.
    pub fn gateway(trust_domain: TrustDomain, gateway: GatewayName) -> Self {
        Self {
            trust_domain,
            path: SpiffePath::Gateway(gateway),
        }
    }

    /// An operator's id, in the operators' trust domain.
    pub fn user(federation: &FederationDomain, user: UserName) -> Self {
        Self {
            trust_domain: TrustDomain::of_operators(federation),
            path: SpiffePath::User(user),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(id: &str) -> Result<Self, SpiffeError> {
        if id.len() > 2048 {
            return Err(SpiffeError::TooLong(id.len()));
        }
        let rest = id.strip_prefix("spiffe://").ok_or(SpiffeError::Scheme)?;
        let slash = rest
            .find('/')
            .ok_or_else(|| SpiffeError::Path(String::new()))?;
        let (domain, path) = rest.split_at(slash);
        Ok(Self {
            trust_domain: domain.parse()?,
            path: path.parse()?,
        })
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = SpiffeError;
    fn try_from(id: String) -> Result<Self, SpiffeError> {
        id.parse()
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> String {
        id.to_string()
    }
}
