//! Members, their gateways, tokens and leases.

use super::*;

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
        admin,
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
    for (node, cluster) in [(4, "eu-2"), (5, "eu-3"), (6, "eu-4")] {
        log.join(node, cluster);
        let found = log.state.node(NodeId(node.into()));
        assert!(found.is_some_and(|found| found.cluster.as_str() == cluster));
        log.accept(log.admin(), Command::RemoveCluster(name(cluster)));
    }
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
fn what_comes_before_its_level_is_refused_or_kept_unread() {
    let mut log = three();
    let next = FormatLevel(FormatLevel::REFUSED_EARLY.0 + 1);
    for level in (2..=FormatLevel::REFUSED_EARLY.0).map(FormatLevel) {
        assert!(!log.state.allows(level) && !log.state.keeps_unread(level));
    }
    assert!(!log.state.allows(next) && log.state.keeps_unread(next));
    log.raise(next);
    assert!(log.state.allows(next) && !log.state.keeps_unread(next));
    assert!(log.state.keeps_unread(FormatLevel(next.0 + 1)));
    // A first entry is read at any level: nobody else is there yet.
    let empty = Federation::default();
    assert!(empty.allows(next) && !empty.keeps_unread(next));
}

#[test]
fn a_command_is_of_the_highest_level_that_a_part_of_it_needs() {
    use ClusterRole::{Member, Voter, Witness};
    use RelayConsent::{Allow, Deny};
    let (first, relays) = (FormatLevel::FIRST, FormatLevel::RELAYS);
    let (none, some, ceilings) = (None, Percent::new(20), FormatLevel::CEILINGS);
    for (role, relay, max_share, of_put, of_redeem) in [
        (Member, Deny, none, first, first),
        (Voter, Allow, none, relays, relays),
        (Witness, Deny, none, FormatLevel::WITNESSES, first),
        (Witness, Allow, none, relays, relays),
        (Member, Allow, some, ceilings, ceilings),
    ] {
        let spec = ClusterSpec {
            role,
            relay,
            max_share,
            ..cluster_spec("eu-west")
        };
        let put = Command::PutCluster(name(EU), Box::new(spec.clone()));
        assert_eq!(put.level(), of_put);
        let mut joiner = Redemption {
            token: TokenId([1; 16]),
            bundle: Vec::new(),
            spec,
            gateway: gateway(4),
        };
        let redeem = Command::RedeemToken(Box::new(joiner.clone()));
        assert_eq!(redeem.level(), of_redeem);
        joiner.gateway.role = GatewayRole::Follower;
        let redeem = Command::RedeemToken(Box::new(joiner));
        assert_eq!(redeem.level(), of_redeem.max(FormatLevel::FOLLOWERS));
    }
}

#[test]
fn the_role_that_a_joiner_names_counts_for_nothing() {
    let mut log = three();
    let admin = log.admin();
    for (seed, gateway_name) in [(50, "gw"), (51, "gw-2")] {
        let granted = grant("eu-2", seed, soon(&log));
        log.accept(admin.clone(), Command::GrantToken(granted));
        let (author, mut command) = redeem("eu-2", seed, gateway_name);
        if let Command::RedeemToken(joiner) = &mut command {
            joiner.spec.role = ClusterRole::Witness;
        }
        // Witnesses are of a later level.
        assert_eq!(log.state.format(), FormatLevel::FIRST);
        log.accept(author, command);
    }
    let member = log.state.cluster(&name("eu-2")).expect("it joined");
    assert_eq!(member.spec.role, ClusterRole::Member);
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
fn a_witness_offers_nothing_and_comes_with_its_level() {
    let mut log = three();
    let role = |log: &Log, role| {
        let mut spec = log.state.cluster(&name(EU)).expect("a member").spec.clone();
        spec.role = role;
        Command::PutCluster(name(EU), Box::new(spec))
    };
    let witness = role(&log, ClusterRole::Witness);
    refused(&log, log.admin(), witness.clone(), "needs format level");
    log.raise(FormatLevel::WITNESSES);
    log.accept(log.gateway(2), put(EU, "shop/a", http()));
    refused(&log, log.admin(), witness.clone(), "withdraw them first");
    let withdraw = Command::DeleteExport(name(EU), name("shop/a"));
    log.accept(log.gateway(2), withdraw);
    log.accept(log.admin(), witness);
    refused(
        &log,
        log.gateway(2),
        put(EU, "shop/a", http()),
        "offers no services",
    );
    // It is trusted with the log all the same.
    log.accept(log.gateway(2), Command::LapseLease(name(US)));
    let voter = role(&log, ClusterRole::Voter);
    log.accept(log.admin(), voter);
    log.accept(log.gateway(2), put(EU, "shop/a", http()));
}

/// A member that does not know of it would take the cluster for one that does not consent.
#[test]
fn consent_to_relay_has_a_level_of_its_own() {
    let mut log = Log::founded();
    let cluster: ClusterName = name(CLUSTERS[0].0);
    let mut spec = log.state.cluster(&cluster).unwrap().spec.clone();
    spec.relay = RelayConsent::Allow;
    let put = Command::PutCluster(cluster.clone(), Box::new(spec));
    let before = log.write(log.admin(), put.clone());
    let why = before.outcome.unwrap_err().to_string();
    assert!(why.contains("needs format level 6"), "{why}");
    log.raise(FormatLevel::RELAYS);
    log.accept(log.admin(), put);
    let relay = log.state.cluster(&cluster).unwrap().spec.relay;
    assert_eq!(relay, RelayConsent::Allow);
}

#[test]
fn a_follower_is_a_further_gateway_and_stays_one() {
    let mut log = three();
    let admin = log.admin();
    for seed in 50..53 {
        log.accept(
            admin.clone(),
            Command::GrantToken(grant("eu-2", seed, soon(&log))),
        );
    }
    let as_follower = |seed| {
        let (author, mut command) = redeem("eu-2", seed, "gw-2");
        if let Command::RedeemToken(redemption) = &mut command {
            redemption.gateway.role = GatewayRole::Follower;
            redemption.gateway.format = FormatLevel::FOLLOWERS;
        }
        (author, command)
    };
    let (author, command) = as_follower(50);
    refused(&log, author.clone(), command.clone(), "format level 7");
    log.raise(FormatLevel::FOLLOWERS);
    refused(&log, author.clone(), command.clone(), "its first gateway");
    let (first, mut founds) = redeem("eu-2", 51, "gw");
    if let Command::RedeemToken(redemption) = &mut founds {
        redemption.gateway.format = FormatLevel::FOLLOWERS;
    }
    log.accept(first, founds);
    log.accept(author, command);
    let (id, record) = log.state.nodes().last().expect("it joined");
    let (id, mut record) = (id, record.gateway.clone());
    assert_eq!(record.role, GatewayRole::Follower);
    // Its cluster may vote, and it may not; nor does it say what only a leader sees.
    let mut spec = log
        .state
        .cluster(&name("eu-2"))
        .expect("a member")
        .spec
        .clone();
    spec.role = ClusterRole::Voter;
    log.accept(admin, Command::PutCluster(name("eu-2"), Box::new(spec)));
    assert!(log.state.may_vote(NodeId(id.0 - 1)) && !log.state.may_vote(id));
    let own = log.gateway(id.0);
    refused(
        &log,
        own.clone(),
        Command::LapseLease(name(US)),
        "may not change",
    );
    // What it says of its role later is not looked at.
    record.role = GatewayRole::Member;
    log.accept(own, Command::PutGateway(record));
    let record = log.state.node(id).expect("it is there");
    assert_eq!(record.gateway.role, GatewayRole::Follower);
}
