mod mutants;

use std::fs;

use raft::eraftpb::Entry;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tempfile::tempdir;
use weft_model::fixture::name;
use weft_model::{Index, NodeId};

use super::*;
use crate::image::Image;

fn folder(node: u64) -> Folder {
    Folder {
        domain: name("fed.example.org"),
        node: NodeId(node),
    }
}

fn entry(index: u64, term: u64) -> Entry {
    Entry {
        index,
        term,
        data: vec![7; 20].into(),
        ..Entry::default()
    }
}

/// A log of entries 2 to 5 after a founding snapshot at 1.
fn first() -> Stored {
    let mut stored = Stored {
        before: (1, 1),
        entries: (2..=5).map(|index| entry(index, 1)).collect(),
        image: Image {
            index: Index(1),
            term: 1,
            ..Image::default()
        },
        ..Stored::default()
    };
    stored.hard.term = 1;
    stored.hard.commit = 3;
    stored
}

fn batch(entries: Vec<Entry>, commit: u64) -> Batch {
    let mut hard = first().hard;
    hard.commit = commit;
    Batch {
        number: 1,
        hard,
        install: None,
        entries,
        compaction: None,
        begin: None,
        rows: Vec::new(),
        fence: None,
    }
}

fn create(dir: &std::path::Path) -> Store {
    Store::create(dir, folder(1), StoreId([3; 16]), Some(&first())).unwrap()
}

/// What the store and the model hold after the same batches.
fn check(batches: &[Batch], indexes: &[u64], before: (u64, u64)) {
    let dir = tempdir().unwrap();
    let store = create(dir.path());
    store.write(batches).unwrap();
    let mut model = model::Model::default();
    model.write(&batch::founding_batch(&first()));
    for batch in batches {
        model.write(batch);
    }
    for stored in [store.load().unwrap(), model.load().unwrap()] {
        let held: Vec<u64> = stored.entries.iter().map(|entry| entry.index).collect();
        assert_eq!(held, indexes);
        assert_eq!(stored.before, before);
    }
}

#[test]
fn a_batch_replaces_the_log_from_its_first_entry_on() {
    check(&[batch(vec![entry(4, 2)], 3)], &[2, 3, 4], (1, 1));
    check(&[batch(vec![entry(6, 2)], 3)], &[2, 3, 4, 5, 6], (1, 1));
}

#[test]
fn a_compaction_forgets_the_log_before_its_tail() {
    let mut compacting = batch(Vec::new(), 5);
    compacting.compaction = Some(Box::new(Compaction {
        image: Image {
            index: Index(5),
            term: 1,
            ..Image::default()
        },
        through: (3, 1),
        archived: (1, 0),
        bounds: Bounds::default(),
    }));
    check(&[compacting], &[4, 5], (3, 1));
}

#[test]
fn a_leaders_snapshot_takes_the_place_of_everything() {
    let mut installing = batch(vec![entry(10, 3)], 9);
    installing.install = Some(Box::new(Image {
        index: Index(9),
        term: 3,
        ..Image::default()
    }));
    check(&[installing], &[10], (9, 3));
}

#[test]
fn a_fence_is_there_until_it_is_lowered() {
    let dir = tempdir().unwrap();
    let store = create(dir.path());
    assert_eq!(store.load().unwrap().fenced, None);
    let mut model = model::Model::default();
    model.write(&batch::founding_batch(&first()));
    for (mark, fenced) in [
        (Mark::Raised(Index(3)), Some(Index(3))),
        (Mark::Lowered, None),
    ] {
        let mut marking = batch(Vec::new(), 3);
        marking.fence = Some(mark);
        store.write(std::slice::from_ref(&marking)).unwrap();
        store.write(&[batch(Vec::new(), 4)]).unwrap();
        model.write(&marking);
        assert_eq!(store.load().unwrap().fenced, fenced);
        assert_eq!(model.load().unwrap().fenced, fenced);
    }
}

#[test]
fn a_power_failure_leaves_a_write_done_or_not_begun() {
    let (mut done, mut undone) = (0, 0);
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut disk = SimulatedDisk::new(folder(1), Some(&first())).unwrap();
        disk.write(batch(vec![entry(6, 1)], 3));
        disk.write(batch(vec![entry(7, 1), entry(8, 1)], 3));
        let crash = disk.crash(1, seed % 12, &mut rng).unwrap();
        assert!(crash.writing);
        match disk.load().unwrap().entries.last().unwrap().index {
            6 => undone += 1,
            8 => done += 1,
            other => panic!("the log ends at {other}"),
        }
    }
    assert!(done > 20 && undone > 20, "{done} done, {undone} not");
}

#[test]
fn a_folder_is_only_its_owners() {
    let dir = tempdir().unwrap();
    let empty = Store::open(dir.path(), None).unwrap_err();
    assert!(matches!(empty, DiskError::Empty { .. }), "{empty}");
    let store = create(dir.path());
    let busy = Store::open(dir.path(), None).unwrap_err();
    assert!(matches!(busy, DiskError::InUse { .. }), "{busy}");
    drop(store);
    let foreign = Store::open(dir.path(), Some(&folder(2))).unwrap_err();
    assert!(matches!(foreign, DiskError::Foreign { .. }), "{foreign}");
    let occupied = Store::create(dir.path(), folder(1), StoreId([4; 16]), None).unwrap_err();
    assert!(matches!(occupied, DiskError::Occupied { .. }), "{occupied}");
    let again = Store::open(dir.path(), Some(&folder(1))).unwrap();
    assert_eq!(again.id(), StoreId([3; 16]));
}

#[test]
fn a_folder_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(create(dir.path()));
    assert_eq!(mode(), 0o600);
    // As earlier builds made it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(Store::open(dir.path(), None).unwrap());
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_file_copied_while_it_is_written_holds_every_confirmed_batch() {
    let dir = tempdir().unwrap();
    let copy = tempdir().unwrap();
    let store = create(dir.path());
    for index in 6..40 {
        store.write(&[batch(vec![entry(index, 1)], 3)]).unwrap();
        // As a power cut would leave it: nothing was closed.
        let name = "registry.redb";
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        let found = Store::open(copy.path(), None).unwrap().load().unwrap();
        assert_eq!(found.entries, store.load().unwrap().entries);
    }
}

#[test]
fn a_damaged_file_is_refused_or_read_right_and_never_panics() {
    let dir = tempdir().unwrap();
    let store = create(dir.path());
    for index in 6..9 {
        store.write(&[batch(vec![entry(index, 1)], 3)]).unwrap();
    }
    drop(store);
    let path = dir.path().join("registry.redb");
    let whole = fs::read(&path).unwrap();
    let good = Store::open(dir.path(), None).unwrap().load().unwrap();
    let mut refused = 0;
    let step = (whole.len() / 400).max(1);
    for at in (0..whole.len()).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        refused += usize::from(!reads_as(dir.path(), &bytes, &good));
    }
    for keep in (0..whole.len()).step_by(step * 4) {
        refused += usize::from(!reads_as(dir.path(), &whole[..keep], &good));
    }
    assert!(refused > 50, "only {refused} damages were noticed");
}

/// Whether the folder opens with exactly this content; damage must be an error.
fn reads_as(dir: &std::path::Path, bytes: &[u8], good: &Stored) -> bool {
    fs::write(dir.join("registry.redb"), bytes).unwrap();
    match Store::open(dir, Some(&folder(1))).and_then(|store| store.load()) {
        Ok(stored) => {
            assert_eq!(stored.entries, good.entries);
            assert_eq!(stored.hard, good.hard);
            true
        }
        Err(DiskError::Damaged { .. } | DiskError::Foreign { .. } | DiskError::Format { .. }) => {
            let left = fs::read(dir.join("registry.redb")).unwrap();
            assert!(left == bytes, "a folder that is refused stays as it was");
            false
        }
        Err(error) => panic!("{error}: {error:?}"),
    }
}

/// What such a disk holds, with a checksum that is right.
fn read(stored: &Stored) -> Result<Stored, Damage> {
    let entries = stored.entries.iter();
    let entries = entries.map(|entry| Ok((entry.index, record::entry(entry))));
    record::read(entries, |meta| {
        Ok(match meta {
            batch::Meta::Hard => Some(record::hard(&stored.hard)),
            batch::Meta::Start => Some(record::start(stored.before.0, stored.before.1)),
            batch::Meta::Snapshot => Some(record::image(&stored.image)),
            _ => None,
        })
    })
}

/// The consensus library ends the process over each of these.
#[test]
fn what_no_group_comes_to_is_damage_whatever_its_checksum() {
    let check = |change: fn(&mut Stored), expect: Option<&str>| {
        let mut stored = first();
        change(&mut stored);
        let damage = read(&stored).err().map(|damage| damage.to_string());
        assert_eq!(damage.as_deref(), expect);
    };
    check(|_| {}, None);
    check(
        |stored| stored.image.conf = raft::eraftpb::ConfState::from((vec![1, 2], vec![2])),
        Some("snapshot: conf_state: it is impossible"),
    );
    check(
        |stored| stored.image.conf = raft::eraftpb::ConfState::from((vec![0], vec![])),
        Some("snapshot: conf_state: it is impossible"),
    );
    check(
        |stored| stored.image.term = u64::MAX,
        Some("snapshot: snapshot: position 1 in term 18446744073709551615"),
    );
    check(
        |stored| stored.hard.term = u64::MAX,
        Some("hard state: a term or position of 18446744073709551615"),
    );
    check(
        |stored| stored.before = (u64::MAX, 1),
        Some("log start: a term or position of 18446744073709551615"),
    );
    check(
        |stored| stored.entries[3].term = u64::MAX,
        Some("entry 5: a term or position of 18446744073709551615"),
    );
}

#[test]
fn an_archived_snapshot_of_another_position_or_of_no_size_is_damage() {
    let snapshot = record::image(&first().image);
    let archived = record::archived(&snapshot, 70).unwrap();
    assert!(record::read_archived(1, &archived).is_ok());
    let other = record::read_archived(7, &archived).unwrap_err();
    assert_eq!(other.problem, "it says that it is image 1");
    assert!(record::archived_bytes(1, &archived).is_ok());
    let endless = record::archived(&snapshot, u64::MAX).unwrap();
    let damage = record::archived_bytes(1, &endless).unwrap_err();
    assert_eq!(damage.problem, "the rows after it have no such size");
}
