//! What the log says: entries, the commands in them, and what came of each.

mod target;

use std::fmt;

use serde::Serialize;

use crate::sha256;
use crate::{
    Advance, ClampId, ClusterName, ClusterRole, ClusterSpec, ExportSpec, FederationDomain,
    FormatLevel, GatewayName, GatewayRole, Generation, HostPort, Index, Namespace, NodeId, Refusal,
    RegionName, RelayConsent, ReleaseEnd, ReleaseSpec, RequestId, RoleBindingSpec, RouteSpec,
    ServiceKey, ServiceName, SignerEpoch, TokenId, TrafficPolicySpec, UserName, WallTime,
    WorkloadEntrySpec,
};

/// An Ed25519 public key (RFC 8032), 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PublicKey(pub [u8; 32]);

impl TokenId {
    /// The id of the token whose public key this is.
    pub fn of(key: &PublicKey) -> Self {
        let hash = sha256::digest(&key.0);
        Self(std::array::from_fn(|at| hash[at]))
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Founder => f.write_str("the founder"),
            Self::Gateway(node, _) => write!(f, "gateway {node}"),
            Self::Operator(user, _) => write!(f, "operator {user}"),
            Self::Token(id) => write!(f, "the holder of token {id}"),
        }
    }
}

/// Who wrote an entry, and with which of its keys it signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Author {
    /// The first entry vouches for itself; joiners check it by the hash in their token.
    Founder,
    /// A gateway, for what its cluster owns, and the leader for what it observes.
    Gateway(NodeId, SignerEpoch),
    /// An operator, for the federation's intent.
    Operator(UserName, SignerEpoch),
    /// A joiner that holds a token's secret.
    Token(TokenId),
}

/// One log entry, decoded and with its signature already judged.
///
/// The signature covers `request`, `author`, `generation` and `command` as they
/// stand in the log; `time` is the leader's stamp and is not signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Makes a retried proposal apply once.
    pub request: RequestId,
    /// Who wrote it.
    pub author: Author,
    /// The operator on whose order a gateway wrote it, for the audit trail.
    pub by_order_of: Option<UserName>,
    /// The owner's monotonic count; see [`Generation`].
    pub generation: Generation,
    /// The leader's wall clock when it proposed the entry.
    pub time: WallTime,
    /// Whether the signature holds under the key that the state records for the author.
    pub authentic: bool,
    /// What is to be done.
    pub command: Command,
}

/// The first entry: what the federation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The federation's domain.
    pub domain: FederationDomain,
    /// The founder's name, role and ranges.
    pub cluster: ClusterName,
    /// What is said of it; its role is always voter.
    pub spec: ClusterSpec,
    /// The founder's CA certificates, DER.
    pub bundle: Vec<Vec<u8>>,
    /// The operators' CA certificates, DER; its key belongs to the founder.
    pub operators: Vec<Vec<u8>>,
    /// The first gateway.
    pub gateway: GatewayRecord,
    /// The first administrator and its signing key.
    pub admin: (UserName, PublicKey),
}

/// What a gateway says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GatewayRecord {
    /// Its name within its cluster.
    pub name: GatewayName,
    /// Where peers dial it (UDP); none if it only dials out.
    pub tunnel: Option<HostPort>,
    /// Where its API answers (TCP).
    pub api: Option<HostPort>,
    /// The key it signs entries with.
    pub key: PublicKey,
    /// The highest format level it understands.
    pub format: FormatLevel,
    /// Its part in the registry, settled when it joins.
    pub role: GatewayRole,
}

/// What a token lets its holder do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenGrant {
    /// The token's public key.
    pub key: PublicKey,
    /// The cluster it makes a member, or to which it adds a gateway.
    pub cluster: ClusterName,
    /// The region of a new cluster.
    pub region: RegionName,
    /// The role of a new cluster.
    pub role: ClusterRole,
    /// The last moment at which it may be redeemed, by the leader's stamp.
    pub expires: WallTime,
}

/// The use of a token: a new cluster, or one more gateway for its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redemption {
    /// Which token.
    pub token: TokenId,
    /// The joiner's CA certificates, DER; for a further gateway those the cluster already has.
    pub bundle: Vec<Vec<u8>>,
    /// What an administrator would say of the cluster; region and role come from the token.
    pub spec: ClusterSpec,
    /// The joining gateway.
    pub gateway: GatewayRecord,
}

/// A signer's next key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignerRecord {
    /// Whose key: an operator's. A gateway's key travels in its record.
    pub user: UserName,
    /// Counted from 1 per user, without gaps.
    pub epoch: SignerEpoch,
    /// The key.
    pub key: PublicKey,
}

/// Everything the federation can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The first entry.
    Found(Box<Founding>),
    /// An administrator describes a member.
    PutCluster(ClusterName, Box<ClusterSpec>),
    /// An administrator evicts a member, or a member leaves: its records go, its trust domain never returns.
    RemoveCluster(ClusterName),
    /// An administrator grants a token.
    GrantToken(TokenGrant),
    /// An administrator withdraws one.
    RevokeToken(TokenId),
    /// A joiner uses one.
    RedeemToken(Box<Redemption>),
    /// A gateway changes its own addresses, key or format.
    PutGateway(GatewayRecord),
    /// A cluster or an administrator retires a gateway.
    RemoveGateway(NodeId),
    /// The founder's CA vouches for an operator's next key.
    RecordSigner(SignerRecord),
    /// A cluster publishes its CA certificates (the whole list).
    PutBundle(ClusterName, Vec<Vec<u8>>),
    /// A cluster offers a service.
    PutExport(ClusterName, ServiceKey, Box<ExportSpec>),
    /// A cluster withdraws its offer.
    DeleteExport(ClusterName, ServiceKey),
    /// A cluster registers a server without a sidecar.
    PutWorkloadEntry(ClusterName, Namespace, ServiceName, Box<WorkloadEntrySpec>),
    /// A cluster removes one.
    DeleteWorkloadEntry(ClusterName, Namespace, ServiceName),
    /// An administrator gives a role.
    PutRoleBinding(ServiceName, RoleBindingSpec),
    /// An administrator takes it back.
    DeleteRoleBinding(ServiceName),
    /// An operator says how requests to services of a namespace are answered.
    PutRoute(Namespace, ServiceName, Box<RouteSpec>),
    /// An operator takes it back.
    DeleteRoute(Namespace, ServiceName),
    /// An operator says how callers treat a service's endpoints.
    PutTrafficPolicy(Namespace, ServiceName, Box<TrafficPolicySpec>),
    /// An operator takes it back.
    DeleteTrafficPolicy(Namespace, ServiceName),
    /// An operator starts a release.
    PutRelease(ServiceKey, Box<ReleaseSpec>),
    /// An operator promotes it.
    AdvanceRelease(ServiceKey, Advance),
    /// An operator keeps it from being promoted.
    PauseRelease(ServiceKey),
    /// An operator lets it be promoted again, and lifts these clamps.
    ResumeRelease(ServiceKey, Vec<ClampId>),
    /// An operator takes the canary's traffic away.
    EndRelease(ServiceKey, ReleaseEnd),
    /// An operator removes one that has ended.
    DeleteRelease(ServiceKey),
    /// The leader saw no renewal of a cluster's lease for its whole length.
    LapseLease(ClusterName),
    /// The leader saw it renewed again.
    ReturnLease(ClusterName),
    /// Every member understands this format level: records of it may be written from now on.
    RaiseFormat(FormatLevel),
}

/// The key of a record that commands change, for events and for `get`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A member.
    Cluster(ClusterName),
    /// A gateway.
    Node(NodeId),
    /// One cluster's offer of a service.
    Export(ServiceKey, ClusterName),
    /// A derived service.
    Service(ServiceKey),
    /// A server without a sidecar.
    WorkloadEntry(ClusterName, Namespace, ServiceName),
    /// A role binding.
    RoleBinding(ServiceName),
    /// A route.
    Route(ServiceKey),
    /// A traffic policy.
    TrafficPolicy(ServiceKey),
    /// A release.
    Release(ServiceKey),
    /// A token.
    Token(TokenId),
    /// An operator's signing key.
    Signer(UserName),
}

/// What changed at an index, for watchers. An entry has none or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The record exists with a new value.
    Put(Key),
    /// The record is gone.
    Deleted(Key),
    /// A cluster's lease lapsed (true) or returned (false).
    Lease(ClusterName, bool),
    /// The format level rose.
    Format(FormatLevel),
}

/// What came of an entry: the position at which it took effect, or why it did not.
pub type Outcome = Result<Index, Refusal>;

impl Command {
    /// The format level from which members understand the command.
    pub fn level(&self) -> FormatLevel {
        match self {
            Self::RedeemToken(joiner) if joiner.gateway.role == GatewayRole::Follower => {
                spec_level(&joiner.spec).max(FormatLevel::FOLLOWERS)
            }
            // Whatever role they say, it becomes the token's, or a founder's: builds in use take
            // them with any at every level, and what one refuses and another takes divides them.
            Self::RedeemToken(joiner) => spec_level(&joiner.spec),
            Self::Found(founding) => spec_level(&founding.spec),
            Self::PutCluster(_, spec) => spec_level(spec).max(role_level(spec.role)),
            Self::GrantToken(grant) => role_level(grant.role),
            Self::PutRoute(..)
            | Self::DeleteRoute(..)
            | Self::PutTrafficPolicy(..)
            | Self::DeleteTrafficPolicy(..) => FormatLevel::ROUTES,
            Self::EndRelease(_, ReleaseEnd::StepBack { .. }) => FormatLevel::STEPS_BACK,
            Self::PutRelease(..)
            | Self::AdvanceRelease(..)
            | Self::PauseRelease(_)
            | Self::ResumeRelease(..)
            | Self::EndRelease(..)
            | Self::DeleteRelease(_) => FormatLevel::RELEASES,
            _ => FormatLevel::FIRST,
        }
    }

    /// The command in two words, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Found(_) => "found",
            Self::PutCluster(..) => "put cluster",
            Self::RemoveCluster(_) => "remove cluster",
            Self::GrantToken(_) => "grant token",
            Self::RevokeToken(_) => "revoke token",
            Self::RedeemToken(_) => "redeem token",
            Self::PutGateway(_) => "put gateway",
            Self::RemoveGateway(_) => "remove gateway",
            Self::RecordSigner(_) => "record signer",
            Self::PutBundle(..) => "put bundle",
            Self::PutExport(..) => "put export",
            Self::DeleteExport(..) => "delete export",
            Self::PutWorkloadEntry(..) => "put workload entry",
            Self::DeleteWorkloadEntry(..) => "delete workload entry",
            Self::PutRoleBinding(..) => "put role binding",
            Self::DeleteRoleBinding(_) => "delete role binding",
            Self::PutRoute(..) => "put route",
            Self::DeleteRoute(..) => "delete route",
            Self::PutTrafficPolicy(..) => "put traffic policy",
            Self::DeleteTrafficPolicy(..) => "delete traffic policy",
            Self::PutRelease(..) => "put release",
            Self::AdvanceRelease(..) => "advance release",
            Self::PauseRelease(_) => "pause release",
            Self::ResumeRelease(..) => "resume release",
            Self::EndRelease(..) => "end release",
            Self::DeleteRelease(_) => "delete release",
            Self::LapseLease(_) => "lapse lease",
            Self::ReturnLease(_) => "return lease",
            Self::RaiseFormat(_) => "raise format",
        }
    }
}

/// The level of what a spec says, without its role.
fn spec_level(spec: &ClusterSpec) -> FormatLevel {
    match (spec.max_share, spec.relay) {
        (Some(_), _) => FormatLevel::CEILINGS,
        (None, RelayConsent::Allow) => FormatLevel::RELAYS,
        (None, RelayConsent::Deny) => FormatLevel::FIRST,
    }
}

fn role_level(role: ClusterRole) -> FormatLevel {
    match role {
        ClusterRole::Witness => FormatLevel::WITNESSES,
        ClusterRole::Voter | ClusterRole::Member => FormatLevel::FIRST,
    }
}
