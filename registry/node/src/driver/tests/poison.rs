//! Records that no build here can read, put into the log of a running group by its leader: each is
//! kept and reported by every replica, none is taken for something else, and the log goes on.

use prost::Message as _;
use weft_proto::log;

use super::trio::Trio;
use super::*;
use crate::wire::tests::golden;

/// A field of the newest kind of command, as a build of some later day would write it.
const COMMAND_OF_ANOTHER_DAY: [u8; 5] = [0xfa, 0x3e, 0x02, 0x08, 0x01];

/// A well-signed entry of a kind that is unknown here.
fn of_another_day() -> Vec<u8> {
    let known = log::Signed {
        request: vec![9; 16].into(),
        author: Some(log::Author {
            author: Some(log::author::Author::Gateway(log::author::Gateway {
                node: 1,
                epoch: 1,
            })),
        }),
        generation: 5_000,
        command: Some(log::Command { command: None }),
        ..log::Signed::default()
    };
    let mut signed = known.encode_to_vec();
    // The command comes last, and is empty: its length, then what it holds.
    let length = signed.pop();
    assert_eq!(length, Some(0));
    signed.push(COMMAND_OF_ANOTHER_DAY.len() as u8);
    signed.extend(COMMAND_OF_ANOTHER_DAY);
    let signature = golden::key(1).sign(&wire::signing_input(&signed));
    let entry = log::Entry {
        signed: signed.into(),
        signature: signature.to_vec().into(),
        time_ms: 1,
    };
    entry.encode_to_vec()
}

#[test]
fn what_nobody_can_read_is_kept_by_all_and_holds_up_nothing() {
    let mut trio = Trio::new();
    let leader = trio.leader().unwrap();
    let good = wire::encode_image(trio.drivers[&leader].image());
    let poison = [
        b"no entry at all".to_vec(),
        vec![0xff; 4_096],
        of_another_day(),
        of_another_day()[..40].to_vec(),
        good.to_vec(),
    ];
    for (count, poison) in (1..).zip(poison) {
        let driver = trio.drivers.get_mut(&leader).unwrap();
        driver.raw.propose(Vec::new(), poison).unwrap();
        let at = Index(driver.status().last.0);
        trio.write(1);
        let last = trio.drivers[&leader].status().last;
        assert!(at < last);
        // A second, at 40 ms from one to another.
        trio.until(20, |trio| {
            let mut applied = trio.drivers.values().map(|it| it.image().index);
            applied.all(|index| index == last)
        });
        let first = trio.drivers[&leader].image().clone();
        assert_eq!(first.unreadable.count, count, "{:?}", first.unreadable);
        let reported = first.unreadable.latest.back().unwrap();
        assert_eq!(reported.index, at);
        for driver in trio.drivers.values() {
            assert_eq!(*driver.image(), first, "the same everywhere");
            assert_eq!(driver.status().quarantined, count);
        }
        // Who is sent the state has them too.
        let snapshot = raft::eraftpb::Snapshot {
            data: wire::encode_image(&first),
            ..Default::default()
        };
        let sent = wire::decode_image(&snapshot).unwrap();
        assert_eq!(sent.unreadable, first.unreadable);
    }
    let image = trio.drivers[&leader].image();
    let reason = &image.unreadable.latest[2].reason;
    assert!(reason.contains("of a kind unknown here"), "{reason}");
}
