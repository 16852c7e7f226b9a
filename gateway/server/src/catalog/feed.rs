//! What sidecars read: every item encoded once, in a journal they share.

use std::collections::BTreeSet;

use bytes::Bytes;
use weft_model::{ClusterName, EndpointId, ServiceKey, TrustDomain};
use weft_plan::catalog::{Batch, Cursor, Interest, Journal, SetHash};
use weft_proto::catalog as wire;
use weft_proto::catalog::item::Item;
use weft_proxy::catalog::wire as convert;

use crate::scene::Scene;

/// Endpoints are grouped by service, so that interest can leave them out; all
/// else is in no group and goes to everybody.
type Group = Option<ServiceKey>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ItemKey {
    Bundle(TrustDomain),
    Cluster(ClusterName),
    Service(ServiceKey),
    Endpoint(ClusterName, EndpointId),
}

/// The items and their journal.
#[derive(Debug, Default)]
pub(super) struct Feed {
    journal: Journal<Group, ItemKey, Bytes>,
}

impl Feed {
    /// The last position.
    pub(super) fn head(&self) -> u64 {
        self.journal.head()
    }

    /// A reader that knows nothing.
    pub(super) fn begin(&self) -> Cursor {
        self.journal.begin()
    }

    /// A reader that knows everything up to `position`, if that still helps.
    pub(super) fn resume(&self, position: u64) -> Option<Cursor> {
        self.journal.resume(position)
    }

    /// What follows for a reader with this interest; none if it must begin again.
    pub(super) fn read(
        &self,
        cursor: &mut Cursor,
        most: usize,
        interest: &Interest,
    ) -> Option<Batch<Bytes>> {
        self.journal
            .read(cursor, most, |group| covers(interest, group))
    }

    /// The hash of what a reader with this interest holds in the end.
    pub(super) fn hash(&self, interest: &Interest) -> SetHash {
        self.journal.hash(|group| covers(interest, group))
    }

    /// Intent or paths changed: looks at everything again.
    pub(super) fn update_all(&mut self, scene: &Scene<'_>) {
        self.update_bundles(scene);
        self.update_clusters(scene);
        let mut keys = scene.services();
        keys.extend(self.journal.groups().flatten().cloned());
        keys.extend(self.told_services());
        self.update_services(&keys, scene);
    }

    /// These services or their endpoints changed.
    pub(super) fn update_services(&mut self, keys: &BTreeSet<ServiceKey>, scene: &Scene<'_>) {
        for key in keys {
            let service = scene.service(key);
            let visible = service.is_some();
            // The record first: an endpoint is of no use without it.
            match service {
                Some(service) => {
                    let item = Item::Service(convert::to_service(&service));
                    self.put(None, ItemKey::Service(key.clone()), item);
                }
                None => {
                    let gone = Item::ServiceGone(convert::to_service_key(key));
                    self.remove(None, ItemKey::Service(key.clone()), gone);
                }
            }
            let group = Some(key.clone());
            let mut before: BTreeSet<ItemKey> = self.journal.keys(&group).cloned().collect();
            for endpoint in scene.endpoints(key).filter(|_| visible) {
                let at = ItemKey::Endpoint(endpoint.cluster.clone(), endpoint.id);
                before.remove(&at);
                self.put(
                    group.clone(),
                    at,
                    Item::Endpoint(convert::to_endpoint(endpoint)),
                );
            }
            for at in before {
                let ItemKey::Endpoint(cluster, id) = &at else {
                    continue;
                };
                let gone = wire::EndpointGone {
                    service: Some(convert::to_service_key(key)),
                    cluster: cluster.to_string(),
                    id: id.0.to_vec().into(),
                };
                self.remove(group.clone(), at, Item::EndpointGone(gone));
            }
        }
    }

    /// Paths or leases changed.
    pub(super) fn update_clusters(&mut self, scene: &Scene<'_>) {
        let mut before: BTreeSet<ItemKey> = self.journal.keys(&None).cloned().collect();
        before.retain(|key| matches!(key, ItemKey::Cluster(_)));
        let members = scene.federation.clusters().map(|(name, _)| name);
        for cluster in members.filter(|name| **name != scene.place.cluster) {
            let Some(view) = scene.cluster(cluster) else {
                continue;
            };
            let at = ItemKey::Cluster(cluster.clone());
            before.remove(&at);
            let item = Item::Cluster(convert::to_cluster(cluster, &view));
            self.put(None, at, item);
        }
        for at in before {
            if let ItemKey::Cluster(cluster) = &at {
                let gone = Item::ClusterGone(cluster.to_string());
                self.remove(None, at, gone);
            }
        }
    }

    fn update_bundles(&mut self, scene: &Scene<'_>) {
        let mut before: BTreeSet<ItemKey> = self.journal.keys(&None).cloned().collect();
        before.retain(|key| matches!(key, ItemKey::Bundle(_)));
        for (_, member) in scene.federation.clusters() {
            let at = ItemKey::Bundle(member.trust_domain.clone());
            before.remove(&at);
            let bundle = wire::Bundle {
                trust_domain: member.trust_domain.to_string(),
                roots: member
                    .bundle
                    .iter()
                    .map(|root| root.clone().into())
                    .collect(),
            };
            self.put(None, at, Item::Bundle(bundle));
        }
        for at in before {
            if let ItemKey::Bundle(domain) = &at {
                let gone = Item::BundleGone(domain.to_string());
                self.remove(None, at, gone);
            }
        }
    }

    fn told_services(&self) -> Vec<ServiceKey> {
        let told = self.journal.keys(&None).filter_map(|key| match key {
            ItemKey::Service(service) => Some(service.clone()),
            _ => None,
        });
        told.collect()
    }

    fn put(&mut self, group: Group, key: ItemKey, item: Item) {
        let item = convert::encode_item(item);
        if self.journal.get(&group, &key) != Some(&item) {
            let hash = convert::item_hash(&item);
            self.journal.put(group, key, item, hash);
        }
    }

    fn remove(&mut self, group: Group, key: ItemKey, gone: Item) {
        self.journal.remove(group, key, convert::encode_item(gone));
    }
}

fn covers(interest: &Interest, group: &Group) -> bool {
    group
        .as_ref()
        .is_none_or(|service| interest.covers(service))
}
