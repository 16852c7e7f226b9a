//! The replicated state: what every gateway holds the same at the same index.
//!
//! This file is its shape and how it is read; [`Federation::apply`] and the
//! modules below it are the only way in which it changes.

mod apply;
mod author;
mod entries;
mod exports;
mod founding;
mod gateways;
mod leases;
mod membership;
mod merge;
mod parts;
mod releases;
mod requests;
mod roles;
mod routes;
mod tokens;
mod virtual_ip;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::Serialize;

use crate::{
    Author, ClusterName, ClusterSpec, ExportSpec, FederationDomain, FormatLevel, GatewayName,
    GatewayRecord, GatewayRole, Generation, Index, Namespace, NodeId, PublicKey, ReleaseRecord,
    Role, RoleBindingSpec, RouteSpec, Service, ServiceKey, ServiceName, SignerEpoch, SignerRecord,
    TokenGrant, TokenId, TrafficPolicySpec, TrustDomain, UserName, VirtualIpRanges, WallTime,
    WorkloadEntrySpec,
};

/// A member cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// What administrators say of it.
    pub spec: ClusterSpec,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// Its CA certificates, DER.
    pub bundle: Vec<Vec<u8>>,
    /// The newest accepted write of its owner, over all its records.
    pub generation: Generation,
    /// The owner's newest write of the bundle.
    pub bundle_generation: Generation,
    /// The newest of its deletions: a record that is absent returns only by a newer
    /// write, so that no old one can be replayed into its place.
    pub deleted_floor: Generation,
    /// Where in the log its lease lapsed; none while it is held.
    pub lapsed: Option<Index>,
    /// Where in the log it joined.
    pub joined: Index,
}

/// A gateway of a member cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its cluster.
    pub cluster: ClusterName,
    /// What it says of itself.
    pub gateway: GatewayRecord,
    /// Which of its keys `gateway.key` is.
    pub epoch: SignerEpoch,
    /// The owner's newest write of this record.
    pub generation: Generation,
}

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TokenState {
    /// Nobody has used it.
    Open,
    /// It made this gateway a member.
    Redeemed(NodeId),
    /// An administrator withdrew it.
    Revoked,
}

/// One cluster's offer, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportRecord {
    /// The offer.
    pub spec: ExportSpec,
    /// The owner's write that set it.
    pub generation: Generation,
    /// Where in the log the cluster first offered the service: the lower one wins conflicts.
    pub precedence: Index,
}

/// A server without a sidecar, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkloadRecord {
    /// The server.
    pub spec: WorkloadEntrySpec,
    /// The owner's write that set it.
    pub generation: Generation,
}

/// A route, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteRecord {
    /// What it says.
    pub spec: RouteSpec,
    /// Where in the log it first stood: of two that match a request equally well, the older counts.
    pub created: Index,
}

/// A traffic policy, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRecord {
    /// What it says.
    pub spec: TrafficPolicySpec,
}

pub use apply::Applied;
pub use parts::{FederationParts, PartsError};
use requests::Requests;
pub use virtual_ip::Quarantine;

pub(crate) type Table<K, V> = Arc<BTreeMap<K, V>>;

/// The federation's replicated state.
///
/// Cloning is cheap: a table is shared until one side changes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Federation {
    pub(crate) domain: Option<FederationDomain>,
    pub(crate) founder: Option<ClusterName>,
    pub(crate) operators: Vec<Vec<u8>>,
    pub(crate) format: FormatLevel,
    pub(crate) applied: Index,
    pub(crate) time: WallTime,
    pub(crate) next_node: NodeId,
    pub(crate) clusters: Table<ClusterName, Arc<Member>>,
    pub(crate) nodes: Table<NodeId, Arc<Node>>,
    pub(crate) tokens: Table<TokenId, (TokenGrant, TokenState)>,
    pub(crate) signers: Table<UserName, SignerRecord>,
    pub(crate) bindings: Table<ServiceName, RoleBindingSpec>,
    pub(crate) exports: Table<(ServiceKey, ClusterName), Arc<ExportRecord>>,
    pub(crate) entries: Table<(ClusterName, Namespace, ServiceName), Arc<WorkloadRecord>>,
    pub(crate) routes: Table<ServiceKey, Arc<RouteRecord>>,
    pub(crate) policies: Table<ServiceKey, Arc<PolicyRecord>>,
    pub(crate) releases: Table<ServiceKey, Arc<ReleaseRecord>>,
    pub(crate) services: Table<ServiceKey, Arc<Service>>,
    /// Indexes of services that are gone, until they may mean another one.
    pub(crate) quarantine: Table<ServiceKey, Quarantine>,
    /// Names of removed members: their trust domains never return.
    pub(crate) tombstones: Table<ClusterName, Index>,
    /// The newest order judged of each operator's current key.
    pub(crate) orders: Table<UserName, Generation>,
    /// The newest word of each observing cluster on the lease of another.
    pub(crate) observed: Table<(ClusterName, ClusterName), Generation>,
    pub(crate) requests: Requests,
}

impl Federation {
    /// Whether a gateway may vote, and so is trusted with the log: its cluster is, and it keeps
    /// what it votes for on a disk.
    pub fn may_vote(&self, node: NodeId) -> bool {
        let Some(node) = self.nodes.get(&node) else {
            return false;
        };
        let cluster = self.clusters.get(&node.cluster);
        let trusted = cluster.is_some_and(|it| it.spec.role.votes());
        trusted && node.gateway.role == GatewayRole::Member
    }

    /// The federation's domain; none before its first entry.
    pub fn domain(&self) -> Option<&FederationDomain> {
        self.domain.as_ref()
    }

    /// The cluster that holds the operators' CA.
    pub fn founder(&self) -> Option<&ClusterName> {
        self.founder.as_ref()
    }

    /// The operators' CA certificates, DER.
    pub fn operators(&self) -> &[Vec<u8>] {
        &self.operators
    }

    /// The last applied log position.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The leader's stamp on the last applied entry.
    pub fn time(&self) -> WallTime {
        self.time
    }

    /// The format level in force.
    pub fn format(&self) -> FormatLevel {
        self.format
    }

    /// Whether records of this level may be written. A first entry may be of any.
    pub fn allows(&self, level: FormatLevel) -> bool {
        self.domain.is_none() || level <= self.format
    }

    /// Whether a record of this level is kept unread: it is not in force, and builds without it,
    /// which cannot read the record, must come to the same state.
    pub fn keeps_unread(&self, level: FormatLevel) -> bool {
        level > FormatLevel::REFUSED_EARLY && !self.allows(level)
    }

    /// A member.
    pub fn cluster(&self, name: &ClusterName) -> Option<&Arc<Member>> {
        self.clusters.get(name)
    }

    /// All members, by name.
    pub fn clusters(&self) -> impl Iterator<Item = (&ClusterName, &Arc<Member>)> {
        self.clusters.iter()
    }

    /// The member whose trust domain this is.
    pub fn cluster_of(&self, domain: &TrustDomain) -> Option<(&ClusterName, &Arc<Member>)> {
        self.clusters
            .iter()
            .find(|(_, member)| member.trust_domain == *domain)
    }

    /// A gateway.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// All gateways, by id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Arc<Node>)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// Whether a cluster has a gateway of this name.
    pub fn has_gateway(&self, cluster: &ClusterName, name: &GatewayName) -> bool {
        self.nodes
            .values()
            .any(|node| node.cluster == *cluster && node.gateway.name == *name)
    }

    /// A derived service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// All derived services, by key.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// One cluster's offer of a service.
    pub fn export(&self, key: &ServiceKey, cluster: &ClusterName) -> Option<&Arc<ExportRecord>> {
        self.exports.get(&(key.clone(), cluster.clone()))
    }

    /// All offers, by service, then cluster.
    pub fn exports(
        &self,
    ) -> impl Iterator<Item = (&(ServiceKey, ClusterName), &Arc<ExportRecord>)> {
        self.exports.iter()
    }

    /// All servers without a sidecar, by cluster, namespace and name.
    pub fn workload_entries(
        &self,
    ) -> impl Iterator<Item = (&(ClusterName, Namespace, ServiceName), &Arc<WorkloadRecord>)> {
        self.entries.iter()
    }

    /// All routes, by namespace and name.
    pub fn routes(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<RouteRecord>)> {
        self.routes.iter()
    }

    /// The routes for a service, by name: all are in its namespace.
    pub fn routes_for<'a>(
        &'a self,
        service: &'a ServiceKey,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'a Arc<RouteRecord>)> {
        let of_namespace = in_namespace(&self.routes, &service.namespace);
        of_namespace.filter(|(name, record)| {
            let mut parents = record.spec.parent_refs.iter();
            parents.any(|parent| parent.key(&name.namespace) == *service)
        })
    }

    /// The traffic policy of a service.
    pub fn policy_for<'a>(&'a self, service: &ServiceKey) -> Option<&'a Arc<PolicyRecord>> {
        let mut of_namespace = in_namespace(&self.policies, &service.namespace);
        let found =
            of_namespace.find(|(name, policy)| policy.spec.key(&name.namespace) == *service);
        found.map(|(_, policy)| policy)
    }

    /// All traffic policies, by namespace and name.
    pub fn policies(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<PolicyRecord>)> {
        self.policies.iter()
    }

    /// All tokens, by id.
    pub fn tokens(&self) -> impl Iterator<Item = (TokenId, &(TokenGrant, TokenState))> {
        self.tokens.iter().map(|(id, token)| (*id, token))
    }

    /// All role bindings, by name.
    pub fn role_bindings(&self) -> impl Iterator<Item = (&ServiceName, &RoleBindingSpec)> {
        self.bindings.iter()
    }

    /// The highest role a user has.
    pub fn role(&self, user: &UserName) -> Option<Role> {
        let granted = |binding: &&RoleBindingSpec| binding.users.contains(user);
        self.bindings
            .values()
            .filter(granted)
            .map(|binding| binding.role)
            .max()
    }

    /// The key with which this author must have signed.
    ///
    /// The founder signs with the key its own entry brings; a token's holder
    /// with the key its grant records.
    pub fn signing_key(&self, author: &Author) -> Option<PublicKey> {
        let current = |epoch: SignerEpoch, given: &SignerEpoch| epoch == *given;
        match author {
            Author::Founder => None,
            Author::Gateway(id, epoch) => {
                let node = self
                    .nodes
                    .get(id)
                    .filter(|node| current(node.epoch, epoch))?;
                Some(node.gateway.key)
            }
            Author::Operator(user, epoch) => {
                let signer = self.signers.get(user).filter(|s| current(s.epoch, epoch))?;
                Some(signer.key)
            }
            Author::Token(id) => self.tokens.get(id).map(|(grant, _)| grant.key),
        }
    }

    /// The generation this author's next write must carry at least, for what its cluster owns.
    pub fn next_generation(&self, cluster: &ClusterName) -> Generation {
        let seen = self.clusters.get(cluster).map(|member| member.generation);
        seen.unwrap_or_default().next()
    }

    /// The generation an operator's next order must carry at least: each of its
    /// orders is judged once, in this order, whatever comes of it.
    pub fn next_order(&self, user: &UserName) -> Generation {
        self.orders.get(user).copied().unwrap_or_default().next()
    }

    /// Whether a member of this name was removed, so that the name never returns.
    pub fn is_removed(&self, cluster: &ClusterName) -> bool {
        self.tombstones.contains_key(cluster)
    }

    /// The signing key of an operator.
    pub fn signer(&self, user: &UserName) -> Option<&SignerRecord> {
        self.signers.get(user)
    }

    /// Virtual-IP indexes of services that are gone, by service.
    pub fn quarantined(&self) -> impl Iterator<Item = (&ServiceKey, &Quarantine)> {
        self.quarantine.iter()
    }
}

/// The records of one namespace. No name is less than `0`.
fn in_namespace<'t, V>(
    table: &'t BTreeMap<ServiceKey, V>,
    namespace: &Namespace,
) -> impl Iterator<Item = (&'t ServiceKey, &'t V)> {
    let least = ServiceName::new("0").expect("a digit is a label");
    let from = ServiceKey::new(namespace.clone(), least);
    let rest = table.range(from..);
    rest.take_while(move |(key, _)| key.namespace == *namespace)
}

impl Service {
    /// Its virtual IPv4 address where these ranges hold.
    pub fn virtual_ipv4(&self, ranges: &VirtualIpRanges) -> Ipv4Addr {
        Ipv4Addr::from_bits(ranges.ipv4.network().to_bits().wrapping_add(self.index.0))
    }

    /// Its virtual IPv6 address where these ranges hold and have one.
    pub fn virtual_ipv6(&self, ranges: &VirtualIpRanges) -> Option<Ipv6Addr> {
        let network = ranges.ipv6?.network().to_bits();
        Some(Ipv6Addr::from_bits(
            network.wrapping_add(u128::from(self.index.0)),
        ))
    }

    /// Whether this is one of its virtual addresses there.
    pub fn answers_on(&self, address: IpAddr, ranges: &VirtualIpRanges) -> bool {
        match address {
            IpAddr::V4(v4) => v4 == self.virtual_ipv4(ranges),
            IpAddr::V6(v6) => Some(v6) == self.virtual_ipv6(ranges),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
