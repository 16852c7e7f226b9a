//! Who may change what.

use super::*;

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
    drained.namespaces.insert(name("shop"));
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
