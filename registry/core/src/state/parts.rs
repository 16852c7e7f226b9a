//! The whole state as plain rows, for those who write it down or send it, and
//! its digest, for those who compare.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use serde::Serialize;

use super::requests::Requests;
use super::{
    ExportRecord, Federation, Member, Node, PolicyRecord, Quarantine, RouteRecord, Table,
    TokenState, WorkloadRecord,
};
use crate::{
    ClusterName, FederationDomain, FormatLevel, Generation, Index, Namespace, NodeId, Outcome,
    ReleaseRecord, RequestId, RoleBindingSpec, ServiceKey, ServiceName, SignerRecord, Stage,
    TokenGrant, TokenId, UserName, VirtualIpIndex, WallTime,
};

/// Everything the state holds, owned, in key order.
///
/// A snapshot in memory, not a format: `weft-registry` gives each row its
/// numbered fields. Services are told by their index alone, since exports say the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "named and documented as in Federation")]
pub struct FederationParts {
    pub domain: Option<FederationDomain>,
    pub founder: Option<ClusterName>,
    pub operators: Vec<Vec<u8>>,
    pub format: FormatLevel,
    pub applied: Index,
    pub time: WallTime,
    pub next_node: NodeId,
    pub clusters: Vec<(ClusterName, Member)>,
    pub nodes: Vec<(NodeId, Node)>,
    pub tokens: Vec<(TokenId, (TokenGrant, TokenState))>,
    pub signers: Vec<(UserName, SignerRecord)>,
    pub bindings: Vec<(ServiceName, RoleBindingSpec)>,
    pub exports: Vec<((ServiceKey, ClusterName), ExportRecord)>,
    pub entries: Vec<((ClusterName, Namespace, ServiceName), WorkloadRecord)>,
    /// By namespace and name.
    pub routes: Vec<(ServiceKey, RouteRecord)>,
    /// By namespace and name.
    pub policies: Vec<(ServiceKey, PolicyRecord)>,
    /// By namespace and name.
    pub releases: Vec<(ServiceKey, ReleaseRecord)>,
    /// Each service's virtual-IP index, and where in the log it last changed.
    pub services: Vec<(ServiceKey, (VirtualIpIndex, Index))>,
    pub quarantine: Vec<(ServiceKey, Quarantine)>,
    /// Removed clusters, and where in the log they went.
    pub tombstones: Vec<(ClusterName, Index)>,
    /// The newest order judged of each operator's current key.
    pub orders: Vec<(UserName, Generation)>,
    /// The newest word of each observing cluster (first) on another's lease.
    pub observed: Vec<((ClusterName, ClusterName), Generation)>,
    /// Outcomes of recent requests in the order in which they are forgotten, a chunk at a time.
    pub requests: Vec<Vec<(RequestId, Outcome)>>,
}

/// Why rows do not make a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// A key stands twice in a table.
    #[error("a key stands twice among the {0}")]
    Duplicate(&'static str),
    /// A record belongs to a cluster that is no member.
    #[error("{what} belongs to {cluster}, which is no member")]
    Orphan {
        /// The record.
        what: String,
        /// Its owner.
        cluster: ClusterName,
    },
    /// A node id is not below the next one.
    #[error("node {node} was never given out: the next one is {next}")]
    Node {
        /// The node.
        node: NodeId,
        /// The next id to be given out.
        next: NodeId,
    },
    /// A release stands at no stage of its own, or beside another one in effect.
    #[error("release {0} stands at no stage of its own, or beside another one in effect")]
    Release(ServiceKey),
    /// The exports of a service and its index do not go together.
    #[error("service {0} has exports but no index, an index but no exports, or shares its index")]
    Service(ServiceKey),
}

impl Federation {
    /// Everything the state holds.
    pub fn to_parts(&self) -> FederationParts {
        FederationParts {
            domain: self.domain.clone(),
            founder: self.founder.clone(),
            operators: self.operators.clone(),
            format: self.format,
            applied: self.applied,
            time: self.time,
            next_node: self.next_node,
            clusters: shared_rows(&self.clusters),
            nodes: shared_rows(&self.nodes),
            tokens: rows(&self.tokens),
            signers: rows(&self.signers),
            bindings: rows(&self.bindings),
            exports: shared_rows(&self.exports),
            entries: shared_rows(&self.entries),
            routes: shared_rows(&self.routes),
            policies: shared_rows(&self.policies),
            releases: shared_rows(&self.releases),
            services: self
                .services()
                .map(|service| (service.key.clone(), (service.index, service.changed)))
                .collect(),
            quarantine: rows(&self.quarantine),
            tombstones: rows(&self.tombstones),
            orders: rows(&self.orders),
            observed: rows(&self.observed),
            requests: self.requests.chunks().collect(),
        }
    }

    /// The state that [`Federation::to_parts`] told. Rows that no log could have
    /// made are refused: they come from a disk or from a peer.
    pub fn from_parts(parts: FederationParts) -> Result<Self, PartsError> {
        let mut state = Self {
            domain: parts.domain,
            founder: parts.founder,
            operators: parts.operators,
            format: parts.format,
            applied: parts.applied,
            time: parts.time,
            next_node: parts.next_node,
            clusters: shared_table("clusters", parts.clusters)?,
            nodes: shared_table("nodes", parts.nodes)?,
            tokens: table("tokens", parts.tokens)?,
            signers: table("signers", parts.signers)?,
            bindings: table("role bindings", parts.bindings)?,
            exports: shared_table("exports", parts.exports)?,
            entries: shared_table("workload entries", parts.entries)?,
            routes: shared_table("routes", parts.routes)?,
            policies: shared_table("traffic policies", parts.policies)?,
            releases: shared_table("releases", parts.releases)?,
            services: Arc::default(),
            quarantine: table("quarantined indexes", parts.quarantine)?,
            tombstones: table("removed clusters", parts.tombstones)?,
            orders: table("orders", parts.orders)?,
            observed: table("lease observations", parts.observed)?,
            requests: Requests::from_chunks(parts.requests),
        };
        state.check_owners()?;
        state.check_releases()?;
        state.services = state.services_at(table("services", parts.services)?)?;
        Ok(state)
    }

    /// A number that two replicas have in common if, at the same applied index,
    /// they hold the same: FNV-1a over the rows as JSON.
    ///
    /// Derived text is right here, where it would be wrong on disk: a digest is
    /// compared and thrown away. It finds faults; it does not withstand forgery.
    pub fn digest(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        serde_json::to_writer(&mut hash, &self.to_parts())
            .expect("rows have no maps with keys other than names, and the writer takes all");
        hash.0
    }

    fn check_owners(&self) -> Result<(), PartsError> {
        let member = |cluster: &ClusterName, what: String| {
            if self.clusters.contains_key(cluster) {
                return Ok(());
            }
            let cluster = cluster.clone();
            Err(PartsError::Orphan { what, cluster })
        };
        for (id, node) in self.nodes() {
            member(&node.cluster, format!("gateway {id}"))?;
            if id >= self.next_node {
                let next = self.next_node;
                return Err(PartsError::Node { node: id, next });
            }
        }
        for (key, cluster) in self.exports.keys() {
            member(cluster, format!("the export of {key}"))?;
        }
        for (cluster, namespace, name) in self.entries.keys() {
            member(cluster, format!("workload entry {namespace}/{name}"))?;
        }
        Ok(())
    }

    fn check_releases(&self) -> Result<(), PartsError> {
        let mut services = BTreeSet::new();
        for (key, record) in &*self.releases {
            let stands = (Stage::FIRST..=record.spec.last_stage()).contains(&record.stage);
            let service = record.spec.key(&key.namespace);
            if !stands || (record.is_in_effect() && !services.insert(service)) {
                return Err(PartsError::Release(key.clone()));
            }
        }
        Ok(())
    }

    /// The services that the exports make, at the places they are known to have.
    fn services_at(
        &self,
        known: Table<ServiceKey, (VirtualIpIndex, Index)>,
    ) -> Result<Table<ServiceKey, Arc<crate::Service>>, PartsError> {
        let mut holders = BTreeMap::new();
        let mut services = BTreeMap::new();
        for (key, (index, changed)) in &*known {
            let wrong = || PartsError::Service(key.clone());
            let service = self.merged(key, *index, *changed).ok_or_else(wrong)?;
            if index.0 == 0 || holders.insert(*index, key).is_some() {
                return Err(wrong());
            }
            services.insert(key.clone(), Arc::new(service));
        }
        let lost = self
            .exports
            .keys()
            .find(|(key, _)| !known.contains_key(key));
        match lost {
            Some((key, _)) => Err(PartsError::Service(key.clone())),
            None => Ok(Arc::new(services)),
        }
    }
}

fn rows<K: Clone, V: Clone>(table: &BTreeMap<K, V>) -> Vec<(K, V)> {
    let row = |(key, value): (&K, &V)| (key.clone(), value.clone());
    table.iter().map(row).collect()
}

fn shared_rows<K: Clone, V: Clone>(table: &BTreeMap<K, Arc<V>>) -> Vec<(K, V)> {
    let row = |(key, value): (&K, &Arc<V>)| (key.clone(), V::clone(value));
    table.iter().map(row).collect()
}

fn table<K: Ord, V>(name: &'static str, rows: Vec<(K, V)>) -> Result<Table<K, V>, PartsError> {
    let count = rows.len();
    let table: BTreeMap<K, V> = rows.into_iter().collect();
    if table.len() < count {
        return Err(PartsError::Duplicate(name));
    }
    Ok(Arc::new(table))
}

fn shared_table<K: Ord, V>(
    name: &'static str,
    rows: Vec<(K, V)>,
) -> Result<Table<K, Arc<V>>, PartsError> {
    let shared = rows.into_iter().map(|(key, value)| (key, Arc::new(value)));
    table(name, shared.collect())
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl io::Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
