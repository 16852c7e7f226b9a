//! What three nodes said to one another, with its bytes changed: whatever of it reads goes to a
//! follower and to a leader, and neither panics.

use prost::Message as _;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use weft_mutants::{mutate, seeds};

use super::trio::Trio;
use super::*;

/// Mutants that one driver hears, one after the other.
const ROUND: u64 = 16;

/// What was said while they elected a leader and wrote, and a snapshot besides.
fn said() -> Vec<RaftMessage> {
    let mut trio = Trio::new();
    for by in [1, 2, 3] {
        trio.write(by);
    }
    let last = trio.drivers[&trio.leader().unwrap()].status().last;
    trio.until(20, |trio| {
        let mut applied = trio.drivers.values().map(|it| it.image().index);
        applied.all(|index| index == last)
    });
    let image = driver().image().clone();
    let snapshot = RaftMessage {
        r#type: MessageType::MsgSnapshot as u32,
        to: ME.0,
        from: 2,
        term: 3,
        snapshot: Some(RaftSnapshot {
            index: image.index.0 + 5,
            term: 2,
            conf_state: Some(wire::raft::write_conf(&image.conf)),
            data: wire::encode_image(&image),
        }),
        ..RaftMessage::default()
    };
    let mut said = trio.said;
    said.extend([snapshot.clone(), snapshot]);
    said
}

/// Feeds it mutants; how many of them read, and how many of those were suspected.
fn hear(driver: &mut Driver, said: &[Vec<u8>], seeds: std::ops::Range<u64>) -> (u64, u64) {
    let (mut read, mut suspected) = (0, 0);
    for seed in seeds {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut bytes = said.choose(&mut rng).unwrap().clone();
        let other = said.choose(&mut rng).unwrap();
        mutate(&mut rng, &mut bytes, other);
        let Ok(mut message) = RaftMessage::decode(&*bytes) else {
            continue;
        };
        read += 1;
        // Addressed as its transport would have it: what else it says is its own.
        message.to = ME.0;
        message.from = 2 + message.from % 2;
        let from = NodeId(message.from);
        driver.handle(Input::Message { from, message });
        for output in driver.take_outputs() {
            match output {
                Output::Persist(batch) => driver.handle(Input::Persisted {
                    batch: batch.number,
                }),
                Output::Suspect { .. } => suspected += 1,
                _ => {}
            }
        }
        driver.handle(Input::Tick);
        settle(driver);
    }
    (read, suspected)
}

#[test]
fn no_mutant_of_what_peers_say_panics_a_node() {
    let said: Vec<Vec<u8>> = said().iter().map(|it| it.encode_to_vec()).collect();
    assert!(said.len() > 20, "{}", said.len());
    let all = seeds(4_000);
    let (mut read, mut suspected) = (0, 0);
    for first in all.clone().step_by(ROUND as usize) {
        // Both hear the same: one that fails is found by the first seed of its round.
        for mut driver in [driver(), leader()] {
            settle(&mut driver);
            let round = first..(first + ROUND).min(all.end);
            let counts = hear(&mut driver, &said, round);
            (read, suspected) = (read + counts.0, suspected + counts.1);
        }
    }
    println!("{read} read, {suspected} of them suspected");
    assert!(read > all.end / 5 && suspected > read / 50 && suspected < read * 9 / 10);
}
