//! Records that some build or none can read, put into the log of a running group by its leader: each
//! is kept and reported by every replica, none is taken for something else, and the log goes on.

use prost::Message as _;
use raft::Storage as _;
use weft_model::fixture::{CLUSTERS, cluster_spec, name, route};
use weft_model::{
    Author, Command, FormatLevel, Generation, RequestId, ServiceKey, SignerEpoch, WallTime,
};
use weft_proto::log;

use super::trio::Trio;
use super::*;
use crate::proposal::{Draft, Proposal};
use crate::replica::{Build, Replica};
use crate::wire::FORMAT_SUPPORTED;
use crate::wire::tests::golden;

/// A field of the newest kind of command, as a build of some later day would write it.
const COMMAND_OF_ANOTHER_DAY: [u8; 5] = [0xfa, 0x3e, 0x02, 0x08, 0x01];
/// A field of a later day in what is known: number 30, and it is true.
const FIELD_OF_ANOTHER_DAY: [u8; 3] = [0xf0, 0x01, 0x01];

/// A field that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

/// An entry well signed by the administrator, whatever its command is.
fn by_ana(generation: u8, command: &[u8]) -> Vec<u8> {
    let known = log::Signed {
        request: vec![generation; 16].into(),
        author: Some(log::Author {
            author: Some(log::author::Author::Operator(log::author::Operator {
                user: "ana".into(),
                epoch: 1,
            })),
        }),
        generation: 5_000 + u64::from(generation),
        ..log::Signed::default()
    };
    let signed = [known.encode_to_vec(), field(5, command)].concat();
    let signature = golden::key(250).sign(&wire::signing_input(&signed));
    let entry = log::Entry {
        signed: signed.into(),
        signature: signature.to_vec().into(),
        time_ms: 1,
    };
    entry.encode_to_vec()
}

/// It drains the second cluster. To its spec these bytes are added.
fn drain(generation: u8, role: i32, more: &[u8]) -> Vec<u8> {
    let spec = cluster_spec(CLUSTERS[1].1);
    let spec = log::ClusterSpec {
        region: spec.region.to_string(),
        role,
        drain: true,
        virtual_ipv4: spec.virtual_ips.ipv4.to_string(),
        ..log::ClusterSpec::default()
    };
    let spec = [spec.encode_to_vec(), more.to_vec()].concat();
    let put = [field(1, CLUSTERS[1].0.as_bytes()), field(2, &spec)].concat();
    by_ana(generation, &field(2, &put))
}

/// Puts bytes into the log, as only a leader that means harm can.
fn put(trio: &mut Trio, bytes: Vec<u8>) -> Index {
    let leader = trio.leader().unwrap();
    let driver = trio.drivers.get_mut(&leader).unwrap();
    driver.raw.propose(Vec::new(), bytes).unwrap();
    driver.status().last
}

fn drains(driver: &Driver) -> bool {
    let member = driver.image().state.cluster(&name(CLUSTERS[1].0));
    member.unwrap().spec.drain
}

#[test]
fn what_nobody_can_read_is_kept_by_all_and_holds_up_nothing() {
    let mut trio = Trio::new();
    let leader = trio.leader().unwrap();
    let good = wire::encode_image(trio.drivers[&leader].image());
    let voter = log::ClusterRole::Voter.into();
    let poison = [
        b"no entry at all".to_vec(),
        vec![0xff; 4_096],
        by_ana(1, &COMMAND_OF_ANOTHER_DAY),
        by_ana(1, &COMMAND_OF_ANOTHER_DAY)[..40].to_vec(),
        good.to_vec(),
        drain(2, voter, &FIELD_OF_ANOTHER_DAY),
        drain(3, 9, &[]),
    ];
    for (count, poison) in (1..).zip(poison) {
        let at = put(&mut trio, poison);
        trio.write(1);
        assert!(at < trio.drivers[&leader].status().last);
        trio.settle();
        let first = trio.drivers[&leader].image().clone();
        assert_eq!(first.unreadable.count, count, "{:?}", first.unreadable);
        let reported = first.unreadable.latest.back().unwrap();
        assert_eq!(reported.index, at);
        for driver in trio.drivers.values() {
            assert_eq!(*driver.image(), first, "the same everywhere");
            let status = driver.status();
            assert_eq!(
                (status.quarantined, status.unread.as_ref()),
                (count, Some(reported))
            );
            assert!(!drains(driver), "{count}");
        }
        // Who is sent the state has them too.
        let snapshot = raft::eraftpb::Snapshot {
            data: wire::encode_image(&first),
            ..Default::default()
        };
        let sent = wire::decode_image(&snapshot).unwrap();
        assert_eq!(sent.unreadable, first.unreadable);
    }
    let image = trio.drivers[&leader].image().clone();
    for (at, says) in [
        (2, "of a kind unknown here"),
        (5, "fields unknown here"),
        (6, "9 is not known here"),
    ] {
        let reason = &image.unreadable.latest[at].reason;
        assert!(reason.contains(says), "{reason}");
    }
    // It was for those bytes alone.
    put(&mut trio, drain(4, voter, &[]));
    trio.write(1);
    trio.settle();
    for driver in trio.drivers.values() {
        assert_eq!(driver.image().unreadable, image.unreadable);
        assert!(drains(driver));
    }
}

fn put_route() -> Proposal {
    let draft = Draft {
        request: RequestId([8; 16]),
        author: Author::Operator(name("ana"), SignerEpoch::FIRST),
        by_order_of: None,
        generation: Generation(9_000),
        command: Command::PutRoute(name("shop"), name("w1"), Box::new(route("w1"))),
    };
    Proposal::sign(&golden::key(250), &draft)
}

/// Puts a format level into force.
fn raise(trio: &mut Trio, level: FormatLevel) {
    trio.order(1, Command::RaiseFormat(level));
    trio.settle();
    for driver in trio.drivers.values() {
        assert_eq!(driver.image().state.format(), level);
    }
}

#[test]
fn builds_of_two_days_keep_what_only_one_of_them_can_read() {
    let key: ServiceKey = name("shop/w1");
    for earlier in 0..3 {
        let mut trio = Trio::new();
        raise(&mut trio, FORMAT_SUPPORTED);
        for (at, driver) in trio.drivers.values_mut().enumerate() {
            driver.raw.mut_store().build = match at == earlier {
                true => Build::Earlier,
                false => Build::Later,
            };
        }
        let before = trio.drivers[&NodeId(1)].image().clone();
        let at = put(&mut trio, put_route().stamp(WallTime(1)).to_vec());
        for _ in 0..10 {
            trio.write(2);
        }
        trio.settle();
        let (first, digest) = {
            let image = trio.drivers[&NodeId(1)].image();
            (image.clone(), wire::state_digest(&image.state))
        };
        assert!(first.index.0 >= before.index.0 + 11);
        for driver in trio.drivers.values() {
            let image = driver.image();
            assert_eq!(image.unreadable.count, before.unreadable.count + 1);
            assert_eq!(image.unreadable.latest.back().unwrap().index, at);
            assert!(image.state.routes().all(|(found, _)| *found != key));
            assert_eq!(image.state, first.state);
            assert_eq!(wire::state_digest(&image.state), digest);
        }
        // The earlier one restarts as a later one, and judges its log anew.
        let mut again = Replica::new(Stored {
            image: before.clone(),
            ..Stored::default()
        });
        again.build = Build::Later;
        let node = NodeId(earlier as u64 + 1);
        let store = trio.drivers[&node].raw.store();
        let (from, to) = (before.index.0 + 1, first.index.0 + 1);
        let context = raft::GetEntriesContext::empty(false);
        for entry in store.entries(from, to, None, context).unwrap() {
            again.apply(&entry, Repeats::Once);
        }
        assert_eq!(wire::state_digest(&again.image().state), digest);
    }
}

#[test]
fn a_leader_takes_no_command_of_a_level_that_is_not_in_force() {
    let mut trio = Trio::new();
    let leader = trio.leader().unwrap();
    let early = Refusal::Format {
        needs: FormatLevel::ROUTES,
        has: FormatLevel::FIRST,
    };
    let propose = |driver: &mut Driver| {
        driver.handle(Input::Propose {
            proposal: put_route(),
            now: WallTime(2),
        });
        let outputs = driver.take_outputs();
        let declined = |it: &Output| matches!(it, Output::Declined { .. });
        outputs.iter().any(declined)
    };
    for (node, driver) in &mut trio.drivers {
        assert_eq!(driver.foresees(&put_route()).as_ref(), Some(&early));
        let last = driver.status().last;
        assert!(propose(driver), "node {node} takes it");
        assert_eq!(driver.status().last, last);
    }
    raise(&mut trio, FormatLevel::ROUTES);
    let driver = trio.drivers.get_mut(&leader).unwrap();
    assert_eq!(driver.foresees(&put_route()), None);
    assert!(!propose(driver));
}
