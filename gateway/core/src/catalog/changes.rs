//! From one view to a later one, as far as names are made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_model::{ClusterName, Endpoint, EndpointId, ServiceKey};

use super::view::{CatalogView, ServiceEndpoints};
use super::{Freshness, Interest};

/// What a reader of an older view has to be told before names may answer by a newer one.
///
/// What no name is made of is left out: addresses of listeners, zones, versions, the owner's
/// count. Whether a service is headless is not looked at, since the log may say otherwise later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewChanges {
    /// Endpoints that are new, or other than before.
    pub put: Vec<Arc<Endpoint>>,
    /// Endpoints that are gone.
    pub gone: Vec<(ClusterName, EndpointId)>,
    /// Other clusters of which other services' endpoints are known than before.
    pub covered: Vec<(ClusterName, Freshness, Interest)>,
}

impl ViewChanges {
    /// Whether names are the same before and after.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty() && self.covered.is_empty()
    }

    /// What has to be told besides to a reader of another older view; both lead to the same one.
    pub fn join(&mut self, other: Self) {
        let known: BTreeSet<_> = self.put.iter().map(|e| (e.cluster.clone(), e.id)).collect();
        let put = other.put.into_iter();
        self.put
            .extend(put.filter(|e| !known.contains(&(e.cluster.clone(), e.id))));
        let known: BTreeSet<_> = self.gone.iter().cloned().collect();
        let gone = other.gone.into_iter();
        self.gone.extend(gone.filter(|gone| !known.contains(gone)));
        for covered in other.covered {
            if !self.covered.iter().any(|known| known.0 == covered.0) {
                self.covered.push(covered);
            }
        }
    }
}

impl CatalogView {
    /// What is other here than in `before`. Looks at services that changed alone.
    pub fn changes_since(&self, before: &Self) -> ViewChanges {
        let mut changes = ViewChanges::default();
        let mut gone = BTreeSet::new();
        let keys: BTreeSet<&ServiceKey> =
            self.services.keys().chain(before.services.keys()).collect();
        for key in keys {
            let (old, new) = (before.services.get(key), self.services.get(key));
            if old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new)) {
                continue;
            }
            compare(by_id(old), by_id(new), &mut changes.put, &mut gone);
        }
        // One that has gone over to another service is not gone.
        for endpoint in &changes.put {
            gone.remove(&(&endpoint.cluster, endpoint.id));
        }
        let owned = |(cluster, id): (&ClusterName, EndpointId)| (cluster.clone(), id);
        changes.gone = gone.into_iter().map(owned).collect();
        changes.covered = self.newly_covered(before);
        changes
    }

    fn newly_covered(&self, before: &Self) -> Vec<(ClusterName, Freshness, Interest)> {
        let others = self.clusters().filter(|(name, _)| *name != self.cluster());
        let other = others.filter(|(name, liveness)| {
            let known = before.liveness(name).map(|before| &before.covered);
            known != Some(&liveness.covered)
        });
        other
            .map(|(name, liveness)| (name.clone(), liveness.freshness, liveness.covered.clone()))
            .collect()
    }
}

type ById<'a> = BTreeMap<(&'a ClusterName, EndpointId), &'a Arc<Endpoint>>;

fn by_id(service: Option<&Arc<ServiceEndpoints>>) -> ById<'_> {
    let endpoints = service.into_iter().flat_map(|service| &service.endpoints);
    endpoints.map(|e| ((&e.cluster, e.id), e)).collect()
}

fn compare<'a>(
    old: ById<'a>,
    new: ById<'a>,
    put: &mut Vec<Arc<Endpoint>>,
    gone: &mut BTreeSet<(&'a ClusterName, EndpointId)>,
) {
    for (id, endpoint) in &new {
        if old.get(id).is_none_or(|old| !names_alike(old, endpoint)) {
            put.push(Arc::clone(endpoint));
        }
    }
    gone.extend(old.into_keys().filter(|id| !new.contains_key(id)));
}

fn names_alike(one: &Arc<Endpoint>, other: &Arc<Endpoint>) -> bool {
    let named = |e: &Endpoint| (e.hostname.clone(), e.workload, e.weight, e.health);
    Arc::ptr_eq(one, other) || (named(one) == named(other) && one.ports == other.ports)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use weft_model::Health;
    use weft_model::fixture::{self, name};

    use super::*;
    use crate::catalog::fixture::{EU, Link, US, at, catalog, endpoint, id, identity};
    use crate::catalog::{Catalog, SessionId};

    const SESSION: SessionId = SessionId([1; 16]);

    fn eu() -> Catalog {
        let mut eu = catalog(EU, "gw", 1, at(0));
        eu.open_session(SESSION, identity(EU), at(0));
        eu
    }

    fn put(eu: &mut Catalog, endpoint: Endpoint) -> Arc<CatalogView> {
        eu.put(SESSION, endpoint, &fixture::federation(), at(1))
            .unwrap();
        eu.refresh().0
    }

    #[test]
    fn what_names_are_made_of_is_told_and_nothing_else() {
        let mut eu = eu();
        let none = eu.refresh().0;
        let first = put(&mut eu, endpoint(EU, 1, 1));
        let both = put(&mut eu, endpoint(EU, 2, 1));
        let changes = both.changes_since(&first);
        assert_eq!(changes.put, [Arc::new(endpoint(EU, 2, 1))]);
        assert!(changes.gone.is_empty());
        assert_eq!(both.changes_since(&none).put.len(), 2);

        let mut moved = endpoint(EU, 2, 2);
        moved.address = Some(SocketAddr::from(([127, 0, 0, 9], 15006)));
        let elsewhere = put(&mut eu, moved);
        assert!(elsewhere.generation() > both.generation());
        assert!(elsewhere.changes_since(&both).is_empty(), "no name has it");

        for (sequence, change) in [
            (3, (|e| e.health = Health::NotReady) as fn(&mut Endpoint)),
            (4, |e| e.weight = 7),
            (5, |e| e.hostname = Some(name("db-1"))),
            (6, |e| e.workload = Some([10, 0, 0, 1].into())),
            (7, |e| e.ports[0].service_port = 81.try_into().unwrap()),
        ] {
            let before = eu.refresh().0;
            let mut changed = endpoint(EU, 2, sequence);
            change(&mut changed);
            let after = put(&mut eu, changed.clone());
            let changes = after.changes_since(&before);
            assert_eq!(changes.put, [Arc::new(changed)], "{sequence}");
        }

        let before = eu.refresh().0;
        eu.withdraw(SESSION, id(2), 8, at(2)).unwrap();
        let after = eu.refresh().0;
        let changes = after.changes_since(&before);
        assert_eq!(changes.gone, [(name(EU), id(2))]);
        assert!(changes.put.is_empty());
    }

    #[test]
    fn a_cluster_that_is_heard_for_the_first_time_is_told_once() {
        let mut us = catalog(US, "gw", 2, at(0));
        let alone = us.refresh().0;
        let eu = eu();
        Link::open(&eu, EU, "gw", &mut us, at(1)).deliver(&eu, &mut us, 10, at(1));
        let heard = us.refresh().0;
        let covered = heard.changes_since(&alone).covered;
        assert_eq!(
            covered,
            [(name(EU), Freshness::Live, Interest::Everything)],
            "that it has no endpoint is known from now on"
        );
        assert!(heard.changes_since(&heard).is_empty());
    }
}
