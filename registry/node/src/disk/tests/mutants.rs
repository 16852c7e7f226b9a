//! What a disk holds, changed and with a checksum that is right: read or refused as damage, and no
//! panic. A checksum that is wrong, the sweep sees to.

use bytes::Bytes;
use raft::eraftpb::ConfState;
use weft_model::WallTime;
use weft_mutants::Decoder;

use super::*;
use crate::disk::batch::{Mark, Meta};
use crate::wire::tests::golden;

/// Without the checksum that it begins with.
fn bare(sealed: Bytes) -> Vec<u8> {
    sealed[4..].to_vec()
}

fn image() -> Image {
    Image {
        conf: ConfState::from((vec![1, 2, 3], vec![4])),
        ..golden::founded()
    }
}

#[test]
fn no_mutant_of_what_a_disk_holds_panics() {
    let stored = first();
    let image = image();
    let at = image.index.0;
    let snapshot = record::image(&image);
    let archived = record::archived(&snapshot, 70_000).unwrap();
    let row = crate::replica::Replica::new(stored.clone()).pass(&stored.entries[0]);
    let row = crate::wire::write_row(&stored.entries[0], &row);
    let folder = weft_proto::log::Folder {
        format: 1,
        domain: "fed.example.org".into(),
        node: 7,
        store: Bytes::from_static(&[3; 16]),
    };
    weft_mutants::check(&[
        Decoder::new("a row on the disk", [bare(record::row(&row))], |bytes| {
            record::read_row(2, &Bytes::copy_from_slice(bytes))
        })
        .behind(record::resealed),
        Decoder::new("a snapshot on the disk", [bare(snapshot)], |bytes| {
            record::read_image(&Bytes::copy_from_slice(bytes))
        })
        .behind(record::resealed),
        Decoder::new("an archived snapshot", [bare(archived.clone())], |bytes| {
            record::read_archived(at, bytes)
        })
        .behind(record::resealed),
        Decoder::new("an archived snapshot's size", [bare(archived)], |bytes| {
            record::archived_bytes(at, bytes)
        })
        .behind(record::resealed),
        Decoder::new(
            "a fence",
            [bare(record::fence(Mark::Raised(Index(4_180))))],
            record::read_fence,
        )
        .behind(record::resealed),
        Decoder::new(
            "whose folder it is",
            [bare(record::folder(&folder))],
            record::read_folder,
        )
        .behind(record::resealed),
        Decoder::new("a log on the disk", log(&stored), open),
    ]);
}

/// The values of a log, each behind its length and without its checksum.
fn log(stored: &Stored) -> Vec<Vec<u8>> {
    let values = stored.entries.iter().map(record::entry);
    let values = values.chain([
        record::hard(&stored.hard),
        record::start(stored.before.0, stored.before.1),
        record::image(&Image {
            index: Index(1),
            term: 1,
            ..image()
        }),
    ]);
    let mut all = Vec::new();
    for value in values {
        let value = bare(value);
        all.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        all.extend(value);
    }
    vec![all]
}

/// Reads them as a start does, and resumes from them.
fn open(mut bytes: &[u8]) -> Result<(), String> {
    let mut values = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        let (value, rest) = rest.split_at_checked(length).ok_or("cut off")?;
        values.push(Bytes::from(record::resealed(value.to_vec())));
        bytes = rest;
    }
    let [entries @ .., hard, start, snapshot] = &values[..] else {
        return Err("too few".into());
    };
    let entries = (2..).zip(entries.iter().cloned()).map(Ok);
    let stored = record::read(entries, |meta| {
        Ok(match meta {
            Meta::Hard => Some(hard.clone()),
            Meta::Start => Some(start.clone()),
            Meta::Snapshot => Some(snapshot.clone()),
            _ => None,
        })
    });
    let stored = stored.map_err(|damage| damage.to_string())?;
    let driver = crate::recovery::replayed(NodeId(1), stored);
    driver.map(drop).map_err(|error| error.to_string())
}

#[test]
fn no_mutant_of_a_backup_panics() {
    let backup = crate::Backup {
        domain: name("fed.example.org"),
        time: WallTime(9),
        image: image(),
    };
    const HEAD: usize = b"weft backup 1\n".len();
    const BODY: usize = HEAD + 32;
    let whole = backup.encode();
    let (head, body) = (whole[..HEAD].to_vec(), whole[BODY..].to_vec());
    let sealed = move |body: Vec<u8>| [&head[..], &weft_identity::sha256(&body), &body].concat();
    weft_mutants::check(&[
        Decoder::new("a backup behind its digest", [body], |bytes| {
            let backup = crate::Backup::decode(bytes).map_err(|error| error.to_string())?;
            backup
                .founding(NodeId(1))
                .map_err(|error| error.to_string())
        })
        .behind(sealed),
        Decoder::new("a backup", [whole], crate::Backup::decode).refuses_all(),
    ]);
}
