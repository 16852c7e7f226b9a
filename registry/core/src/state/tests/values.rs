//! Values that break a rule of their kind, and rows that no log makes.

use super::*;

#[test]
fn wrong_values_are_refused_with_what_would_be_right() {
    let log = three();
    let changed = |change: fn(&mut ExportSpec)| {
        let mut spec = http();
        change(&mut spec);
        put(US, "shop/a", spec)
    };
    let cases = [
        (changed(|spec| spec.ports.clear()), "ports is empty"),
        (
            changed(|spec| spec.ports.push(spec.ports[0].clone())),
            "two ports are called http",
        ),
        (
            changed(|spec| {
                let twin = ServicePort {
                    name: None,
                    ..spec.ports[0].clone()
                };
                spec.ports.push(twin);
            }),
            "port 80 stands twice",
        ),
        (
            changed(|spec| spec.dns.ttl = Duration::ZERO),
            "dns.ttl 0s is not between 1s and 1h",
        ),
        (
            changed(|spec| spec.dns.ttl = Duration::from_secs(3601)),
            "between 1s and 1h",
        ),
        (delete(US, "shop/a"), "does not exist"),
        (Command::PutBundle(name(US), vec![]), "bundle is empty"),
        (
            Command::PutBundle(name(US), vec![vec![]]),
            "is empty or above",
        ),
        (Command::PutBundle(name(US), vec![vec![1]; 9]), "at most 8"),
    ];
    for (command, text) in cases {
        refused(&log, log.gateway(1), command, text);
    }
    let ranges = [
        ("240.0.0.1/12", "write 240.0.0.0/12"),
        ("240.0.0.0/21", "/20 is the smallest"),
        ("224.0.0.0/8", "no unicast range"),
    ];
    for (range, text) in ranges {
        let mut spec = cluster_spec("us-east");
        spec.virtual_ips.ipv4 = name(range);
        let put = Command::PutCluster(name(US), Box::new(spec));
        refused(&log, log.admin(), put, text);
    }
    let mut spec = cluster_spec("us-east");
    spec.role = ClusterRole::Member;
    refused(
        &log,
        log.admin(),
        Command::PutCluster(name(US), Box::new(spec)),
        "always voter",
    );
}

#[test]
fn a_health_check_has_exactly_one_probe() {
    let log = three();
    let entry = |checks: &str| {
        let spec = format!(
            r#"{{"service":"pg","address":"10.0.0.1","ports":{{"pg":5432}},"checks":[{checks}]}}"#
        );
        let spec: WorkloadEntrySpec = serde_json::from_str(&spec).expect("the form is right");
        Command::PutWorkloadEntry(name(US), name("data"), name("pg"), Box::new(spec))
    };
    let cases = [
        ("{}", "exactly one of"),
        (
            r#"{"tcp":{"port":1},"http":{"port":1,"path":"/"}}"#,
            "exactly one of",
        ),
        (r#"{"http":{"port":1,"path":"x"}}"#, "begin with '/'"),
        (r#"{"tcp":{"port":1},"failures":0}"#, "failures 0"),
        (r#"{"tcp":{"port":1},"interval":"1ms"}"#, "interval 1ms"),
    ];
    for (checks, text) in cases {
        refused(&log, log.gateway(1), entry(checks), text);
    }
    let mut log = log;
    log.accept(log.gateway(1), entry(r#"{"tcp":{"port":1}}"#));
    log.accept(
        log.gateway(1),
        Command::DeleteWorkloadEntry(name(US), name("data"), name("pg")),
    );
}

#[test]
fn kinds_are_known_enforced_or_not() {
    assert_eq!(
        KindName::parse("Cluster"),
        KindName::Enforced(Kind::Cluster)
    );
    let later = "ConcurrencyLimit";
    assert_eq!(KindName::parse(later), KindName::NotYet(later));
    assert_eq!(KindName::parse("cluster"), KindName::Unknown);
    assert_eq!(KindName::all().count(), 10);
}

#[test]
fn rows_that_no_log_makes_are_refused() {
    let parts = fixture::federation().to_parts();
    let broken = |change: fn(&mut FederationParts)| {
        let mut parts = parts.clone();
        change(&mut parts);
        Federation::from_parts(parts).err()
    };
    assert_eq!(broken(|_| ()), None);
    let cases: [fn(&mut FederationParts); 6] = [
        |parts| parts.clusters.clear(),
        |parts| parts.services.clear(),
        |parts| parts.exports.clear(),
        |parts| parts.next_node = NodeId(2),
        |parts| parts.nodes.push(parts.nodes[0].clone()),
        |parts| parts.services[1].1.0 = parts.services[0].1.0,
    ];
    for (number, change) in cases.into_iter().enumerate() {
        assert!(broken(change).is_some(), "case {number}");
    }
}
