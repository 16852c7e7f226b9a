//! Servers without a sidecar.

use std::sync::Arc;

use super::author::Cause;
use super::{Federation, WorkloadRecord};
use crate::{
    ClusterName, Event, Key, Kind, Namespace, Refusal, ServiceName, WorkloadEntrySpec, quota,
};

/// The key of an entry: cluster, namespace, name.
type Place<'a> = (&'a ClusterName, &'a Namespace, &'a ServiceName);

fn owned((cluster, namespace, name): Place<'_>) -> (ClusterName, Namespace, ServiceName) {
    (cluster.clone(), namespace.clone(), name.clone())
}

fn described((cluster, namespace, name): Place<'_>) -> String {
    format!("workload entry {namespace}/{name} of {cluster}")
}

impl Federation {
    pub(super) fn put_entry(
        &mut self,
        cause: &Cause<'_>,
        place: Place<'_>,
        spec: &WorkloadEntrySpec,
    ) -> Result<Vec<Event>, Refusal> {
        let cluster = place.0;
        cause.needs_gateway_of(cluster, described(place))?;
        self.needs_no_witness(cluster)?;
        let name = format!("{}/{}", place.1, place.2);
        let invalid = |problem| Refusal::invalid(Kind::WorkloadEntry, &name, problem);
        spec.check().map_err(invalid)?;
        let old = self.entries.get(&owned(place));
        let seen = old.map(|record| record.generation);
        self.needs_newer(cluster, seen, cause.generation)?;
        let owned_by = |owner: &ClusterName| self.entries.keys().filter(|k| k.0 == *owner).count();
        if old.is_none() && owned_by(cluster) >= quota::ENTRIES_MAX {
            let max = quota::ENTRIES_MAX;
            return Err(invalid(format!(
                "{cluster} has {max} entries, the most it may have"
            )));
        }
        let changed = old.is_none_or(|old| old.spec != *spec);
        let record = WorkloadRecord {
            spec: spec.clone(),
            generation: cause.generation,
        };
        Arc::make_mut(&mut self.entries).insert(owned(place), Arc::new(record));
        self.note_generation(cluster, cause.generation);
        let (cluster, namespace, name) = owned(place);
        let put = || Event::Put(Key::WorkloadEntry(cluster, namespace, name));
        Ok(Vec::from_iter(changed.then(put)))
    }

    pub(super) fn delete_entry(
        &mut self,
        cause: &Cause<'_>,
        place: Place<'_>,
    ) -> Result<Vec<Event>, Refusal> {
        cause.needs_gateway_of(place.0, described(place))?;
        let seen = match self.entries.get(&owned(place)) {
            Some(record) => record.generation,
            None => return Err(Refusal::Unknown(described(place))),
        };
        self.needs_newer(place.0, Some(seen), cause.generation)?;
        Arc::make_mut(&mut self.entries).remove(&owned(place));
        self.note_deletion(place.0, cause.generation);
        let (cluster, namespace, name) = owned(place);
        Ok(vec![Event::Deleted(Key::WorkloadEntry(
            cluster, namespace, name,
        ))])
    }

    pub(super) fn remove_entries_of(&mut self, owner: &ClusterName, events: &mut Vec<Event>) {
        Arc::make_mut(&mut self.entries).retain(|(cluster, namespace, name), _| {
            let gone = cluster == owner;
            if gone {
                let key = Key::WorkloadEntry(cluster.clone(), namespace.clone(), name.clone());
                events.push(Event::Deleted(key));
            }
            !gone
        });
    }
}
