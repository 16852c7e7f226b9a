//! From what is held to what readers see: the view, this cluster's digest, and
//! the alarms that come of comparing the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_model::{ClusterName, Digest, Endpoint, Health, ServiceKey};

use super::Catalog;
use crate::Moment;
use crate::catalog::view::{CatalogView, ClusterLiveness, Freshness, ServiceEndpoints};
use crate::catalog::witness::{Contact, Witness};
use crate::catalog::{Alarm, ClusterSet, Interest};

impl Catalog {
    /// The view as it is now, and the services that changed since the last
    /// call. The same pointer if nothing did.
    pub fn refresh(&mut self) -> (Arc<CatalogView>, BTreeSet<ServiceKey>) {
        let mut touched = BTreeSet::new();
        for set in self.sets.values_mut() {
            touched.append(&mut set.take_touched());
        }
        if !touched.is_empty() {
            self.publish_services(touched.clone());
        }
        if std::mem::take(&mut self.stale_liveness) {
            self.publish_liveness();
        }
        (Arc::clone(&self.view), touched)
    }

    pub(super) fn publish_services(&mut self, touched: BTreeSet<ServiceKey>) {
        let mut view = CatalogView::clone(&self.view);
        view.generation += 1;
        for key in touched {
            let endpoints = self.endpoints_of(&key);
            self.watch_shrinks(&key, &endpoints.suspect);
            count(&mut self.own_digest, &key, endpoints.of(&self.cluster));
            if endpoints.endpoints.is_empty() {
                view.services.remove(&key);
            } else {
                view.services.insert(key, Arc::new(endpoints));
            }
        }
        self.view = Arc::new(view);
        self.stale_liveness = true;
    }

    fn endpoints_of(&self, key: &ServiceKey) -> ServiceEndpoints {
        let mut service = ServiceEndpoints::default();
        for (cluster, set) in &self.sets {
            service.endpoints.extend(set.endpoints_of(key));
            if set.held(key).is_some() {
                service.suspect.insert(cluster.clone());
            }
        }
        service
    }

    fn watch_shrinks(&mut self, key: &ServiceKey, suspect: &BTreeSet<ClusterName>) {
        let clusters: Vec<ClusterName> = self.sets.keys().cloned().collect();
        for cluster in clusters {
            let at = (cluster.clone(), key.clone());
            if !suspect.contains(&cluster) {
                if self.held.remove(&at) {
                    let service = key.clone();
                    self.alarms.push(Alarm::ShrinkSettled { cluster, service });
                }
            } else if self.held.insert(at) {
                let held = self.sets.get(&cluster).and_then(|set| set.held(key));
                let (doubted, total) = held.unwrap_or_default();
                self.alarms.push(Alarm::ShrinkHeld {
                    cluster,
                    service: key.clone(),
                    doubted,
                    total,
                });
            }
        }
    }

    fn publish_liveness(&mut self) {
        let mut clusters = BTreeMap::new();
        for (cluster, set) in &self.sets {
            let mut liveness = liveness(set);
            if *cluster == self.cluster {
                liveness.digest = Arc::new(self.own_digest.clone());
                liveness.freshness = match self.recovers_at {
                    Some(_) => Freshness::Stale(self.began),
                    None => Freshness::Live,
                };
                liveness.covered = Interest::Everything;
            }
            clusters.insert(cluster.clone(), Arc::new(liveness));
        }
        let mut view = CatalogView::clone(&self.view);
        view.generation += 1;
        view.clusters = clusters;
        self.view = Arc::new(view);
    }
}

/// The best witness first: settled, then open, then the one lost last.
fn liveness(set: &ClusterSet) -> ClusterLiveness {
    let rank = |witness: &Witness| match witness.contact {
        Contact::Open if witness.is_settled() => (2, Moment::default()),
        Contact::Greeted | Contact::Open => (1, Moment::default()),
        Contact::Lost(since) => (0, since),
    };
    let best = set.witnesses().max_by_key(|witness| rank(witness));
    let told = set.witnesses().filter(|w| w.digest.is_some());
    let digest = told.max_by_key(|witness| rank(witness));
    let mut covered = Interest::default();
    for synced in set.witnesses().filter_map(|w| w.synced.as_ref()) {
        covered.widen(synced);
    }
    ClusterLiveness {
        digest: digest.and_then(|w| w.digest.clone()).unwrap_or_default(),
        freshness: match best.map(|witness| witness.contact) {
            Some(Contact::Greeted | Contact::Open) => Freshness::Live,
            Some(Contact::Lost(since)) => Freshness::Stale(since),
            None => Freshness::Stale(Moment::default()),
        },
        covered,
    }
}

/// Recounts one service in the digest.
fn count<'a>(
    digest: &mut Digest,
    key: &ServiceKey,
    endpoints: impl Iterator<Item = &'a Arc<Endpoint>>,
) {
    digest.rows.retain(|(service, _, _), _| service != key);
    for endpoint in endpoints.filter(|e| e.health == Health::Ready) {
        let at = (key.clone(), endpoint.zone.clone(), endpoint.version.clone());
        let row = digest.rows.entry(at).or_default();
        row.ready += 1;
        row.capacity += u64::from(endpoint.weight);
    }
}
