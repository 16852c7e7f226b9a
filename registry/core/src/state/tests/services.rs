//! Exports, derived services and virtual-IP indexes.

use super::*;

#[test]
fn narrowed_namespaces_end_what_stands_outside_them() {
    let mut log = three();
    log.accept(log.gateway(1), put(US, "shop/a", http()));
    log.accept(log.gateway(1), put(US, "data/b", http()));
    let mut spec = cluster_spec("us-east");
    spec.namespaces = BTreeSet::from([name("shop")]);
    log.accept(log.admin(), Command::PutCluster(name(US), Box::new(spec)));
    assert!(log.state.service(&name("data/b")).is_none());
    assert!(log.state.service(&name("shop/a")).is_some());
    refused(
        &log,
        log.gateway(1),
        put(US, "data/b", http()),
        "may not export from namespace",
    );
}

#[test]
fn the_older_export_wins_conflicts_and_keeps_its_place() {
    let mut log = three();
    log.accept(log.gateway(2), put(EU, "shop/a", http()));
    let mut other = export(ServiceType::Headless, "http", AppProtocol::Http, 8080);
    other.ports.push(ServicePort {
        name: Some(name("admin")),
        ..http().ports[0].clone()
    });
    other.ports[1].port = 9000.try_into().expect("not zero");
    log.accept(log.gateway(1), put(US, "shop/a", other));
    let merged = service(&log, "shop/a");
    let numbers: Vec<u16> = merged.ports.iter().map(|port| port.port.get()).collect();
    assert_eq!(
        (merged.service_type, numbers),
        (ServiceType::ClusterSetIP, vec![80, 9000])
    );
    let both = BTreeSet::from([Conflict::PortConflict, Conflict::TypeConflict]);
    assert!(
        merged
            .exporters
            .values()
            .all(|exporter| exporter.conflicts == both)
    );
    let us: Vec<u16> = merged.exporters[&name(US)]
        .ports
        .iter()
        .map(|p| p.get())
        .collect();
    assert_eq!(us, [9000], "it serves only what it defines as merged");
    let precedence = merged.exporters[&name(EU)].precedence;
    log.accept(log.gateway(2), put(EU, "shop/a", http()));
    assert_eq!(
        service(&log, "shop/a").exporters[&name(EU)].precedence,
        precedence
    );
    log.accept(log.gateway(2), delete(EU, "shop/a"));
    log.accept(log.gateway(2), put(EU, "shop/a", http()));
    assert_eq!(service(&log, "shop/a").service_type, ServiceType::Headless);
}

#[test]
fn an_index_rests_before_it_means_another_service() {
    let mut log = three();
    log.accept(log.gateway(1), put(US, "shop/a", http()));
    assert_eq!(service(&log, "shop/a").index, VirtualIpIndex(1));
    log.accept(log.gateway(1), delete(US, "shop/a"));
    log.accept(log.gateway(1), put(US, "shop/b", http()));
    assert_eq!(service(&log, "shop/b").index, VirtualIpIndex(2));
    log.accept(log.gateway(1), put(US, "shop/a", http()));
    assert_eq!(
        service(&log, "shop/a").index,
        VirtualIpIndex(1),
        "its own, if it returns"
    );
    log.accept(log.gateway(1), delete(US, "shop/a"));
    let gone = log.state.applied();
    let mut later = log.entry(log.gateway(1), put(US, "shop/c", http()));
    later.time = later.time.after(quota::QUARANTINE_TIME);
    let mut both = log.state.clone();
    log.state
        .apply(Index(gone.0 + quota::QUARANTINE_ENTRIES - 1), &later);
    assert_eq!(
        service(&log, "shop/c").index,
        VirtualIpIndex(3),
        "time alone is not enough"
    );
    both.apply(Index(gone.0 + quota::QUARANTINE_ENTRIES), &later);
    let index = both.service(&name("shop/c")).map(|service| service.index);
    assert_eq!(index, Some(VirtualIpIndex(1)));
}

#[test]
fn indexes_end_where_the_smallest_range_ends() {
    let mut log = three();
    let mut spec = cluster_spec("us-east");
    spec.virtual_ips.ipv4 = name("240.0.0.0/20");
    log.accept(log.admin(), Command::PutCluster(name(US), Box::new(spec)));
    assert_eq!(log.state.virtual_ip_capacity(), 2047);
    for (node, cluster) in [(1, US), (2, EU)] {
        for number in 0..1023 {
            let key = format!("shop/s{node}-{number}");
            log.accept(log.gateway(node), put(cluster, &key, http()));
        }
        refused(
            &log,
            log.gateway(node),
            put(cluster, "shop/more", http()),
            "offers 1023 services",
        );
    }
    log.accept(log.gateway(3), put(CLUSTERS[2].0, "shop/last", http()));
    refused(
        &log,
        log.gateway(3),
        put(CLUSTERS[2].0, "shop/more", http()),
        "no virtual-IP index is free",
    );
    let us = log.state.cluster(&name(US)).expect("it is a member");
    let address = service(&log, "shop/last").virtual_ipv4(&us.spec.virtual_ips);
    assert_eq!(
        address.to_string(),
        "240.0.7.255",
        "the end of the lower half"
    );
    let state = Federation::from_parts(log.state.to_parts());
    assert_eq!(state.as_ref(), Ok(&log.state));
}

#[test]
fn who_may_serve_a_service() {
    let state = fixture::federation();
    let checkout = state.service(&name("shop/checkout")).expect("it is there");
    let cases = [
        (
            "spiffe://us-east-1.fed.example.org/ns/shop/sa/checkout",
            true,
        ),
        (
            "spiffe://eu-west-1.fed.example.org/ns/shop/sa/checkout",
            true,
        ),
        (
            "spiffe://eu-west-1.fed.example.org/gateway/gw/for/ns/shop/sa/checkout",
            true,
        ),
        (
            "spiffe://eu-west-1.fed.example.org/gateway/no/for/ns/shop/sa/checkout",
            false,
        ),
        (
            "spiffe://ap-south-1.fed.example.org/ns/shop/sa/checkout",
            false,
        ),
        (
            "spiffe://us-east-1.fed.example.org/ns/shop/sa/payments",
            false,
        ),
        ("spiffe://us-east-1.fed.example.org/gateway/gw", false),
        ("spiffe://fed.example.org/user/ana", false),
        ("spiffe://elsewhere.example.org/ns/shop/sa/checkout", false),
    ];
    for (id, accepted) in cases {
        assert_eq!(checkout.accepts(&name(id), &state), accepted, "{id}");
    }
}
