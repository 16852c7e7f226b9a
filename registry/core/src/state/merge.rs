//! The MCS merge rules (KEP-1645, "Constraints and conflict resolution"): from
//! all exports of a name, the one service that everyone sees.
//!
//! The export accepted first has precedence; the cluster's name breaks a tie.
//! Ports: the union, by name first, then by protocol and number. Of two that
//! disagree the older one stands, and an exporter serves only the ports that it
//! defines as they stand, so that no connection arrives where it is not understood.
//! Type and TTL: the oldest export decides for all.

use std::collections::BTreeSet;

use super::ExportRecord;
use crate::{
    ClusterName, Conflict, ExportSpec, Exporter, Index, Service, ServiceAccount, ServiceKey,
    ServicePort, ServingIdentity, VirtualIpIndex,
};

/// The service that these offers make; none if there are none.
pub(super) fn merge<'a>(
    key: &ServiceKey,
    offers: impl Iterator<Item = (&'a ClusterName, &'a ExportRecord)>,
    index: VirtualIpIndex,
    changed: Index,
) -> Option<Service> {
    let mut offers: Vec<_> = offers.collect();
    offers.sort_by_key(|(cluster, record)| (record.precedence, *cluster));
    let oldest = &offers.first()?.1.spec;
    let ports = union(offers.iter().map(|(_, record)| &record.spec));
    let disputed = disputed(&ports, offers.iter().map(|(_, record)| &record.spec));
    let types_differ = offers
        .iter()
        .any(|(_, record)| record.spec.service_type != oldest.service_type);
    let exporter = |record: &ExportRecord| {
        let mut conflicts = conflicts(&ports, &disputed, &record.spec);
        if types_differ {
            conflicts.insert(Conflict::TypeConflict);
        }
        Exporter {
            precedence: record.precedence,
            ports: served(&ports, &record.spec),
            identities: identities(key, &record.spec),
            export_to: record.spec.export_to.clone(),
            on_stale: record.spec.on_stale,
            conflicts,
        }
    };
    Some(Service {
        key: key.clone(),
        index,
        service_type: oldest.service_type,
        ttl: oldest.dns.ttl,
        exporters: offers
            .iter()
            .map(|(cluster, record)| ((*cluster).clone(), exporter(record)))
            .collect(),
        ports,
        changed,
    })
}

/// Whether both cannot stand in one service: a name or a number would be there twice.
fn clash(a: &ServicePort, b: &ServicePort) -> bool {
    let same_name = a.name.is_some() && a.name == b.name;
    same_name || (a.protocol, a.port) == (b.protocol, b.port)
}

/// The ports of all offers, the first definition of each name and number.
fn union<'a>(offers: impl Iterator<Item = &'a ExportSpec>) -> Vec<ServicePort> {
    let mut merged: Vec<ServicePort> = Vec::new();
    for port in offers.flat_map(|spec| &spec.ports) {
        if !merged.iter().any(|standing| clash(standing, port)) {
            merged.push(port.clone());
        }
    }
    merged
}

/// The merged ports that some offer contradicts.
fn disputed<'a>(
    merged: &'a [ServicePort],
    offers: impl Iterator<Item = &'a ExportSpec>,
) -> BTreeSet<&'a ServicePort> {
    offers
        .flat_map(|spec| &spec.ports)
        .flat_map(|port| merged.iter().filter(move |m| *m != port && clash(m, port)))
        .collect()
}

/// An offer is in conflict if it contradicts a merged port, or defines one that another contradicts.
fn conflicts(
    merged: &[ServicePort],
    disputed: &BTreeSet<&ServicePort>,
    spec: &ExportSpec,
) -> BTreeSet<Conflict> {
    let involved = |port: &ServicePort| !merged.contains(port) || disputed.contains(port);
    let conflict = spec.ports.iter().any(involved);
    BTreeSet::from_iter(conflict.then_some(Conflict::PortConflict))
}

/// The merged ports that the offer defines as they stand.
fn served(merged: &[ServicePort], spec: &ExportSpec) -> BTreeSet<std::num::NonZeroU16> {
    let stands = |port: &&ServicePort| merged.contains(port);
    spec.ports
        .iter()
        .filter(stands)
        .map(|port| port.port)
        .collect()
}

fn identities(key: &ServiceKey, spec: &ExportSpec) -> BTreeSet<(crate::Namespace, ServiceAccount)> {
    if spec.identities.is_empty() {
        let account = ServiceAccount::new(key.name.as_str()).expect("every label is a word");
        return BTreeSet::from([(key.namespace.clone(), account)]);
    }
    let pair = |id: &ServingIdentity| (id.namespace.clone(), id.account.clone());
    spec.identities.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::super::properties::exports;
    use super::*;
    use crate::Generation;
    use crate::fixture::name;

    type Offers = BTreeMap<ClusterName, ExportRecord>;

    fn offers() -> impl Strategy<Value = Offers> {
        let valid = exports().prop_filter("a form that apply accepts", |spec| spec.check().is_ok());
        let record = (valid, 1u64..4).prop_map(|(spec, precedence)| ExportRecord {
            spec,
            generation: Generation(1),
            precedence: Index(precedence),
        });
        btree_map("[a-d]".prop_map(|text| name(&text)), record, 1..5)
    }

    fn merged<'a>(offers: impl Iterator<Item = (&'a ClusterName, &'a ExportRecord)>) -> Service {
        let key = name("shop/checkout");
        merge(&key, offers, VirtualIpIndex(1), Index(9)).expect("there is an offer")
    }

    proptest! {
        #[test]
        fn the_order_of_offers_does_not_matter(offers in offers(), turn in 0usize..4) {
            let mut rows: Vec<_> = offers.iter().collect();
            rows.reverse();
            let turn = turn % rows.len();
            rows.rotate_left(turn);
            prop_assert_eq!(merged(rows.into_iter()), merged(offers.iter()));
        }

        #[test]
        fn ports_are_the_union_without_doubles(offers in offers()) {
            let service = merged(offers.iter());
            for (at, port) in service.ports.iter().enumerate() {
                prop_assert!(service.ports[..at].iter().all(|other| !clash(other, port)));
            }
            for port in offers.values().flat_map(|offer| &offer.spec.ports) {
                prop_assert!(service.ports.iter().any(|standing| clash(standing, port)));
            }
            let oldest = offers.iter().min_by_key(|(cluster, offer)| (offer.precedence, *cluster));
            let (_, oldest) = oldest.unwrap();
            prop_assert!(oldest.spec.ports.iter().all(|port| service.ports.contains(port)));
            prop_assert_eq!(service.service_type, oldest.spec.service_type);
            prop_assert_eq!(service.ttl, oldest.spec.dns.ttl);
        }

        #[test]
        fn a_port_goes_only_where_it_means_what_was_merged(offers in offers()) {
            let service = merged(offers.iter());
            for (cluster, exporter) in &service.exporters {
                for number in &exporter.ports {
                    let own = &offers[cluster].spec.ports;
                    prop_assert!(own.contains(service.port(*number).unwrap()));
                }
                if exporter.conflicts.is_empty() {
                    prop_assert_eq!(exporter.ports.len(), offers[cluster].spec.ports.len());
                }
            }
            let in_conflict = |e: &&Exporter| e.conflicts.contains(&Conflict::PortConflict);
            let disagree = service.exporters.values().filter(in_conflict).count();
            prop_assert!(disagree != 1, "nobody disagrees alone");
        }
    }
}
