//! Logs of every format level. Those of levels 1 to 4 were written together, by the build that
//! brought such logs and was of level 4 itself; each later one by the build that brought its level.
//! This build reads each, entry by entry, and comes to the states that those builds came to.
//!
//! ```text
//! registry/node/golden/level-N.log, a line for each entry:
//! POSITION  ok|refused  DIGEST-OF-THE-STATE-AFTER-IT  ENTRY   (hexadecimal)
//! ```
//!
//! A file that is there is never written again: what it holds stands on somebody's disk. A level
//! without one gets it by `UPDATE=1 cargo test -p weft-registry golden`.

use std::fmt::Write;
use std::path::PathBuf;

use ::raft::eraftpb::Entry as RaftEntry;
use weft_identity::SigningKey;

use super::*;
use crate::disk::Stored;
use crate::proposal::{Draft, Proposal};
use crate::replica::{Answer, Repeats, Replica};

/// A log as it is written, and the state that it makes.
struct Scribe {
    replica: Replica,
    index: u64,
    text: String,
}

const ANA: u8 = 250;
const TOKEN: u8 = 100;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn file(level: u32) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    PathBuf::from(folder).join(format!("level-{level}.log"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn apply(replica: &mut Replica, index: u64, data: Bytes) -> &'static str {
    let entry = RaftEntry {
        index,
        term: 1 + index / 10,
        data,
        ..RaftEntry::default()
    };
    match replica.apply(&entry, Repeats::Once).answer {
        Some(Answer::Judged(Ok(_))) => "ok",
        Some(Answer::Judged(Err(_))) => "refused",
        other => panic!("entry {index} does not read: {other:?}"),
    }
}

impl Scribe {
    fn new() -> Self {
        Self {
            replica: Replica::new(Stored::default()),
            index: 0,
            text: String::new(),
        }
    }

    fn write(&mut self, seed: u8, author: Author, command: Command) {
        self.index += 1;
        let index = self.index;
        let draft = Draft {
            request: RequestId(u128::from(index).to_be_bytes()),
            by_order_of: matches!(author, Author::Gateway(..)).then(|| name("ana")),
            author,
            generation: Generation(index),
            command,
        };
        let time = WallTime(fixture::TIME.0 + index * 1000);
        let data = Proposal::sign(&key(seed), &draft).stamp(time);
        let outcome = apply(&mut self.replica, index, data.clone());
        let digest = state_digest(&self.replica.image().state);
        writeln!(self.text, "{index} {outcome} {digest:016x} {}", hex(&data)).unwrap();
    }

    fn by_ana(&mut self, command: Command) {
        self.write(
            ANA,
            Author::Operator(name("ana"), SignerEpoch::FIRST),
            command,
        );
    }

    fn by_gateway(&mut self, node: u8, command: Command) {
        let author = Author::Gateway(NodeId(node.into()), SignerEpoch::FIRST);
        self.write(node, author, command);
    }

    fn gateway(node: u8, level: u32) -> GatewayRecord {
        GatewayRecord {
            key: key(node).public(),
            format: FormatLevel(level),
            ..fixture::gateway(node)
        }
    }

    /// A further gateway of the second cluster, as follower.
    fn join_follower(&mut self, level: u32) {
        let (cluster, region) = fixture::CLUSTERS[1];
        let token = key(TOKEN + 4).public();
        self.by_ana(Command::GrantToken(TokenGrant {
            key: token,
            cluster: name(cluster),
            region: name(region),
            role: ClusterRole::Voter,
            expires: WallTime(fixture::TIME.0 + 600_000),
        }));
        let redemption = Redemption {
            token: TokenId::of(&token),
            bundle: vec![vec![2; 20]],
            spec: fixture::cluster_spec(region),
            gateway: GatewayRecord {
                name: name("gw-2"),
                role: GatewayRole::Follower,
                ..Self::gateway(4, level)
            },
        };
        let author = Author::Token(redemption.token);
        let redeem = Command::RedeemToken(Box::new(redemption));
        self.write(TOKEN + 4, author, redeem);
    }

    /// Three clusters, with what every level has.
    fn found(level: u32) -> Self {
        let mut scribe = Self::new();
        let cluster = |at: usize| -> ClusterName { name(fixture::CLUSTERS[at].0) };
        let founding = Founding {
            domain: name(fixture::DOMAIN),
            cluster: cluster(0),
            spec: fixture::cluster_spec(fixture::CLUSTERS[0].1),
            bundle: vec![vec![1, 2]],
            operators: vec![vec![3], vec![4]],
            gateway: Self::gateway(1, level),
            admin: (name("ana"), key(ANA).public()),
        };
        scribe.write(1, Author::Founder, Command::Found(Box::new(founding)));
        for (node, at) in [(2, 1), (3, 2)] {
            let token = key(TOKEN + node).public();
            scribe.by_ana(Command::GrantToken(TokenGrant {
                key: token,
                cluster: cluster(at),
                region: name(fixture::CLUSTERS[at].1),
                role: ClusterRole::Voter,
                expires: WallTime(fixture::TIME.0 + 600_000),
            }));
            let redemption = Redemption {
                token: TokenId::of(&token),
                bundle: vec![vec![node; 20]],
                spec: fixture::cluster_spec(fixture::CLUSTERS[at].1),
                gateway: Self::gateway(node, level),
            };
            let author = Author::Token(redemption.token);
            scribe.write(
                TOKEN + node,
                author,
                Command::RedeemToken(Box::new(redemption)),
            );
        }
        let http = fixture::export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
        let tcp = fixture::export(ServiceType::Headless, "postgres", AppProtocol::Tcp, 5432);
        for (node, at, service, spec) in [
            (1, 0, "shop/checkout", &http),
            (2, 1, "shop/checkout", &http),
            (2, 1, "data/orders", &tcp),
        ] {
            let export = Command::PutExport(cluster(at), name(service), Box::new(spec.clone()));
            scribe.by_gateway(node, export);
        }
        // What another cluster owns, refused.
        let theirs = Command::DeleteExport(cluster(0), name("shop/checkout"));
        scribe.by_gateway(3, theirs);
        for command in commands() {
            match command {
                Command::PutWorkloadEntry(_, namespace, entry, spec) => {
                    let put = Command::PutWorkloadEntry(cluster(1), namespace, entry, spec);
                    scribe.by_gateway(2, put);
                }
                Command::PutRoleBinding(..) | Command::RecordSigner(_) => scribe.by_ana(command),
                _ => {}
            }
        }
        scribe.by_gateway(1, Command::LapseLease(cluster(2)));
        scribe.by_gateway(1, Command::ReturnLease(cluster(2)));
        scribe
    }
}

/// Three clusters whose gateways 1, 2 and 3 sign with [`key`] of their number.
pub(crate) fn founded() -> Image {
    Scribe::found(FORMAT_SUPPORTED.0).replica.image().clone()
}

/// A log that has something of every level up to this one.
fn log(level: u32) -> String {
    let mut scribe = Scribe::found(level);
    for next in 2..=level {
        scribe.by_gateway(1, Command::RaiseFormat(FormatLevel(next)));
    }
    for command in commands() {
        let needs = command.level();
        let of_federation = matches!(
            command,
            Command::PutRoute(..)
                | Command::PutTrafficPolicy(..)
                | Command::PutRelease(..)
                | Command::PauseRelease(_)
                | Command::ResumeRelease(..)
        );
        if of_federation && needs.0 <= level {
            scribe.by_ana(command);
        }
    }
    if FormatLevel(level) >= FormatLevel::RELEASES {
        let run = scribe.replica.image().state.releases().next();
        let run = run.map(|(_, record)| record.created).unwrap();
        let release = || name("shop/v2");
        for (from, to) in [(1, 2), (2, 3)] {
            let (from, to) = (Stage(from), Stage(to));
            scribe.by_ana(Command::AdvanceRelease(
                release(),
                Advance { run, from, to },
            ));
        }
        if FormatLevel(level) >= FormatLevel::STEPS_BACK {
            let back = ReleaseEnd::StepBack { run, to: Stage(1) };
            scribe.by_ana(Command::EndRelease(release(), back));
        }
        scribe.by_ana(Command::EndRelease(release(), ReleaseEnd::Abort));
    }
    if FormatLevel(level) >= FormatLevel::WITNESSES {
        let mut spec = fixture::cluster_spec(fixture::CLUSTERS[2].1);
        spec.role = ClusterRole::Witness;
        let witness = Command::PutCluster(name(fixture::CLUSTERS[2].0), Box::new(spec));
        scribe.by_ana(witness);
    }
    if FormatLevel(level) >= FormatLevel::RELAYS {
        let mut spec = fixture::cluster_spec(fixture::CLUSTERS[1].1);
        spec.relay = RelayConsent::Allow;
        let relay = Command::PutCluster(name(fixture::CLUSTERS[1].0), Box::new(spec));
        scribe.by_ana(relay);
    }
    if FormatLevel(level) >= FormatLevel::FOLLOWERS {
        scribe.join_follower(level);
    }
    if FormatLevel(level) >= FormatLevel::CEILINGS {
        let mut spec = fixture::cluster_spec(fixture::CLUSTERS[1].1);
        spec.max_share = Percent::new(20);
        let ceiling = Command::PutCluster(name(fixture::CLUSTERS[1].0), Box::new(spec));
        scribe.by_ana(ceiling);
    }
    scribe.by_ana(Command::RemoveCluster(name(fixture::CLUSTERS[2].0)));
    scribe.text
}

#[test]
fn a_golden_log_of_every_level_makes_the_states_that_it_made() {
    for level in 1..=FORMAT_SUPPORTED.0 {
        let path = file(level);
        if !path.exists() && std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, log(level)).unwrap();
        }
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut replica = Replica::new(Stored::default());
        for line in text.lines() {
            let [index, outcome, digest, entry] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("level {level}: {line}");
            };
            let data = unhex(entry);
            let found = apply(&mut replica, index.parse().unwrap(), data.clone());
            let state = &replica.image().state;
            assert_eq!(found, outcome, "level {level}, entry {index}");
            let now = format!("{:016x}", state_digest(state));
            assert_eq!(now, digest, "level {level}, the state after entry {index}");
            // Written again it is the same, byte for byte.
            let again = Proposal::decode(data.clone()).unwrap();
            let time = decode(data.clone()).unwrap().entry.time;
            assert_eq!(again.stamp(time), data, "level {level}, entry {index}");
        }
        let image = replica.image();
        assert_eq!(image.state.format(), FormatLevel(level));
        assert!(text.lines().count() >= 15 && image.unreadable.count == 0);
        // And so does its snapshot.
        let mut snapshot = Snapshot {
            data: encode_image(image),
            ..Snapshot::default()
        };
        snapshot.mut_metadata().index = image.index.0;
        let back = decode_image(&snapshot).unwrap();
        assert_eq!(state_digest(&back.state), state_digest(&image.state));
    }
}
