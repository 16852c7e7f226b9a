//! Random writes: mostly such as may be accepted, some forged, stale or absurd.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::fixture::{self, ADMIN, Log, cluster_spec, gateway, name};
use crate::*;

pub(super) const NAMES: [&str; 5] = ["us-east-1", "eu-west-1", "ap-south-1", "c-4", "c-5"];

/// Who writes; keys and epochs are looked up when it does.
#[derive(Debug, Clone)]
pub(super) enum Who {
    Gateway(u64),
    User(&'static str),
    Token(u8),
    Founder,
}

/// A write that is still to find its place in a log.
#[derive(Debug, Clone)]
pub(super) struct Step {
    who: Who,
    command: Command,
    /// What is added to the author's next generation.
    generation: i64,
    /// What is added to the signer's epoch.
    epoch: u32,
    authentic: bool,
    wait: Duration,
    /// Lets this many entries of other kinds pass before it.
    pub(super) skip: u64,
}

fn clusters() -> impl Strategy<Value = ClusterName> {
    prop_oneof![6 => select(&NAMES[..3]), 1 => select(&NAMES[3..])].prop_map(name)
}

fn keys() -> impl Strategy<Value = ServiceKey> {
    select(&["shop/a", "shop/b", "data/a"][..]).prop_map(name)
}

fn ports() -> impl Strategy<Value = ServicePort> {
    let spoken = select(&[AppProtocol::Tcp, AppProtocol::Http, AppProtocol::Grpc][..]);
    let called = proptest::option::of(select(&["http", "grpc", "admin"][..]));
    (called, spoken, 1u16..4).prop_map(|(called, app_protocol, port)| ServicePort {
        name: called.map(name),
        protocol: TransportProtocol::Tcp,
        app_protocol,
        port: port.try_into().unwrap(),
    })
}

pub(in crate::state) fn exports() -> impl Strategy<Value = ExportSpec> {
    let kind = select(&[ServiceType::ClusterSetIP, ServiceType::Headless][..]);
    let some = prop_oneof![3 => vec(ports(), 1..2), 1 => vec(ports(), 0..4)];
    (kind, some, 0u64..8).prop_map(|(service_type, ports, ttl)| ExportSpec {
        service_type,
        ports,
        export_to: ExportTo::Everyone,
        identities: BTreeSet::new(),
        on_stale: OnStale::Serve,
        dns: DnsSpec {
            ttl: Duration::from_secs(ttl),
        },
    })
}

fn specs() -> impl Strategy<Value = ClusterSpec> {
    let role = select(&[ClusterRole::Voter, ClusterRole::Member][..]);
    let namespaces = btree_set(select(&["shop", "data"][..]).prop_map(name), 0..2);
    let share =
        proptest::option::of((0u8..=100).prop_map(|percent| Percent::new(percent).unwrap()));
    (role, any::<bool>(), share, namespaces, 16u8..24).prop_map(|drawn| {
        let (role, drain, share, namespaces, prefix) = drawn;
        let mut spec = cluster_spec("us-east");
        (spec.role, spec.drain, spec.namespaces) = (role, drain, namespaces);
        spec.max_share = share;
        spec.virtual_ips.ipv4 = name(&format!("240.0.0.0/{prefix}"));
        spec
    })
}

fn gateways() -> impl Strategy<Value = GatewayRecord> {
    (1u8..9, 0u32..4, select(&["gw", "gw-2"][..])).prop_map(|(seed, format, called)| {
        let mut record = gateway(seed);
        (record.format, record.name) = (FormatLevel(format), name(called));
        record
    })
}

fn bindings() -> impl Strategy<Value = RoleBindingSpec> {
    let role = select(&[Role::Viewer, Role::Operator, Role::Admin][..]);
    let users = btree_set(select(&[ADMIN, "bob"][..]).prop_map(name), 0..3);
    (role, users).prop_map(|(role, users)| RoleBindingSpec { role, users })
}

fn tokens() -> impl Strategy<Value = Command> {
    let grant = (50u8..54, clusters(), 0u64..1_000).prop_map(|(seed, cluster, life)| {
        Command::GrantToken(TokenGrant {
            key: PublicKey([seed; 32]),
            cluster,
            region: name("eu-west"),
            role: ClusterRole::Member,
            expires: fixture::TIME.after(Duration::from_secs(life)),
        })
    });
    let redeem =
        (50u8..54, clusters(), specs(), gateways()).prop_map(|(seed, from, spec, gateway)| {
            Command::RedeemToken(Box::new(Redemption {
                token: TokenId::of(&PublicKey([seed; 32])),
                bundle: vec![from.as_str().into()],
                spec,
                gateway,
            }))
        });
    let revoke =
        (50u8..54).prop_map(|seed| Command::RevokeToken(TokenId::of(&PublicKey([seed; 32]))));
    prop_oneof![3 => grant, 4 => redeem, 1 => revoke]
}

fn entries() -> impl Strategy<Value = Command> {
    let spec = (any::<u8>(), 0u32..20_000).prop_map(|(host, weight)| WorkloadEntrySpec {
        service: name("a"),
        address: [10, 0, 0, host].into(),
        ports: BTreeMap::from([(name("http"), 80.try_into().unwrap())]),
        service_account: None,
        version: None,
        zone: None,
        weight,
        checks: Vec::new(),
    });
    let place = || {
        (
            clusters(),
            select(&["a", "b"][..]).prop_map(name::<ServiceName>),
        )
    };
    prop_oneof![
        (place(), spec).prop_map(|((cluster, called), spec)| {
            Command::PutWorkloadEntry(cluster, name("shop"), called, Box::new(spec))
        }),
        place().prop_map(|(c, called)| Command::DeleteWorkloadEntry(c, name("shop"), called)),
    ]
}

fn operators() -> impl Strategy<Value = Command> {
    let signer = (select(&[ADMIN, "bob"][..]), 0u32..4).prop_map(|(user, epoch)| {
        Command::RecordSigner(SignerRecord {
            user: name(user),
            epoch: SignerEpoch(epoch),
            key: PublicKey([99; 32]),
        })
    });
    let called = || select(&["admins", "others"][..]).prop_map(name::<ServiceName>);
    prop_oneof![
        2 => signer,
        2 => (called(), bindings()).prop_map(|(n, spec)| Command::PutRoleBinding(n, spec)),
        1 => called().prop_map(Command::DeleteRoleBinding),
    ]
}

fn routes() -> impl Strategy<Value = Command> {
    let called = || select(&["a", "b"][..]).prop_map(name::<ServiceName>);
    let parent = || select(&["a", "b"][..]);
    prop_oneof![
        (called(), parent()).prop_map(|(called, parent)| {
            Command::PutRoute(name("shop"), called, Box::new(fixture::route(parent)))
        }),
        called().prop_map(|called| Command::DeleteRoute(name("shop"), called)),
        (called(), parent()).prop_map(|(called, parent)| {
            let spec = fixture::traffic_policy(parent);
            Command::PutTrafficPolicy(name("shop"), called, Box::new(spec))
        }),
        called().prop_map(|called| Command::DeleteTrafficPolicy(name("shop"), called)),
    ]
}

fn releases() -> impl Strategy<Value = Command> {
    let key = || select(&["shop/r", "shop/s"][..]).prop_map(name::<ServiceKey>);
    let wave = || select(&["west-europe", "world", "none"][..]).prop_map(name::<WaveName>);
    let advance = (0u64..60, 0u16..7, 0u16..8).prop_map(|(run, from, to)| Advance {
        run: Index(run),
        from: Stage(from),
        to: Stage(to),
    });
    let end = prop_oneof![
        wave().prop_map(ReleaseEnd::AbortWave),
        Just(ReleaseEnd::Abort),
        Just(ReleaseEnd::RollBack),
        (0u64..60, 0u16..7).prop_map(|(run, to)| ReleaseEnd::StepBack {
            run: Index(run),
            to: Stage(to),
        }),
    ];
    let put = (key(), select(&["a", "b"][..]), any::<bool>()).prop_map(|(key, service, turned)| {
        let mut spec = fixture::release(service);
        if turned {
            spec.waves.reverse();
        }
        Command::PutRelease(key, Box::new(spec))
    });
    prop_oneof![
        4 => put,
        2 => (key(), advance).prop_map(|(key, advance)| Command::AdvanceRelease(key, advance)),
        1 => key().prop_map(Command::PauseRelease),
        1 => (key(), vec(any::<[u8; 16]>().prop_map(ClampId), 0..3))
            .prop_map(|(key, lifts)| Command::ResumeRelease(key, lifts)),
        2 => (key(), end).prop_map(|(key, end)| Command::EndRelease(key, end)),
        1 => key().prop_map(Command::DeleteRelease),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    let put = (clusters(), keys(), exports())
        .prop_map(|(cluster, key, spec)| Command::PutExport(cluster, key, Box::new(spec)));
    let delete = (clusters(), keys()).prop_map(|(c, key)| Command::DeleteExport(c, key));
    let bundle = (clusters(), vec(vec(any::<u8>(), 0..2), 0..3))
        .prop_map(|(cluster, bundle)| Command::PutBundle(cluster, bundle));
    let describe = (clusters(), specs()).prop_map(|(c, s)| Command::PutCluster(c, Box::new(s)));
    prop_oneof![
        12 => put,
        6 => delete,
        2 => bundle,
        3 => describe,
        1 => clusters().prop_map(Command::RemoveCluster),
        4 => tokens(),
        3 => entries(),
        3 => operators(),
        2 => routes(),
        3 => releases(),
        2 => gateways().prop_map(Command::PutGateway),
        1 => (0u64..7).prop_map(|id| Command::RemoveGateway(NodeId(id))),
        1 => clusters().prop_map(Command::LapseLease),
        1 => clusters().prop_map(Command::ReturnLease),
        1 => (0u32..5).prop_map(|level| Command::RaiseFormat(FormatLevel(level))),
    ]
}

pub(super) fn steps() -> impl Strategy<Value = Step> {
    let who = prop_oneof![
        8 => (1u64..6).prop_map(Who::Gateway),
        4 => select(&[ADMIN, "bob"][..]).prop_map(Who::User),
        2 => (50u8..54).prop_map(Who::Token),
        1 => Just(Who::Founder),
    ];
    let generation = prop_oneof![8 => Just(0i64), 1 => -3i64..20, 1 => Just(i64::MAX)];
    let epoch = prop_oneof![9 => Just(0u32), 1 => 0u32..3];
    let (wait, skip) = (select(&[0, 1, 3_700][..]), select(&[0, 0, 0, 1_100][..]));
    (
        who,
        commands(),
        generation,
        epoch,
        prop::bool::weighted(0.95),
        wait,
        skip,
    )
        .prop_map(
            |(who, command, generation, epoch, authentic, wait, skip)| Step {
                who: likely(who, &command),
                command,
                generation,
                epoch,
                authentic,
                wait: Duration::from_secs(wait),
                skip,
            },
        )
}

/// Lets half of all writers be those who may, so that logs get somewhere.
fn likely(who: Who, command: &Command) -> Who {
    let owner = |cluster: &ClusterName| {
        let at = NAMES.iter().position(|n| *n == cluster.as_str());
        Who::Gateway(at.map_or(1, |at| at as u64 + 1))
    };
    match (command, who) {
        (Command::RedeemToken(redemption), Who::Gateway(_) | Who::User(_)) => {
            let seeds = 50u8..54;
            let mut held = seeds.filter(|s| TokenId::of(&PublicKey([*s; 32])) == redemption.token);
            Who::Token(held.next().unwrap())
        }
        (
            Command::PutExport(cluster, ..)
            | Command::DeleteExport(cluster, _)
            | Command::PutWorkloadEntry(cluster, ..)
            | Command::PutBundle(cluster, _),
            Who::User(_) | Who::Token(_),
        ) => owner(cluster),
        (_, who) => who,
    }
}

impl Step {
    pub(super) fn write(&self, log: &Log) -> Entry {
        let author = match self.who {
            Who::Gateway(node) => log.gateway(node),
            Who::User(user) => log.operator(user),
            Who::Token(seed) => Author::Token(TokenId::of(&PublicKey([seed; 32]))),
            Who::Founder => Author::Founder,
        };
        let mut entry = log.entry(author, self.command.clone());
        entry.generation = Generation(entry.generation.0.saturating_add_signed(self.generation));
        entry.authentic = self.authentic;
        entry.time = entry.time.max(log.state.time()).after(self.wait);
        match &mut entry.author {
            Author::Gateway(_, epoch) | Author::Operator(_, epoch) => epoch.0 += self.epoch,
            Author::Founder | Author::Token(_) => {}
        }
        entry
    }
}
