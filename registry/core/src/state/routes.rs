//! Routes and traffic policies: the federation's word on how services are called.
//!
//! They are no cluster's own: a service may have several exporters, and a route acts in every
//! cluster that calls it. So operators write them.

use std::sync::Arc;

use super::author::Cause;
use super::{Federation, PolicyRecord, RouteRecord};
use crate::{
    Event, Key, Kind, Namespace, Refusal, Role, RouteSpec, ServiceKey, ServiceName,
    TrafficPolicySpec, quota,
};

fn owned(namespace: &Namespace, name: &ServiceName) -> ServiceKey {
    ServiceKey::new(namespace.clone(), name.clone())
}

impl Federation {
    pub(super) fn put_route(
        &mut self,
        cause: &Cause<'_>,
        (namespace, name): (&Namespace, &ServiceName),
        spec: &RouteSpec,
    ) -> Result<Vec<Event>, Refusal> {
        let key = owned(namespace, name);
        cause.needs_role(Role::Operator, format!("route {key}"))?;
        let invalid = |problem| Refusal::invalid(Kind::Route, &key, problem);
        spec.check().map_err(invalid)?;
        let old = self.routes.get(&key);
        if old.is_some_and(|old| old.spec == *spec) {
            return Ok(Vec::new());
        }
        if old.is_none() && self.routes.len() >= quota::ROUTES_MAX {
            let max = quota::ROUTES_MAX;
            return Err(invalid(format!(
                "there are {max} routes, the most there may be"
            )));
        }
        let record = RouteRecord {
            spec: spec.clone(),
            created: old.map_or(cause.index, |old| old.created),
        };
        Arc::make_mut(&mut self.routes).insert(key.clone(), Arc::new(record));
        Ok(vec![Event::Put(Key::Route(key))])
    }

    pub(super) fn delete_route(
        &mut self,
        cause: &Cause<'_>,
        (namespace, name): (&Namespace, &ServiceName),
    ) -> Result<Vec<Event>, Refusal> {
        let key = owned(namespace, name);
        cause.needs_role(Role::Operator, format!("route {key}"))?;
        if !self.routes.contains_key(&key) {
            return Err(Refusal::Unknown(format!("route {key}")));
        }
        Arc::make_mut(&mut self.routes).remove(&key);
        Ok(vec![Event::Deleted(Key::Route(key))])
    }

    pub(super) fn put_policy(
        &mut self,
        cause: &Cause<'_>,
        (namespace, name): (&Namespace, &ServiceName),
        spec: &TrafficPolicySpec,
    ) -> Result<Vec<Event>, Refusal> {
        let key = owned(namespace, name);
        cause.needs_role(Role::Operator, format!("traffic policy {key}"))?;
        let invalid = |problem| Refusal::invalid(Kind::TrafficPolicy, &key, problem);
        spec.check().map_err(invalid)?;
        let target = spec.key(namespace);
        let other = self
            .policies
            .iter()
            .find(|(at, other)| **at != key && other.spec.key(&at.namespace) == target);
        if let Some((other, _)) = other {
            return Err(invalid(format!(
                "{target} has the policy {other} already: a service has at most one"
            )));
        }
        let old = self.policies.get(&key);
        if old.is_some_and(|old| old.spec == *spec) {
            return Ok(Vec::new());
        }
        if old.is_none() && self.policies.len() >= quota::POLICIES_MAX {
            let max = quota::POLICIES_MAX;
            return Err(invalid(format!(
                "there are {max} policies, the most there may be"
            )));
        }
        let record = PolicyRecord { spec: spec.clone() };
        Arc::make_mut(&mut self.policies).insert(key.clone(), Arc::new(record));
        Ok(vec![Event::Put(Key::TrafficPolicy(key))])
    }

    pub(super) fn delete_policy(
        &mut self,
        cause: &Cause<'_>,
        (namespace, name): (&Namespace, &ServiceName),
    ) -> Result<Vec<Event>, Refusal> {
        let key = owned(namespace, name);
        cause.needs_role(Role::Operator, format!("traffic policy {key}"))?;
        if !self.policies.contains_key(&key) {
            return Err(Refusal::Unknown(format!("traffic policy {key}")));
        }
        Arc::make_mut(&mut self.policies).remove(&key);
        Ok(vec![Event::Deleted(Key::TrafficPolicy(key))])
    }
}
