//! Members: what administrators say of them, and how they go.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::author::Cause;
use super::{Federation, TokenState};

use crate::{ClusterName, ClusterRole, ClusterSpec, Event, Key, Kind, Refusal, Role, ServiceKey};

impl Federation {
    pub(super) fn put_cluster(
        &mut self,
        cause: &Cause<'_>,
        name: &ClusterName,
        spec: &ClusterSpec,
    ) -> Result<Vec<Event>, Refusal> {
        let unknown = || Refusal::Unknown(format!("cluster {name}"));
        let old = self.clusters.get(name).ok_or_else(unknown)?.spec.clone();
        let drains_only = ClusterSpec {
            drain: spec.drain,
            ..old.clone()
        } == *spec;
        let needed = if drains_only {
            Role::Operator
        } else {
            Role::Admin
        };
        cause.needs_role(needed, format!("cluster {name}"))?;
        if old == *spec {
            return Ok(Vec::new());
        }
        let invalid = |problem| Refusal::invalid(Kind::Cluster, name, problem);
        spec.check().map_err(invalid)?;
        self.check_room(cause, name, spec)?;
        if self.founder.as_ref() == Some(name) && spec.role != ClusterRole::Voter {
            return Err(invalid(
                "it is the founder, whose role is always voter".into(),
            ));
        }
        if spec.role == ClusterRole::Witness && self.offers_anything(name) {
            return Err(invalid(
                "it offers services, which a witness does not: withdraw them first".into(),
            ));
        }
        if let Some(member) = Arc::make_mut(&mut self.clusters).get_mut(name) {
            Arc::make_mut(member).spec = spec.clone();
        }
        let mut events = vec![Event::Put(Key::Cluster(name.clone()))];
        self.withdraw_exports(cause, name, |key| !admits(spec, key), &mut events);
        Ok(events)
    }

    /// Whether a cluster has exports or servers without a sidecar.
    fn offers_anything(&self, name: &ClusterName) -> bool {
        self.exports.keys().any(|(_, owner)| owner == name)
            || self.entries.keys().any(|(owner, ..)| owner == name)
    }

    /// Passes owners that may offer services.
    pub(super) fn needs_no_witness(&self, name: &ClusterName) -> Result<(), Refusal> {
        match self.clusters.get(name) {
            Some(member) if member.spec.role == ClusterRole::Witness => Err(Refusal::invalid(
                Kind::Cluster,
                name,
                "it is a witness, which offers no services",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn remove_cluster(
        &mut self,
        cause: &Cause<'_>,
        name: &ClusterName,
    ) -> Result<Vec<Event>, Refusal> {
        let what = format!("cluster {name}");
        if !self.clusters.contains_key(name) {
            return Err(Refusal::Unknown(what));
        }
        cause.needs_owner_or_admin(name, what)?;
        if self.founder.as_ref() == Some(name) {
            let problem = "it is the founder, which holds the operators' CA: it cannot be removed";
            return Err(Refusal::invalid(Kind::Cluster, name, problem));
        }
        let mut events = Vec::new();
        self.withdraw_exports(cause, name, |_| true, &mut events);
        self.remove_entries_of(name, &mut events);
        self.remove_nodes_of(name, &mut events);
        self.revoke_tokens_for(name, &mut events);
        Arc::make_mut(&mut self.observed).retain(|(by, of), _| by != name && of != name);
        Arc::make_mut(&mut self.clusters).remove(name);
        Arc::make_mut(&mut self.tombstones).insert(name.clone(), cause.index);
        events.push(Event::Deleted(Key::Cluster(name.clone())));
        Ok(events)
    }

    fn remove_nodes_of(&mut self, name: &ClusterName, events: &mut Vec<Event>) {
        let gone: BTreeSet<_> = self
            .nodes()
            .filter(|(_, node)| node.cluster == *name)
            .map(|(id, _)| id)
            .collect();
        Arc::make_mut(&mut self.nodes).retain(|id, _| !gone.contains(id));
        events.extend(gone.into_iter().map(|id| Event::Deleted(Key::Node(id))));
    }

    fn revoke_tokens_for(&mut self, name: &ClusterName, events: &mut Vec<Event>) {
        for (id, (grant, state)) in Arc::make_mut(&mut self.tokens) {
            if grant.cluster == *name && *state == TokenState::Open {
                *state = TokenState::Revoked;
                events.push(Event::Put(Key::Token(*id)));
            }
        }
    }
}

/// Whether a cluster so described may offer this service.
pub(super) fn admits(spec: &ClusterSpec, key: &ServiceKey) -> bool {
    spec.namespaces.is_empty() || spec.namespaces.contains(&key.namespace)
}
