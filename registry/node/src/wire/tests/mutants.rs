//! Records and snapshots with bytes changed, lost, doubled and mixed: each is read or refused, what
//! is read is applied or refused, and nothing panics. Some thousands here; `WEFT_MUTANTS` says how
//! many (`cargo xtask mutants` runs ten million).

use ::rand::rngs::SmallRng;
use ::rand::seq::IndexedRandom;
use ::rand::{Rng, SeedableRng};

use super::*;

/// A seed for each, so that one that fails is found again.
fn mutants() -> std::ops::Range<u64> {
    let chosen = std::env::var("WEFT_MUTANTS").ok();
    0..chosen.map_or(6_000, |text| {
        text.parse().expect("WEFT_MUTANTS is a number")
    })
}

/// Changes some bytes; now and then it puts in a piece of another record.
fn mutate(rng: &mut SmallRng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(0..24)).min(bytes.len());
        match rng.random_range(0..6) {
            0..2 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            2 if at < bytes.len() => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].choose(rng).unwrap(),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let from = rng.random_range(0..=other.len());
                let to = (from + rng.random_range(0..40)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
}

/// A federation with something of everything in it.
fn full() -> Log {
    let mut log = Log::founded();
    log.join(2, "eu-west-1");
    let web = fixture::export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
    log.export(1, "shop/web", &web);
    release_of_everything(&mut log);
    log
}

/// What an author of the federation would sign, whole.
fn signed(log: &Log) -> Vec<Vec<u8>> {
    let authors = [log.admin(), log.gateway(1), log.gateway(2), Author::Founder];
    let generation = log.state.next_order(&name(fixture::ADMIN));
    commands()
        .iter()
        .flat_map(|command| {
            authors.iter().map(move |author| {
                let request = RequestId([3; 16]);
                encode_signed(request, author, None, generation, command).to_vec()
            })
        })
        .collect()
}

fn snapshot(image: &Image, data: Bytes) -> Snapshot {
    let mut snapshot = Snapshot {
        data,
        ..Snapshot::default()
    };
    snapshot.mut_metadata().index = image.index.0;
    snapshot.mut_metadata().term = image.term;
    snapshot.mut_metadata().set_conf_state(image.conf.clone());
    snapshot
}

#[test]
fn a_mutated_record_is_refused_or_applied_and_never_panics() {
    let log = full();
    let records = signed(&log);
    let (mut unread, mut refused, mut applied) = (0, 0, 0);
    for seed in mutants() {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut bytes = records.choose(&mut rng).unwrap().clone();
        let other = records.choose(&mut rng).unwrap();
        mutate(&mut rng, &mut bytes, other);
        let entry = encode_entry(bytes.into(), Bytes::new(), log.state.time());
        let Ok(mut decoded) = decode(entry) else {
            unread += 1;
            continue;
        };
        // As if its author had signed just this: a member may be hostile.
        decoded.entry.authentic = true;
        let mut state = log.state.clone();
        let index = Index(log.entries.len() as u64 + 1);
        match state.apply(index, &decoded.entry).outcome {
            Ok(_) => applied += 1,
            Err(_) => refused += 1,
        }
        assert_eq!(state.applied(), index, "seed {seed}");
        let image = Image {
            index,
            term: 1,
            state,
            ..Image::default()
        };
        let back = decode_image(&snapshot(&image, encode_image(&image)));
        let back = back.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(back.state == image.state, "seed {seed}: a snapshot differs");
    }
    println!("{unread} unread, {refused} refused, {applied} applied");
    assert!(unread > 100 && refused > 100 && applied > 20);
}

#[test]
fn a_mutated_snapshot_is_refused_or_goes_on_and_never_panics() {
    let mut log = full();
    let image = Image {
        index: Index(log.entries.len() as u64),
        term: 3,
        conf: ConfState::from((vec![1, 2], vec![3])),
        state: log.state.clone(),
        ..Image::default()
    };
    let whole = encode_image(&image);
    let next = {
        let web = fixture::export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 81);
        let put = Command::PutExport(name("us-east-1"), name("shop/web"), Box::new(web));
        log.entry(log.gateway(1), put)
    };
    log.append(next.clone());
    let (mut refused, mut read) = (0, 0);
    for seed in mutants() {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut bytes = whole.to_vec();
        mutate(&mut rng, &mut bytes, &whole);
        match decode_image(&snapshot(&image, bytes.into())) {
            Err(_) => refused += 1,
            Ok(mut found) => {
                read += 1;
                let _ = found.state.apply(Index(image.index.0 + 1), &next);
                let _ = encode_image(&found);
                let _ = found.state.digest();
            }
        }
    }
    println!("{refused} refused, {read} read");
    assert!(refused > 100 && read > 20);
}
