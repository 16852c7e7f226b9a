//! What changed since the last view was written, in a file beside it: a change of one endpoint
//! costs a short write, however many there are.
//!
//! Changes are numbered, and a view says which is the last one in it. So a crash between the two
//! files harms nothing: what is in the view already is passed over.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use prost::Message;
use weft_proto::catalog::ViewChange;
use weft_proxy::catalog::replace_file;

/// No more is appended to a longer file: views should have taken its place long ago.
const LENGTH_MAX: u64 = 64 * 1024 * 1024;

/// The file.
#[derive(Debug)]
pub(super) struct ChangeFile {
    path: PathBuf,
    /// Each change in it, and where it ends.
    ends: VecDeque<(u64, u64)>,
    last: u64,
    /// There is a view that changes follow.
    begun: bool,
    /// Behind the last change there is what no start may find.
    tail: bool,
    /// Writes at a place in a file, and returns when the disk holds it.
    write: fn(&File, &[u8], u64) -> io::Result<()>,
}

impl ChangeFile {
    /// Reads the changes that follow `seen`, up to the first that a crash left unfinished. Without
    /// a view, or with one that another version wrote (`seen` is 0), they follow nothing and go.
    pub(super) fn open(path: PathBuf, seen: u64) -> (Self, Vec<ViewChange>) {
        // The view has no checksum: a number that has rotted is as good as none.
        let seen = if seen < NUMBER_MAX { seen } else { 0 };
        let mut file = Self {
            path,
            ends: VecDeque::new(),
            last: seen.max(1),
            begun: seen > 0,
            tail: false,
            write,
        };
        if !file.begun {
            // Else the view that comes first might seem to be followed by them.
            let _ = fs::remove_file(&file.path);
            return (file, Vec::new());
        }
        let bytes = Bytes::from(fs::read(&file.path).unwrap_or_default());
        let mut changes = Vec::new();
        let mut rest = bytes.clone();
        while let Some(change) = next(&mut rest) {
            let before = file.ends.back().map(|(number, _)| *number);
            if before.is_some_and(|before| before.checked_add(1) != Some(change.number)) {
                break;
            }
            let end = (bytes.len() - rest.len()) as u64;
            file.ends.push_back((change.number, end));
            changes.push(change);
        }
        changes.retain(|change| change.number > seen);
        // Something is missing between the two: what follows would be applied to what it does not fit.
        if changes
            .first()
            .is_some_and(|first| first.number != seen + 1)
        {
            file.ends.clear();
            changes.clear();
        }
        if let Some(last) = changes.last() {
            file.last = last.number;
        }
        (file, changes)
    }

    /// Whether there is a view that changes follow.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The number of the last change.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Writes one more, and returns when the disk holds it.
    pub(super) fn append(&mut self, mut change: ViewChange) -> io::Result<()> {
        let length = self.length();
        if !self.begun {
            return Err(io::Error::other(
                "there is no view yet that it could follow",
            ));
        }
        if length > LENGTH_MAX {
            let why = "no view could be written for so long that its changes fill 64 MiB";
            return Err(io::Error::other(why));
        }
        change.number = self.last + 1;
        change.checksum = Bytes::new();
        change.checksum = checksum(&change);
        let bytes = change.encode_length_delimited_to_vec();
        let file = self.open_or_replace()?;
        // A crash may have left a part of one.
        file.set_len(length)?;
        if let Err(why) = (self.write)(&file, &bytes, length) {
            // It may be whole, and must follow no view; and it may hold the last room there is.
            self.tail = file.set_len(length).is_err();
            return Err(why);
        }
        self.tail = false;
        self.last = change.number;
        let end = length + bytes.len() as u64;
        self.ends.push_back((change.number, end));
        Ok(())
    }

    /// The changes up to `number` are in a view that the disk holds.
    pub(super) fn cut(&mut self, number: u64) -> io::Result<()> {
        self.begun = true;
        let done = self.ends.partition_point(|(known, _)| *known <= number);
        let start = done.checked_sub(1).map_or(0, |last| self.ends[last].1);
        let length = self.length();
        if start > 0 && start < length {
            let bytes = fs::read(&self.path)?;
            let rest = usize::try_from(start)
                .ok()
                .zip(usize::try_from(length).ok());
            let rest = rest.and_then(|(start, end)| bytes.get(start..end));
            replace_file(&self.path, rest.unwrap_or_default())?;
            self.tail = false;
        }
        self.tail |= start == length && start > 0;
        self.ends.drain(..done);
        self.ends.iter_mut().for_each(|(_, end)| *end -= start);
        if self.tail {
            self.open_or_replace()?.set_len(self.length())?;
            self.tail = false;
        }
        Ok(())
    }

    /// The file, with at least what is in `ends`.
    fn open_or_replace(&self) -> io::Result<File> {
        match OpenOptions::new().write(true).open(&self.path) {
            // It is not there yet, or somebody else's, and nothing in it is of use. Its name has
            // to be on the disk too.
            Err(_) if self.ends.is_empty() => {
                replace_file(&self.path, &[])?;
                OpenOptions::new().write(true).open(&self.path)
            }
            opened => opened,
        }
    }

    fn length(&self) -> u64 {
        self.ends.back().map_or(0, |(_, end)| *end)
    }
}

fn write(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at)?;
    file.sync_data()
}

/// The next change, if it reads as it was written.
fn next(bytes: &mut Bytes) -> Option<ViewChange> {
    if bytes.is_empty() {
        return None;
    }
    let mut change = ViewChange::decode_length_delimited(bytes).ok()?;
    let stored = std::mem::take(&mut change.checksum);
    (stored == checksum(&change)).then_some(change)
}

/// Of the change without its checksum.
fn checksum(change: &ViewChange) -> Bytes {
    let bytes = change.encode_to_vec();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    Bytes::copy_from_slice(digest.as_ref())
}

/// Nobody counts this far.
const NUMBER_MAX: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use weft_proto::catalog::GoneEndpoint;

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
        assert_eq!(names(&ChangeFile::open(path, 2).1), ["b"]);
    }

    #[test]
    fn a_disk_that_takes_nothing_keeps_no_count() {
        let (mut file, none) = ChangeFile::open("/dev/null/changes.pb".into(), 4);
        assert!(none.is_empty());
        assert!(file.append(change("a")).is_err());
        assert_eq!(file.last(), 4);
    }
}
