use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use ::raft::eraftpb::{ConfState, Snapshot};
use bytes::Bytes;
use proptest::prelude::*;
use weft_model::fixture::{self, Log, name};
use weft_model::release::asked;
use weft_model::*;

use super::*;
use crate::image::{Image, Quarantined};

pub(crate) mod golden;
mod in_full;
mod mutants;

fn commands() -> Vec<Command> {
    let spec = fixture::cluster_spec("eu-west");
    let gateway = fixture::gateway(7);
    let export = fixture::export(ServiceType::Headless, "http", AppProtocol::Grpc, 80);
    let mut named = fixture::export(ServiceType::ClusterSetIP, "http", AppProtocol::Http2, 80);
    named.export_to = ExportTo::Clusters([name("eu-west-1"), name("ap-south-1")].into());
    named.on_stale = OnStale::Fail;
    named.identities = [ServingIdentity {
        namespace: name("shop"),
        account: name("till"),
    }]
    .into();
    let key: ServiceKey = name("shop/checkout");
    let port = NonZeroU16::new(5432).unwrap();
    let check = HealthCheck {
        http: Some(HttpProbe {
            port,
            path: "/healthz".into(),
        }),
        grpc: None,
        tcp: None,
        interval: Duration::from_millis(1500),
        timeout: Duration::from_secs(1),
        failures: 3,
        successes: 2,
    };
    let workload = WorkloadEntrySpec {
        service: name("orders"),
        address: name("10.0.0.7"),
        ports: BTreeMap::from([(name("postgres"), port)]),
        service_account: Some(name("orders")),
        version: Some(name("v1")),
        zone: Some(name("eu-west-1a")),
        weight: 50,
        checks: vec![check],
    };
    let founding = Founding {
        domain: name("fed.example.org"),
        cluster: name("us-east-1"),
        spec: spec.clone(),
        bundle: vec![vec![1, 2]],
        operators: vec![vec![3], vec![4]],
        gateway: gateway.clone(),
        admin: (name("ana"), PublicKey([9; 32])),
    };
    let grant = TokenGrant {
        key: PublicKey([5; 32]),
        cluster: name("eu-west-1"),
        region: name("eu-west"),
        role: ClusterRole::Member,
        expires: WallTime(17),
    };
    let redemption = Redemption {
        token: TokenId([6; 16]),
        bundle: vec![vec![8; 100]],
        spec: spec.clone(),
        gateway: gateway.clone(),
    };
    let signer = SignerRecord {
        user: name("ben"),
        epoch: SignerEpoch(2),
        key: PublicKey([7; 32]),
    };
    let binding = RoleBindingSpec {
        role: Role::Operator,
        users: [name("ana"), name("ben")].into(),
    };
    let cluster: ClusterName = name("eu-west-1");
    vec![
        Command::Found(Box::new(founding)),
        Command::PutCluster(cluster.clone(), Box::new(spec)),
        Command::RemoveCluster(cluster.clone()),
        Command::GrantToken(grant),
        Command::RevokeToken(TokenId([1; 16])),
        Command::RedeemToken(Box::new(redemption)),
        Command::PutGateway(gateway),
        Command::RemoveGateway(NodeId(3)),
        Command::RecordSigner(signer),
        Command::PutBundle(cluster.clone(), vec![vec![1]]),
        Command::PutExport(cluster.clone(), key.clone(), Box::new(export)),
        Command::PutExport(cluster.clone(), key.clone(), Box::new(named)),
        Command::DeleteExport(cluster.clone(), key),
        Command::PutWorkloadEntry(
            cluster.clone(),
            name("data"),
            name("pg"),
            Box::new(workload),
        ),
        Command::DeleteWorkloadEntry(cluster.clone(), name("data"), name("pg")),
        Command::PutRoleBinding(name("ops"), binding),
        Command::DeleteRoleBinding(name("ops")),
        Command::PutRoute(
            name("shop"),
            name("checkout"),
            Box::new(fixture::route("checkout")),
        ),
        Command::DeleteRoute(name("shop"), name("checkout")),
        Command::PutTrafficPolicy(
            name("shop"),
            name("checkout"),
            Box::new(fixture::traffic_policy("checkout")),
        ),
        Command::DeleteTrafficPolicy(name("shop"), name("checkout")),
        Command::PutRelease(name("shop/v2"), Box::new(fixture::release("checkout"))),
        Command::AdvanceRelease(
            name("shop/v2"),
            Advance {
                run: Index(70),
                from: Stage(1),
                to: Stage(300),
            },
        ),
        Command::PauseRelease(name("shop/v2")),
        Command::ResumeRelease(name("shop/v2"), vec![ClampId([4; 16]), ClampId([5; 16])]),
        Command::EndRelease(name("shop/v2"), ReleaseEnd::Abort),
        Command::EndRelease(name("shop/v2"), ReleaseEnd::AbortWave(name("world"))),
        Command::EndRelease(name("shop/v2"), ReleaseEnd::RollBack),
        Command::EndRelease(
            name("shop/v2"),
            ReleaseEnd::StepBack {
                run: Index(9),
                to: Stage(2),
            },
        ),
        Command::DeleteRelease(name("shop/v2")),
        Command::LapseLease(cluster.clone()),
        Command::ReturnLease(cluster),
        Command::RaiseFormat(FormatLevel(2)),
    ]
}

fn encoded(command: &Command) -> Bytes {
    let author = Author::Operator(name("ana"), SignerEpoch(1));
    let signed = encode_signed(
        RequestId([3; 16]),
        &author,
        Some(&name("ben")),
        Generation(4),
        command,
    );
    encode_entry(signed, Bytes::from_static(&[1; 64]), WallTime(99))
}

#[test]
fn every_command_comes_back_as_it_went() {
    for command in commands() {
        let decoded = decode(encoded(&command)).unwrap();
        let expected = Entry {
            request: RequestId([3; 16]),
            author: Author::Operator(name("ana"), SignerEpoch(1)),
            by_order_of: Some(name("ben")),
            generation: Generation(4),
            time: WallTime(99),
            authentic: false,
            command,
        };
        assert_eq!(decoded.entry, expected);
    }
}

#[test]
fn an_error_names_the_field() {
    let check = |signed: weft_proto::log::Signed, expect: &str| {
        use prost::Message;
        let bytes = encode_entry(signed.encode_to_vec().into(), Bytes::new(), WallTime(0));
        assert_eq!(decode(bytes).unwrap_err().to_string(), expect);
    };
    let whole = weft_proto::log::Signed {
        request: vec![1; 16].into(),
        author: Some(weft_proto::log::Author {
            author: Some(weft_proto::log::author::Author::Token(vec![2; 16].into())),
        }),
        by_order_of: String::new(),
        generation: 0,
        command: None,
    };
    check(
        weft_proto::log::Signed {
            request: vec![1; 15].into(),
            ..whole.clone()
        },
        "request: 15 bytes, 16 expected",
    );
    check(
        weft_proto::log::Signed {
            author: None,
            ..whole.clone()
        },
        "author is missing, or of a kind unknown here",
    );
    check(whole, "command is missing, or of a kind unknown here");
}

#[test]
fn an_entry_beyond_the_limit_is_refused_unread() {
    let bytes = Bytes::from(vec![0; ENTRY_BYTES_MAX + 1]);
    assert!(matches!(decode(bytes), Err(WireError::TooLarge { .. })));
}

#[test]
fn a_snapshot_comes_back_as_it_went() {
    let mut log = Log::founded();
    log.join(2, "eu-west-1");
    log.export(
        2,
        "shop/pay",
        &fixture::export(ServiceType::Headless, "pg", AppProtocol::Tcp, 5432),
    );
    let gone = Command::DeleteExport(name("eu-west-1"), name("shop/pay"));
    log.accept(log.gateway(2), gone);
    log.export(
        1,
        "shop/web",
        &fixture::export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80),
    );
    log.accept(log.gateway(1), Command::LapseLease(name("eu-west-1")));
    // A refusal is remembered too.
    let refused = log.write(log.gateway(1), Command::RemoveCluster(name("eu-west-1")));
    assert!(refused.outcome.is_err());
    release_of_everything(&mut log);
    let mut image = Image {
        index: Index(12),
        term: 3,
        conf: ConfState::from((vec![1, 2], vec![3])),
        state: log.state,
        ..Image::default()
    };
    image.unreadable.add(Quarantined {
        index: Index(5),
        reason: "odd".into(),
    });
    let mut snapshot = Snapshot {
        data: encode_image(&image),
        ..Snapshot::default()
    };
    snapshot.mut_metadata().index = 12;
    snapshot.mut_metadata().term = 3;
    snapshot.mut_metadata().set_conf_state(image.conf.clone());
    let back = decode_image(&snapshot).unwrap();
    assert_eq!(back.state, image.state);
    assert_eq!(back.state.digest(), image.state.digest());
    assert_eq!(back.unreadable, image.unreadable);
    assert_eq!(
        (back.index, back.term, back.conf),
        (image.index, image.term, image.conf)
    );
}

/// A release with something in every field, and each kind of change in its history.
fn release_of_everything(log: &mut Log) {
    log.raise(FormatLevel::STEPS_BACK);
    let put = |key: &str| Command::PutRelease(name(key), Box::new(fixture::release("checkout")));
    log.accept(log.admin(), put("shop/v2"));
    let run = log.state.release(&name("shop/v2")).unwrap().created;
    let advance = |from, to| {
        let (from, to) = (Stage(from), Stage(to));
        Command::AdvanceRelease(name("shop/v2"), Advance { run, from, to })
    };
    for command in [
        advance(1, 2),
        Command::PauseRelease(name("shop/v2")),
        Command::ResumeRelease(name("shop/v2"), vec![ClampId([7; 16])]),
        advance(2, 6),
        Command::EndRelease(name("shop/v2"), ReleaseEnd::StepBack { run, to: Stage(3) }),
        Command::EndRelease(name("shop/v2"), ReleaseEnd::AbortWave(name("world"))),
        Command::EndRelease(name("shop/v2"), ReleaseEnd::RollBack),
        put("shop/v3"),
        Command::EndRelease(name("shop/v3"), ReleaseEnd::Abort),
    ] {
        log.accept(log.admin(), command);
    }
    let refused = log.write(log.admin(), Command::PauseRelease(name("shop/v2")));
    assert!(refused.outcome.is_err());
}

#[test]
fn refusals_of_releases_come_back_as_they_went() {
    let key: ServiceKey = name("shop/v2");
    for why in [
        ReleaseRefusal::Unknown,
        ReleaseRefusal::OtherUnderWay {
            service: name("shop/checkout"),
            other: name("shop/v3"),
        },
        ReleaseRefusal::Moved {
            at: Stage(2),
            from: Stage(1),
        },
        ReleaseRefusal::OtherRun { created: Index(9) },
        ReleaseRefusal::Phase {
            phase: ReleasePhase::RolledBack,
            what: asked::PAUSED,
        },
        ReleaseRefusal::Fixed,
        ReleaseRefusal::Superseded { since: Index(4) },
        ReleaseRefusal::NoWave(name("mars")),
        ReleaseRefusal::NoStage {
            from: Stage(1),
            to: Stage(9),
            last: Stage(5),
        },
    ] {
        let key = key.clone();
        let refusal = Refusal::Release { key, why };
        let back = outcome::read_refusal(&outcome::write_refusal(&refusal));
        assert_eq!(back, Ok(refusal));
    }
}

#[test]
fn configuration_entries_of_the_library_are_read_without_its_codec() {
    use ::raft::eraftpb::{ConfChangeTransition, ConfChangeV2, EntryType};
    use weft_proto::log::conf_change::Type;
    let mut change = ConfChangeV2::default();
    change.set_transition(ConfChangeTransition::Implicit);
    let singles = vec![
        raft::conf_change_single(Type::AddVoter, 4),
        raft::conf_change_single(Type::Remove, 300),
        raft::conf_change_single(Type::AddLearner, 5),
    ];
    change.set_changes(singles.into());
    let back = raft::read_conf_change(EntryType::EntryConfChangeV2, written(&change)).unwrap();
    assert_eq!(back, change);
    let empty = raft::read_conf_change(EntryType::EntryConfChangeV2, Bytes::new()).unwrap();
    assert_eq!(empty, ConfChangeV2::default());
}

/// What the library puts into its entries for a change, byte for byte.
fn written(change: &::raft::eraftpb::ConfChangeV2) -> Bytes {
    use ::raft::storage::MemStorage;
    let storage = MemStorage::new_with_conf_state(ConfState::from((vec![1], vec![300])));
    let config = ::raft::Config::new(1);
    let quiet = slog::Logger::root(slog::Discard, slog::o!());
    let mut raw = ::raft::RawNode::new(&config, storage, &quiet).unwrap();
    raw.campaign().unwrap();
    raw.propose_conf_change(Vec::new(), change.clone()).unwrap();
    let entries = raw.raft.raft_log.all_entries();
    entries.last().unwrap().data.clone()
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = Bytes::from(bytes);
        let _ = decode(bytes.clone());
        let _ = encode_entry(bytes.clone(), Bytes::new(), WallTime(0));
        let _ = decode(encode_entry(bytes, Bytes::new(), WallTime(0)));
    }

    #[test]
    fn a_broken_entry_never_panics(which in 0_usize..40, at in 0_usize..600, bit in 0_u8..8) {
        let commands = commands();
        let mut bytes = encoded(&commands[which % commands.len()]).to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = decode(bytes.into());
    }
}
