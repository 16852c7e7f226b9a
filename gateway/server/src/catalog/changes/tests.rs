//! What a start finds, after crashes, failures and rot.

use std::os::unix::fs::symlink;

use anyhow::{Result, ensure};
use weft_proto::catalog::GoneEndpoint;
use weft_test_support::{command, isolated, run};

use super::*;

/// Counting on from there overflowed at the first change.
#[test]
fn a_view_of_a_change_that_nobody_counts_to_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("view-changes.pb");
    let (mut file, later) = ChangeFile::open(path, u64::MAX);
    assert!(later.is_empty() && !file.has_begun());
    file.cut(file.last()).unwrap();
    file.append(change("eu-west-1")).unwrap();
    assert_eq!(file.last(), 2);
}

fn change(name: &str) -> ViewChange {
    let gone = GoneEndpoint {
        cluster: name.into(),
        id: vec![7; 16].into(),
    };
    ViewChange {
        gone: vec![gone],
        ..ViewChange::default()
    }
}

fn names(changes: &[ViewChange]) -> Vec<&str> {
    changes
        .iter()
        .map(|change| change.gone[0].cluster.as_str())
        .collect()
}

#[test]
fn changes_come_back_in_order_but_for_those_in_the_view() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.pb");
    let (mut file, none) = ChangeFile::open(path.clone(), 5);
    assert!(none.is_empty());
    for name in ["a", "b", "c"] {
        file.append(change(name)).unwrap();
    }
    assert_eq!(file.last(), 8);
    assert_eq!(names(&ChangeFile::open(path.clone(), 5).1), ["a", "b", "c"]);
    assert_eq!(names(&ChangeFile::open(path.clone(), 7).1), ["c"]);
    let (read, none) = ChangeFile::open(path.clone(), 8);
    assert!(none.is_empty());
    assert_eq!(read.last(), 8);
    let (mut file, none) = ChangeFile::open(path.clone(), 3);
    assert!(none.is_empty(), "4 and 5 are missing");
    file.append(change("d")).unwrap();
    assert_eq!(names(&ChangeFile::open(path, 3).1), ["d"]);
}

#[test]
fn what_follows_no_view_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.pb");
    let (mut file, _) = ChangeFile::open(path.clone(), 1);
    file.append(change("a")).unwrap();
    let (mut file, none) = ChangeFile::open(path.clone(), 0);
    assert!(none.is_empty(), "another version wrote the view");
    assert!(
        file.append(change("b")).is_err(),
        "so a start would not find it"
    );
    assert_eq!(file.last(), 1);
    file.cut(file.last()).unwrap();
    file.append(change("c")).unwrap();
    assert_eq!(names(&ChangeFile::open(path, 1).1), ["c"]);
}

#[test]
fn what_a_view_holds_is_cut_off_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.pb");
    let (mut file, _) = ChangeFile::open(path.clone(), 1);
    for name in ["a", "b", "c"] {
        file.append(change(name)).unwrap();
    }
    file.cut(2).unwrap();
    file.append(change("d")).unwrap();
    assert_eq!(names(&ChangeFile::open(path.clone(), 2).1), ["b", "c", "d"]);
    file.cut(2).unwrap();
    file.cut(5).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    file.append(change("e")).unwrap();
    let (mut file, changes) = ChangeFile::open(path.clone(), 5);
    assert_eq!(names(&changes), ["e"]);
    file.append(change("f")).unwrap();
    assert_eq!(names(&ChangeFile::open(path, 5).1), ["e", "f"]);
}

/// Cut off anywhere, or with any byte changed, it gives the changes before that and no other.
#[test]
fn a_torn_or_rotten_change_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.pb");
    let (mut file, _) = ChangeFile::open(path.clone(), 1);
    file.append(change("a")).unwrap();
    let first = fs::metadata(&path).unwrap().len();
    file.append(change("b")).unwrap();
    let whole = fs::read(&path).unwrap();
    let first = usize::try_from(first).unwrap();
    for at in 0..whole.len() {
        let expect: &[&str] = if at < first { &[] } else { &["a"] };
        fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(
            names(&ChangeFile::open(path.clone(), 1).1),
            expect,
            "cut at {at}"
        );
        let mut rotten = whole.clone();
        rotten[at] ^= 0x10;
        fs::write(&path, &rotten).unwrap();
        assert_eq!(
            names(&ChangeFile::open(path.clone(), 1).1),
            expect,
            "byte {at}"
        );
    }
    // What is written next takes the place of what is torn.
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (mut file, _) = ChangeFile::open(path.clone(), 1);
    file.append(change("c")).unwrap();
    assert_eq!(names(&ChangeFile::open(path, 1).1), ["a", "c"]);
}

/// As where its sync fails, and a view that knows nothing of it is written then.
#[test]
fn a_change_that_failed_is_not_found_though_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.pb");
    let (mut file, _) = ChangeFile::open(path.clone(), 1);
    file.append(change("a")).unwrap();
    file.write = |file, bytes, at| {
        write(file, bytes, at)?;
        Err(io::Error::other("the sync failed"))
    };
    assert!(file.append(change("undone")).is_err());
    assert_eq!(names(&ChangeFile::open(path.clone(), 1).1), ["a"]);
    file.cut(file.last()).unwrap();
    assert!(ChangeFile::open(path.clone(), 2).1.is_empty());
    file.write = write;
    file.append(change("b")).unwrap();
    assert_eq!(names(&ChangeFile::open(path, 2).1), ["b"]);
}

#[test]
fn one_that_could_not_be_taken_back_goes_with_the_next_view() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.pb");
    for (seen, rest) in [(1, &["a", "b"][..]), (2, &["b"]), (3, &[])] {
        let _ = fs::remove_file(&path);
        let (mut file, _) = ChangeFile::open(path.clone(), 1);
        file.append(change("a")).unwrap();
        file.append(change("b")).unwrap();
        let (mut other, _) = ChangeFile::open(path.clone(), 1);
        other.append(change("undone")).unwrap();
        file.tail = true;
        file.cut(seen).unwrap();
        assert_eq!(names(&ChangeFile::open(path.clone(), seen).1), rest);
    }
}

#[test]
fn what_follows_a_rotten_part_that_the_view_holds_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.pb");
    let (mut file, _) = ChangeFile::open(path.clone(), 1);
    for name in ["a", "b", "c"] {
        file.append(change(name)).unwrap();
    }
    let mut rotten = fs::read(&path).unwrap();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    fs::write(&path, &rotten).unwrap();
    let (mut file, none) = ChangeFile::open(path.clone(), 4);
    assert!(none.is_empty());
    file.append(change("d")).unwrap();
    assert_eq!(names(&ChangeFile::open(path, 4).1), ["d"]);
}

/// A link to nothing stands for a file of another user: who runs tests may be root.
#[test]
fn what_cannot_be_opened_is_replaced_once_nothing_in_it_is_of_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.pb");
    let (mut file, _) = ChangeFile::open(path.clone(), 1);
    file.append(change("a")).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(folder.path().join("no/such/file"), &path).unwrap();
    assert!(file.append(change("b")).is_err(), "a would be missing");
    assert_eq!(file.last(), 2);
    file.cut(2).unwrap();
    file.append(change("b")).unwrap();
    assert_eq!(names(&ChangeFile::open(path.clone(), 2).1), ["b"]);

    fs::remove_file(&path).unwrap();
    symlink(&path, &path).unwrap();
    let (mut file, none) = ChangeFile::open(path.clone(), 2);
    assert!(none.is_empty() && file.tail, "it may hold some");
    file.cut(2).unwrap();
    file.append(change("c")).unwrap();
    assert_eq!(names(&ChangeFile::open(path, 2).1), ["c"]);
}

#[test]
fn a_start_says_what_it_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.pb");
    let (mut file, _) = ChangeFile::open(path.clone(), 1);
    file.append(change("a")).unwrap();
    file.append(change("b")).unwrap();
    let whole = fs::read(&path).unwrap();
    let lost = |bytes: &[u8], seen| {
        fs::write(&path, bytes).unwrap();
        ChangeFile::new(path.clone(), seen).find(seen).1
    };
    assert!(lost(&whole, 1).is_none());
    assert!(matches!(
        lost(&whole[..whole.len() - 1], 1),
        Some(Lost::Torn)
    ));
    let zeros = [&whole[..], &[0; 100]].concat();
    assert!(matches!(lost(&zeros, 1), Some(Lost::Torn)));
    let mut rotten = whole.clone();
    rotten[5] ^= 1;
    assert!(matches!(lost(&rotten, 1), Some(Lost::Rotten)));
    let half = &whole[..whole.len() / 2];
    let twice = [half, half].concat();
    assert!(matches!(lost(&twice, 1), Some(Lost::Gap(2, 2))));
    let later = &whole[whole.len() / 2..];
    assert!(matches!(lost(later, 1), Some(Lost::Gap(3, 1))));
    assert!(matches!(lost(&whole, 0), Some(Lost::NoView)));
    assert!(lost(&[], 1).is_none());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let lost = ChangeFile::new(path, 1).find(1).1;
    assert!(matches!(lost, Some(Lost::Unreadable(_))));
}

/// A real disk, which fills up.
#[test]
fn no_change_takes_the_room_that_is_kept_for_votes() -> Result<()> {
    let name = "catalog::changes::tests::no_change_takes_the_room_that_is_kept_for_votes";
    isolated(name, || {
        let folder = tempfile::tempdir()?;
        let disk = folder.path().display().to_string();
        run(&mut command([
            "mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", &disk,
        ]))?
        .ok()?;
        let path = folder.path().join("changes.pb");
        let filler = folder.path().join("filler");
        let (mut file, _) = ChangeFile::open(path.clone(), 1);
        file.append(change("a"))?;
        let length = fs::metadata(&path)?.len();
        let large = "b".repeat(26 << 20);
        ensure!(file.append(change(&large)).is_err(), "it would leave 6 MiB");
        fs::write(&filler, vec![0; 25 << 20])?;
        ensure!(file.append(change("b")).is_err(), "7 MiB are left");
        ensure!(fs::metadata(&path)?.len() == length);
        File::options()
            .write(true)
            .open(&filler)?
            .set_len(22 << 20)?;
        ensure!(
            file.append(change("b")).is_err(),
            "10 MiB are too few again"
        );
        fs::remove_file(&filler)?;
        file.append(change("c"))?;
        ensure!(names(&ChangeFile::open(path, 1).1) == ["a", "c"]);
        Ok(())
    })
}

#[test]
fn a_disk_that_takes_nothing_keeps_no_count() {
    let (mut file, none) = ChangeFile::open("/dev/null/changes.pb".into(), 4);
    assert!(none.is_empty());
    assert!(file.append(change("a")).is_err());
    assert_eq!(file.last(), 4);
}
