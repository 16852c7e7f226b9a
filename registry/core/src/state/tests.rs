//! What each command does and what it refuses, one table for each concern.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::fixture::{ADMIN, CLUSTERS, DOMAIN, Log, cluster_spec, export, gateway, name};
use crate::*;

const US: &str = "us-east-1";
const EU: &str = "eu-west-1";

/// us-east-1 (node 1, founder) and eu-west-1 (node 2), both voters; ap-south-1
/// (node 3) a member without a vote.
fn three() -> Log {
    let mut log = Log::founded();
    log.join(2, EU);
    log.join(3, CLUSTERS[2].0);
    let mut spec = cluster_spec(CLUSTERS[2].1);
    spec.role = ClusterRole::Member;
    let admin = log.admin();
    log.accept(
        admin,
        Command::PutCluster(name(CLUSTERS[2].0), Box::new(spec)),
    );
    log
}

/// Writes the command, which must be refused with this text, and leave no trace
/// but the request's outcome.
#[track_caller]
fn refused(log: &Log, author: Author, command: Command, text: &str) {
    let mut log = log.clone();
    let before = log.state.clone();
    let applied = log.write(author, command);
    let refusal = applied.outcome.expect_err("it must be refused").to_string();
    assert!(refusal.contains(text), "{refusal:?} does not say {text:?}");
    assert_eq!(applied.events, []);
    let mut after = log.state.to_parts();
    let unchanged = before.to_parts();
    after.applied = unchanged.applied;
    after.time = unchanged.time;
    after.orders.clone_from(&unchanged.orders);
    after.requests.clone_from(&unchanged.requests);
    assert_eq!(after, unchanged);
}

fn http() -> ExportSpec {
    export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80)
}

fn put(cluster: &str, key: &str, spec: ExportSpec) -> Command {
    Command::PutExport(name(cluster), name(key), Box::new(spec))
}

fn delete(cluster: &str, key: &str) -> Command {
    Command::DeleteExport(name(cluster), name(key))
}

fn service<'a>(log: &'a Log, key: &str) -> &'a Service {
    log.state.service(&name(key)).expect("the service is there")
}

fn grant(cluster: &str, seed: u8, expires: WallTime) -> TokenGrant {
    TokenGrant {
        key: PublicKey([seed; 32]),
        cluster: name(cluster),
        region: name("eu-west"),
        role: ClusterRole::Member,
        expires,
    }
}

fn redeem(cluster: &str, seed: u8, gateway_name: &str) -> (Author, Command) {
    let token = TokenId::of(&PublicKey([seed; 32]));
    let mut record = gateway(seed);
    record.name = name(gateway_name);
    let redemption = Redemption {
        token,
        bundle: vec![cluster.into()],
        spec: cluster_spec("mars"),
        gateway: record,
    };
    let command = Command::RedeemToken(Box::new(redemption));
    (Author::Token(token), command)
}

fn soon(log: &Log) -> WallTime {
    log.state.time().after(Duration::from_secs(600))
}

#[test]
fn the_first_entry_founds_and_no_other() {
    let log = three();
    let founding = log.entries[0].command.clone();
    refused(&log, Author::Founder, founding, "already founded");
    let unfounded = Log::default();
    let admin = Author::Operator(name(ADMIN), SignerEpoch(1));
    refused(
        &unfounded,
        admin,
        Command::RevokeToken(TokenId([0; 16])),
        "or not yet",
    );
    assert_eq!(log.state.domain(), Some(&name(DOMAIN)));
    assert_eq!(log.state.role(&name(ADMIN)), Some(Role::Admin));
    assert_eq!(
        log.state.node(NodeId(1)).map(|n| n.epoch),
        Some(SignerEpoch(1))
    );
}

#[test]
fn what_nobody_known_signed_is_refused() {
    let mut log = three();
    let mut forged = log.entry(log.gateway(1), put(US, "shop/a", http()));
    forged.authentic = false;
    let outcome = log.append(forged.clone()).outcome;
    assert_eq!(outcome, Err(Refusal::Signature));
    forged.authentic = true;
    assert!(
        log.append(forged).outcome.is_ok(),
        "a forgery occupies no request id"
    );
    let strangers = [
        Author::Gateway(NodeId(9), SignerEpoch(1)),
        Author::Gateway(NodeId(1), SignerEpoch(2)),
        Author::Operator(name("eve"), SignerEpoch(1)),
        Author::Token(TokenId([7; 16])),
        Author::Founder,
    ];
    for author in strangers {
        refused(&log, author, put(US, "shop/b", http()), "signature");
    }
}

#[test]
fn only_owners_change_their_records() {
    let log = three();
    let (us, eu, ap) = (log.gateway(1), log.gateway(2), log.gateway(3));
    let admin = log.admin();
    let signer = |user: &str| {
        Command::RecordSigner(SignerRecord {
            user: name(user),
            epoch: SignerEpoch(1),
            key: PublicKey([9; 32]),
        })
    };
    let entry = |cluster: &str| Command::DeleteWorkloadEntry(name(cluster), name("a"), name("b"));
    let binding = RoleBindingSpec {
        role: Role::Admin,
        users: BTreeSet::from([name("eve")]),
    };
    let cases = [
        (us.clone(), put(EU, "shop/a", http())),
        (admin.clone(), put(EU, "shop/a", http())),
        (us.clone(), delete(EU, "shop/a")),
        (us.clone(), entry(EU)),
        (us.clone(), Command::PutBundle(name(EU), vec![vec![1]])),
        (admin.clone(), Command::PutBundle(name(EU), vec![vec![1]])),
        (us.clone(), Command::RemoveGateway(NodeId(2))),
        (us.clone(), Command::RemoveCluster(name(EU))),
        (
            us.clone(),
            Command::PutCluster(name(US), Box::new(cluster_spec("us-east"))),
        ),
        (us.clone(), Command::GrantToken(grant("x", 50, soon(&log)))),
        (us.clone(), Command::RevokeToken(TokenId([0; 16]))),
        (us, Command::PutRoleBinding(name("mine"), binding)),
        (eu, signer("eve")),
        (admin.clone(), signer("eve")),
        (ap.clone(), Command::LapseLease(name(EU))),
        (ap.clone(), Command::ReturnLease(name(EU))),
        (ap, Command::RaiseFormat(FormatLevel(2))),
        (admin.clone(), Command::LapseLease(name(EU))),
        (admin, Command::PutGateway(gateway(1))),
    ];
    for (author, command) in cases {
        refused(&log, author, command, "may not change");
    }
}

#[test]
fn roles_decide_what_operators_may() {
    let mut log = three();
    for (user, role) in [("oz", Role::Operator), ("vi", Role::Viewer)] {
        let record = SignerRecord {
            user: name(user),
            epoch: SignerEpoch(1),
            key: PublicKey([8; 32]),
        };
        log.accept(log.gateway(1), Command::RecordSigner(record));
        let spec = RoleBindingSpec {
            role,
            users: BTreeSet::from([name(user)]),
        };
        log.accept(log.admin(), Command::PutRoleBinding(name(user), spec));
    }
    let mut drained = cluster_spec("eu-west");
    drained.drain = true;
    let drain = Command::PutCluster(name(EU), Box::new(drained.clone()));
    refused(&log, log.operator("vi"), drain.clone(), "may not change");
    log.accept(log.operator("oz"), drain);
    drained.relay = RelayConsent::Allow;
    let more = Command::PutCluster(name(EU), Box::new(drained));
    refused(&log, log.operator("oz"), more.clone(), "may not change");
    log.accept(log.admin(), more);
}

#[test]
fn an_administrator_remains() {
    let mut log = three();
    let nobody = RoleBindingSpec {
        role: Role::Admin,
        users: BTreeSet::new(),
    };
    let keyless = RoleBindingSpec {
        role: Role::Admin,
        users: BTreeSet::from([name("eve")]),
    };
    let viewer = RoleBindingSpec {
        role: Role::Viewer,
        users: BTreeSet::from([name(ADMIN)]),
    };
    for spec in [nobody, keyless, viewer] {
        let put = Command::PutRoleBinding(name("admins"), spec);
        refused(&log, log.admin(), put, "without an administrator");
    }
    let delete = Command::DeleteRoleBinding(name("admins"));
    refused(
        &log,
        log.admin(),
        delete.clone(),
        "without an administrator",
    );
    let second = RoleBindingSpec {
        role: Role::Admin,
        users: BTreeSet::from([name(ADMIN)]),
    };
    log.accept(log.admin(), Command::PutRoleBinding(name("second"), second));
    log.accept(log.admin(), delete);
    let gone = Command::DeleteRoleBinding(name("admins"));
    refused(&log, log.admin(), gone, "does not exist");
}

#[test]
fn a_signers_epochs_have_no_gaps_and_old_keys_no_say() {
    let mut log = three();
    let old = log.admin();
    let next = |epoch| {
        Command::RecordSigner(SignerRecord {
            user: name(ADMIN),
            epoch: SignerEpoch(epoch),
            key: PublicKey([77; 32]),
        })
    };
    for wrong in [0, 1, 3] {
        refused(
            &log,
            log.gateway(1),
            next(wrong),
            "its next key has epoch 2",
        );
    }
    log.accept(log.gateway(1), next(2));
    let drain = Command::RemoveCluster(name(EU));
    refused(&log, old, drain.clone(), "signature");
    log.accept(log.admin(), drain);
}

#[test]
fn tokens_are_used_once_in_time_and_for_their_cluster() {
    let mut log = three();
    let admin = log.admin();
    let now = log.state.time();
    let granted = |seed, expires| Command::GrantToken(grant("eu-2", seed, expires));
    refused(&log, admin.clone(), granted(50, now), "expired");
    let far = now.after(Duration::from_secs(90_000));
    refused(&log, admin.clone(), granted(50, far), "24h");
    for seed in 50..54 {
        log.accept(admin.clone(), granted(seed, soon(&log)));
    }
    refused(
        &log,
        admin.clone(),
        granted(50, soon(&log)),
        "exists already",
    );
    log.accept(
        admin.clone(),
        Command::RevokeToken(TokenId::of(&PublicKey([51; 32]))),
    );
    let (author, command) = redeem("eu-2", 51, "gw");
    refused(&log, author.clone(), command, "revoked");
    refused(&log, author, redeem("eu-2", 52, "gw").1, "may not change");
    let (author, command) = redeem("eu-2", 50, "gw");
    log.accept(author.clone(), command.clone());
    refused(&log, author, command, "used already");
    let member = log.state.cluster(&name("eu-2")).expect("it joined");
    assert_eq!(
        (member.spec.region.as_str(), member.spec.role),
        ("eu-west", ClusterRole::Member)
    );
    let (author, command) = redeem("eu-2", 52, "gw");
    refused(&log, author.clone(), command, "gateway gw of eu-2 exists");
    refused(
        &log,
        author.clone(),
        redeem("other", 52, "gw-2").1,
        "another bundle",
    );
    log.accept(author, redeem("eu-2", 52, "gw-2").1);
    let (author, command) = redeem("eu-2", 53, "gw-3");
    let mut late = log.entry(author, command);
    late.time = now.after(Duration::from_secs(700));
    assert_eq!(log.append(late).outcome, Err(Refusal::Token("expired")));
}

#[test]
fn a_removed_cluster_leaves_nothing_and_never_returns() {
    let mut log = three();
    log.accept(log.gateway(2), put(EU, "shop/a", http()));
    log.accept(log.gateway(1), put(US, "shop/b", http()));
    log.accept(log.admin(), Command::GrantToken(grant(EU, 50, soon(&log))));
    refused(
        &log,
        log.admin(),
        Command::RemoveCluster(name(US)),
        "the founder",
    );
    let events = log.accept(log.gateway(2), Command::RemoveCluster(name(EU)));
    for gone in [
        Key::Cluster(name(EU)),
        Key::Node(NodeId(2)),
        Key::Export(name("shop/a"), name(EU)),
        Key::Service(name("shop/a")),
    ] {
        assert!(events.contains(&Event::Deleted(gone.clone())), "{gone:?}");
    }
    assert_eq!(log.state.services().count(), 1);
    let again = Command::GrantToken(grant(EU, 51, soon(&log)));
    refused(&log, log.admin(), again, "removed member");
    let (author, command) = redeem(EU, 50, "gw");
    refused(&log, author, command, "revoked");
    refused(&log, log.gateway(2), delete(EU, "shop/a"), "signature");
    log.join(4, "eu-2");
    assert!(
        log.state.node(NodeId(4)).is_some(),
        "node ids are not reused"
    );
}

#[test]
fn a_gateway_keeps_its_name_and_counts_its_keys() {
    let mut log = three();
    let mut moved = gateway(2);
    moved.tunnel = None;
    log.accept(log.gateway(2), Command::PutGateway(moved.clone()));
    assert_eq!(
        log.state.node(NodeId(2)).map(|n| n.epoch),
        Some(SignerEpoch(1))
    );
    moved.key = PublicKey([60; 32]);
    let old = log.gateway(2);
    log.accept(old.clone(), Command::PutGateway(moved.clone()));
    assert_eq!(
        log.state.node(NodeId(2)).map(|n| n.epoch),
        Some(SignerEpoch(2))
    );
    refused(&log, old, Command::PutGateway(moved.clone()), "signature");
    moved.name = name("other");
    refused(
        &log,
        log.gateway(2),
        Command::PutGateway(moved.clone()),
        "part of its identity",
    );
    moved.name = name("gw");
    moved.format = FormatLevel(0);
    refused(
        &log,
        log.gateway(2),
        Command::PutGateway(moved),
        "newer version",
    );
    let last = Command::RemoveGateway(NodeId(2));
    refused(&log, log.gateway(2), last, "remove the cluster instead");
    refused(
        &log,
        log.admin(),
        Command::RemoveGateway(NodeId(9)),
        "does not exist",
    );
}

#[test]
fn the_format_rises_once_every_gateway_understands_it() {
    let mut log = three();
    let raise = Command::RaiseFormat(FormatLevel(2));
    refused(
        &log,
        log.gateway(1),
        raise.clone(),
        "needs format level 2, 1 is in force",
    );
    for node in 1..=3 {
        let mut record = gateway(node);
        record.format = FormatLevel(2);
        log.accept(log.gateway(node.into()), Command::PutGateway(record));
    }
    let events = log.accept(log.gateway(1), raise.clone());
    assert_eq!(events, [Event::Format(FormatLevel(2))]);
    refused(&log, log.gateway(1), raise, "exists already");
}

#[test]
fn leases_lapse_and_return_once() {
    let mut log = three();
    let lapse = log.entry(log.gateway(1), Command::LapseLease(name(EU)));
    assert_eq!(
        log.append(lapse.clone()).events,
        [Event::Lease(name(EU), true)]
    );
    assert_eq!(
        log.accept(log.gateway(1), Command::LapseLease(name(EU))),
        []
    );
    let back = log.accept(log.gateway(1), Command::ReturnLease(name(EU)));
    assert_eq!(back, [Event::Lease(name(EU), false)]);
    let replay = Entry {
        request: RequestId([255; 16]),
        ..lapse
    };
    let outcome = log.append(replay).outcome;
    assert!(
        matches!(outcome, Err(Refusal::StaleGeneration { .. })),
        "{outcome:?}"
    );
}

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
fn a_retried_request_gets_its_first_outcome() {
    let mut log = three();
    let entry = log.entry(log.gateway(1), put(US, "shop/a", http()));
    let first = log.append(entry.clone());
    let state = log.state.clone();
    let second = log.append(entry);
    assert_eq!(second.outcome, first.outcome);
    assert_eq!(second.events, []);
    let mut parts = log.state.to_parts();
    parts.applied = state.applied();
    assert_eq!(parts, state.to_parts());
}

#[test]
fn two_gateways_of_a_cluster_write_different_records_at_once() {
    let mut log = three();
    let a = log.entry(log.gateway(1), put(US, "shop/a", http()));
    let b = Entry {
        request: RequestId([250; 16]),
        ..log.entry(log.gateway(1), put(US, "shop/b", http()))
    };
    assert_eq!(a.generation, b.generation);
    assert!(log.append(a.clone()).outcome.is_ok());
    assert!(log.append(b).outcome.is_ok());
    log.accept(log.gateway(1), delete(US, "shop/a"));
    let replayed = Entry {
        request: RequestId([251; 16]),
        ..a
    };
    let outcome = log.append(replayed).outcome;
    assert!(
        matches!(outcome, Err(Refusal::StaleGeneration { .. })),
        "{outcome:?}"
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
    let mut log = Log::founded();
    let mut spec = cluster_spec("us-east");
    spec.virtual_ips.ipv4 = name("240.0.0.0/20");
    log.accept(log.admin(), Command::PutCluster(name(US), Box::new(spec)));
    assert_eq!(log.state.virtual_ip_capacity(), 4094);
    for number in 0..4094 {
        log.accept(log.gateway(1), put(US, &format!("shop/s{number}"), http()));
    }
    refused(
        &log,
        log.gateway(1),
        put(US, "shop/more", http()),
        "no virtual-IP index is free",
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

#[test]
fn kinds_are_known_enforced_or_not() {
    assert_eq!(
        KindName::parse("Cluster"),
        KindName::Enforced(Kind::Cluster)
    );
    assert_eq!(KindName::parse("Release"), KindName::NotYet("Release"));
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
