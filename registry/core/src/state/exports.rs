//! Exports, and the services derived from them.

use std::sync::Arc;

use super::author::Cause;
use super::membership::admits;
use super::merge::merge;
use super::{ExportRecord, Federation};
use crate::{
    ClusterName, Event, ExportSpec, Index, Key, Kind, Refusal, Service, ServiceKey, VirtualIpIndex,
};

impl Federation {
    pub(super) fn put_export(
        &mut self,
        cause: &Cause<'_>,
        cluster: &ClusterName,
        key: &ServiceKey,
        spec: &ExportSpec,
    ) -> Result<Vec<Event>, Refusal> {
        cause.needs_gateway_of(cluster, format!("the export of {key} by {cluster}"))?;
        self.needs_no_witness(cluster)?;
        self.check_namespace(cluster, key)?;
        let invalid = |problem| Refusal::invalid(Kind::ServiceExport, key, problem);
        spec.check().map_err(invalid)?;
        let old = self.export(key, cluster).cloned();
        let seen = old.as_ref().map(|record| record.generation);
        self.needs_newer(cluster, seen, cause.generation)?;
        let max = self.exports_max();
        if old.is_none() && self.indexes_held_by(cause, cluster) >= max {
            return Err(invalid(format!(
                "{cluster} offers {max} services, with those it withdrew within the last hour: the most it may"
            )));
        }
        let index = self.index_for(cause, key)?;
        let record = ExportRecord {
            spec: spec.clone(),
            generation: cause.generation,
            precedence: old.as_ref().map_or(cause.index, |record| record.precedence),
        };
        let mut events = Vec::new();
        if old.is_none_or(|old| old.spec != *spec) {
            events.push(Event::Put(Key::Export(key.clone(), cluster.clone())));
        }
        Arc::make_mut(&mut self.exports).insert((key.clone(), cluster.clone()), Arc::new(record));
        self.note_generation(cluster, cause.generation);
        self.settle(key, index);
        events.extend(self.derive(key, index, cause.index));
        Ok(events)
    }

    fn check_namespace(&self, cluster: &ClusterName, key: &ServiceKey) -> Result<(), Refusal> {
        match self.clusters.get(cluster) {
            None => Err(Refusal::Unknown(format!("cluster {cluster}"))),
            Some(member) if !admits(&member.spec, key) => Err(Refusal::Namespace {
                cluster: cluster.clone(),
                namespace: key.namespace.clone(),
            }),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn delete_export(
        &mut self,
        cause: &Cause<'_>,
        cluster: &ClusterName,
        key: &ServiceKey,
    ) -> Result<Vec<Event>, Refusal> {
        let what = format!("the export of {key} by {cluster}");
        cause.needs_gateway_of(cluster, &what)?;
        let seen = match self.export(key, cluster) {
            Some(record) => record.generation,
            None => return Err(Refusal::Unknown(what)),
        };
        self.needs_newer(cluster, Some(seen), cause.generation)?;
        self.note_deletion(cluster, cause.generation);
        let mut events = Vec::new();
        self.withdraw(cause, cluster, key, &mut events);
        Ok(events)
    }

    /// Deletes a cluster's exports that `which` names: on eviction, or when an
    /// administrator takes a namespace from it.
    pub(super) fn withdraw_exports(
        &mut self,
        cause: &Cause<'_>,
        cluster: &ClusterName,
        which: impl Fn(&ServiceKey) -> bool,
        events: &mut Vec<Event>,
    ) {
        let gone: Vec<_> = self
            .exports()
            .filter(|((key, owner), _)| owner == cluster && which(key))
            .map(|((key, _), record)| (key.clone(), record.generation))
            .collect();
        for (key, generation) in gone {
            self.note_deletion(cluster, generation);
            self.withdraw(cause, cluster, &key, events);
        }
    }

    fn withdraw(
        &mut self,
        cause: &Cause<'_>,
        cluster: &ClusterName,
        key: &ServiceKey,
        events: &mut Vec<Event>,
    ) {
        Arc::make_mut(&mut self.exports).remove(&(key.clone(), cluster.clone()));
        events.push(Event::Deleted(Key::Export(key.clone(), cluster.clone())));
        let Some(service) = self.services.get(key) else {
            return;
        };
        let index = service.index;
        let derived = self.derive(key, index, cause.index);
        if derived == Some(Event::Deleted(Key::Service(key.clone()))) {
            self.quarantine(cause, cluster, key, index);
        }
        events.extend(derived);
    }

    /// The offers of one service.
    fn offers<'a>(
        &'a self,
        key: &'a ServiceKey,
    ) -> impl Iterator<Item = (&'a ClusterName, &'a ExportRecord)> {
        self.clusters
            .keys()
            .filter_map(|cluster| Some((cluster, &**self.export(key, cluster)?)))
    }

    /// The service that the exports now make of `key`, in their own words.
    pub(super) fn merged(
        &self,
        key: &ServiceKey,
        index: VirtualIpIndex,
        changed: Index,
    ) -> Option<Service> {
        merge(key, self.offers(key), index, changed)
    }

    /// Brings the service up to date with its exports.
    fn derive(&mut self, key: &ServiceKey, index: VirtualIpIndex, at: Index) -> Option<Event> {
        let old = self.services.get(key);
        let new = self.merged(key, index, old.map_or(at, |old| old.changed));
        match (old, new) {
            (None, None) => None,
            (Some(_), None) => {
                Arc::make_mut(&mut self.services).remove(key);
                Some(Event::Deleted(Key::Service(key.clone())))
            }
            (Some(old), Some(new)) if **old == new => None,
            (_, Some(mut new)) => {
                new.changed = at;
                Arc::make_mut(&mut self.services).insert(key.clone(), Arc::new(new));
                Some(Event::Put(Key::Service(key.clone())))
            }
        }
    }
}
