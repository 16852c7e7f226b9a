//! The file, damaged byte by byte: cut off anywhere in its last 64 KiB, or with a bit turned over.
//! It gives back what was written, or is refused; it never gives back anything else. One exception
//! is known: what a crash left of the last transaction, in the header or in a page, looks torn if it is
//! damaged before the next start, and the store then goes back by that transaction.
//!
//! A part of the places here; `cargo xtask sweep` tries each of them (`WEFT_SWEEP=all`).

use raft::eraftpb::{Entry, HardState};
use weft_model::fixture::name;
use weft_model::{Index, NodeId};

use super::store::examine_bytes;
use super::*;
use crate::image::Image;

/// How much of the end is swept.
const TAIL: usize = 64 * 1024;
/// The store's header, of which every byte is tried always.
const HEADER: usize = 320;
/// Every so many bytes, unless all are to be tried; a prime, so that it meets all kinds of places.
const STRIDE: usize = 211;

fn stride() -> usize {
    match std::env::var("WEFT_SWEEP").as_deref() {
        Ok("all") => 1,
        _ => STRIDE,
    }
}

fn folder() -> Folder {
    Folder {
        domain: name("fed.example.org"),
        node: NodeId(1),
    }
}

fn batch(number: u64) -> Batch {
    let entry = Entry {
        index: number + 1,
        term: 1,
        data: vec![number as u8; 700].into(),
        ..Entry::default()
    };
    let hard = HardState {
        term: 1,
        commit: number,
        ..HardState::default()
    };
    Batch {
        number,
        hard,
        install: None,
        entries: vec![entry],
        compaction: None,
        begin: None,
        rows: Vec::new(),
        fence: None,
    }
}

/// A store's bytes after a hundred batches, and what it holds.
struct Written {
    bytes: Vec<u8>,
    good: Stored,
    /// What it held before the last batch.
    before: Stored,
}

/// Closed, or as a power cut leaves them.
fn written(closed: bool) -> Written {
    let mut first = Stored {
        before: (1, 1),
        image: Image {
            index: Index(1),
            term: 1,
            ..Image::default()
        },
        ..Stored::default()
    };
    first.hard.term = 1;
    first.hard.commit = 1;
    let file = PowerFile::default();
    let store = Store::on(file.clone(), folder()).unwrap();
    store.begin(Some(&first)).unwrap();
    for number in 1..100 {
        store.write(&[batch(number)]).unwrap();
    }
    let before = store.load().unwrap();
    store.write(&[batch(100)]).unwrap();
    let (cut, good) = (file.bytes(), store.load().unwrap());
    drop(store);
    Written {
        bytes: if closed { file.bytes() } else { cut },
        good,
        before,
    }
}

/// What a damaged file gives back; none if it is refused.
fn reads(bytes: Vec<u8>, what: &str) -> Option<Stored> {
    match examine_bytes(PowerFile::holding(bytes)) {
        Ok(found) => Some(found),
        Err(DiskError::Damaged { .. }) => None,
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn a_file_cut_off_anywhere_in_its_tail_reads_right_or_is_refused() {
    for closed in [true, false] {
        let Written { bytes, good, .. } = written(closed);
        assert_eq!(reads(bytes.clone(), "whole"), Some(good.clone()));
        let (mut cuts, mut refused) = (0, 0);
        for keep in (bytes.len() - TAIL..bytes.len()).step_by(stride()) {
            let what = format!("{keep} bytes of {}, closed: {closed}", bytes.len());
            let found = reads(bytes[..keep].to_vec(), &what);
            cuts += 1;
            refused += usize::from(found.is_none());
            assert!(found.is_none_or(|found| found == good), "{what}");
        }
        println!("closed: {closed}; of {cuts} cuts {refused} were refused");
    }
}

#[test]
fn a_bit_turned_over_anywhere_reads_right_or_is_refused() {
    for closed in [true, false] {
        let Written {
            bytes,
            good,
            before,
        } = written(closed);
        let tail = (bytes.len() - TAIL..bytes.len()).step_by(stride());
        let middle = (HEADER..bytes.len() - TAIL).step_by(8 * stride() + 1);
        let (mut flips, mut refused, mut back) = (0, 0, 0);
        for at in (0..HEADER).chain(middle).chain(tail) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let what = format!("byte {at} of {}, closed: {closed}", bytes.len());
            flips += 1;
            match reads(damaged, &what) {
                None => refused += 1,
                Some(found) if found == good => {}
                Some(found) => {
                    assert!(!closed && found == before, "{what}");
                    back += 1;
                }
            }
        }
        println!("closed: {closed}; of {flips} flips {refused} were refused, {back} went back");
        assert!(refused > 10 && back < flips / 4);
    }
}
