//! Changes to bytes that were valid, drawn from a generator.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::{fields, varint};

/// Changes `bytes` one to three times; now and then it puts in a piece of `other`.
pub fn mutate(rng: &mut SmallRng, bytes: &mut Vec<u8>, other: &[u8]) {
    // A format of fields is changed by fields half of the time: changed bytes rarely get past its
    // lengths.
    let by_fields = rng.random_bool(0.5);
    for _ in 0..rng.random_range(1..4) {
        if !(by_fields && fields::change(rng, bytes)) {
            change(rng, bytes, other);
        }
    }
}

fn change(rng: &mut SmallRng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.random_range(0..=bytes.len());
    let end = (at + rng.random_range(0..24)).min(bytes.len());
    match rng.random_range(0..16) {
        0..4 => flip(rng, bytes, at),
        4 => replace(
            bytes,
            at,
            *[0, 1, 0x7f, 0x80, 0xff].choose(rng).unwrap_or(&0),
        ),
        5 => drop(bytes.drain(at..end)),
        6 => bytes.truncate(at),
        7 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        8 => insert(rng, bytes, at),
        9 => swap(rng, bytes),
        10 => tamper(rng, bytes, at),
        11 => repeat(rng, bytes, at),
        12 => join(rng, bytes, other, at),
        _ => splice(rng, bytes, other, at..end),
    }
}

fn flip(rng: &mut SmallRng, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << rng.random_range(0..8);
    }
}

fn replace(bytes: &mut [u8], at: usize, by: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = by;
    }
}

/// What formats give a meaning to, in bytes and in text.
const WORDS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"18446744073709551616",
    b"\"",
    b"{",
    b"[",
    b"null",
    b": ",
    b"\n",
    b"\n---\n",
    b"&a ",
    b"*a",
    b"\xc3\xa9",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\x08\x96\x01",
    b"\x0a\x00",
    b"\x12\x00",
    b"\x1a\x00",
];

fn insert(rng: &mut SmallRng, bytes: &mut Vec<u8>, at: usize) {
    let noise: [u8; 8] = rng.random();
    let piece = match rng.random_bool(0.5) {
        true => WORDS.choose(rng).copied().unwrap_or_default(),
        false => &noise[..rng.random_range(1..=8)],
    };
    bytes.splice(at..at, piece.iter().copied());
}

/// Two ranges that do not overlap trade places.
fn swap(rng: &mut SmallRng, bytes: &mut Vec<u8>) {
    let mut cuts = [0; 4].map(|_: usize| rng.random_range(0..=bytes.len()));
    cuts.sort_unstable();
    let [a, b, c, d] = cuts;
    let swapped = [&bytes[c..d], &bytes[b..c], &bytes[a..b]].concat();
    bytes.splice(a..d, swapped);
}

/// Takes what stands at a place for a length, and makes it another one: a varint, or a number of
/// one, two or four bytes, big endian.
fn tamper(rng: &mut SmallRng, bytes: &mut Vec<u8>, at: usize) {
    const LENGTHS: &[u64] = &[
        0,
        1,
        127,
        128,
        16_383,
        65_535,
        1 << 24,
        0x7fff_ffff,
        0xffff_ffff,
        u64::MAX,
    ];
    let near = rng.random_range(0..=4_u64);
    let far = *LENGTHS.choose(rng).unwrap_or(&0);
    let number = |was: u64| match near {
        0 => far,
        1 => was.wrapping_add(1),
        2 => was.wrapping_sub(1),
        3 => was.wrapping_mul(2),
        _ => was / 2,
    };
    let width = *[0, 1, 2, 4].choose(rng).unwrap_or(&0);
    if width == 0 {
        let (was, length) = varint::read(&bytes[at..]);
        bytes.splice(at..at + length, varint::write(number(was)));
        return;
    }
    if let Some(place) = bytes.get_mut(at..at + width) {
        let was = place
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        place.copy_from_slice(&number(was).to_be_bytes()[8 - width..]);
    }
}

/// A short piece many times: rows beyond a bound, brackets within brackets.
fn repeat(rng: &mut SmallRng, bytes: &mut Vec<u8>, at: usize) {
    let end = (at + rng.random_range(1..8)).min(bytes.len());
    let times = 1 << rng.random_range(1..12);
    let piece = bytes[at..end].repeat(times);
    bytes.splice(at..at, piece);
}

/// The one's beginning and the other's end.
fn join(rng: &mut SmallRng, bytes: &mut Vec<u8>, other: &[u8], at: usize) {
    let from = rng.random_range(0..=other.len());
    bytes.truncate(at);
    bytes.extend_from_slice(&other[from..]);
}

fn splice(rng: &mut SmallRng, bytes: &mut Vec<u8>, other: &[u8], place: std::ops::Range<usize>) {
    let from = rng.random_range(0..=other.len());
    let to = (from + rng.random_range(0..40)).min(other.len());
    bytes.splice(place, other[from..to].iter().copied());
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_seed_is_a_mutant() {
        let of = |seed| {
            let mut bytes = b"what was valid before it was changed".to_vec();
            mutate(&mut SmallRng::seed_from_u64(seed), &mut bytes, b"another");
            bytes
        };
        assert_eq!(of(7), of(7));
        let all: std::collections::BTreeSet<_> = (0..1_000).map(of).collect();
        assert!(all.len() > 900, "{}", all.len());
    }

    #[test]
    fn nothing_can_be_changed_too() {
        for seed in 0..1_000 {
            mutate(&mut SmallRng::seed_from_u64(seed), &mut Vec::new(), b"");
        }
    }
}
