//! What changed since the last view was written, in a file beside it: a change of one endpoint
//! costs a short write, however many there are.
//!
//! Changes are numbered, and a view says which is the last one in it. So a crash between the two
//! files harms nothing: what is in the view already is passed over.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use weft_proto::catalog::ViewChange;
use weft_proxy::catalog::replace_file;
use weft_registry::disk::{Room, Space};

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
    /// What the registry, on the same disk, has left for its votes.
    room: Room,
    /// Writes at a place in a file, and returns when the disk holds it.
    write: fn(&File, &[u8], u64) -> io::Result<()>,
}

impl ChangeFile {
    /// Reads the changes that follow `seen`, up to the first that a crash left unfinished. Without
    /// a view, or with one that another version wrote (`seen` is 0), they follow nothing and go.
    pub(super) fn open(path: PathBuf, seen: u64) -> (Self, Vec<ViewChange>) {
        // The view has no checksum: a number that has rotted is as good as none.
        let seen = if seen < NUMBER_MAX { seen } else { 0 };
        let mut file = Self::new(path, seen);
        let (changes, lost) = file.find(seen);
        match lost {
            None => {}
            Some(Lost::Torn) => {
                tracing::info!(path = %file.path.display(), why = %Lost::Torn, "changes end there");
            }
            Some(why) => {
                tracing::warn!(path = %file.path.display(), %why, "starting without some changes");
            }
        }
        (file, changes)
    }

    fn new(path: PathBuf, seen: u64) -> Self {
        Self {
            path,
            ends: VecDeque::new(),
            last: seen.max(1),
            begun: seen > 0,
            tail: false,
            room: Room::default(),
            write,
        }
    }

    fn find(&mut self, seen: u64) -> (Vec<ViewChange>, Option<Lost>) {
        if !self.begun {
            // Else the view that comes first might seem to be followed by them.
            let held = fs::metadata(&self.path).is_ok_and(|file| file.len() > 0);
            let lost = match fs::remove_file(&self.path) {
                Ok(()) => held.then_some(Lost::NoView),
                Err(why) => self.unreadable(why),
            };
            return (Vec::new(), lost);
        }
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(why) => return (Vec::new(), self.unreadable(why)),
        };
        let (mut changes, mut lost) = self.read(&bytes);
        self.tail = lost.is_some();
        changes.retain(|change| change.number > seen);
        if self.ends.back().is_some_and(|(last, _)| *last < seen) {
            // The next one would not follow them.
            self.ends.clear();
        }
        // Something is missing between the two: what follows would be applied to what it does not fit.
        if let Some(first) = changes.first().map(|first| first.number)
            && first != seen + 1
        {
            lost = Some(Lost::Gap(first, seen));
            self.tail = true;
            self.ends.clear();
            changes.clear();
        }
        if let Some(last) = changes.last() {
            self.last = last.number;
        }
        (changes, lost)
    }

    /// None if it is not there. Else a later start may be able to read it, when views have gone
    /// on without it.
    fn unreadable(&mut self, why: io::Error) -> Option<Lost> {
        self.tail = why.kind() != io::ErrorKind::NotFound;
        self.tail.then_some(Lost::Unreadable(why))
    }

    /// The changes up to the first that does not follow.
    fn read(&mut self, bytes: &Bytes) -> (Vec<ViewChange>, Option<Lost>) {
        let mut changes = Vec::new();
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let change = match next(&mut rest) {
                Ok(change) => change,
                Err(lost) => return (changes, Some(lost)),
            };
            let before = self.ends.back().map(|(number, _)| *number);
            if let Some(before) = before
                && before.checked_add(1) != Some(change.number)
            {
                return (changes, Some(Lost::Gap(change.number, before)));
            }
            let end = (bytes.len() - rest.len()) as u64;
            self.ends.push_back((change.number, end));
            changes.push(change);
        }
        (changes, None)
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
            let why = "64 MiB of changes wait for a view that takes their place";
            return Err(io::Error::other(why));
        }
        change.number = self.last + 1;
        change.checksum = Bytes::new();
        change.checksum = checksum(&change);
        let bytes = change.encode_length_delimited_to_vec();
        self.leave_room(bytes.len() as u64)?;
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

    /// Fails where a file of as many bytes more would take what the registry keeps for votes.
    fn leave_room(&mut self, bytes: u64) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        self.room = self.room.beside(folder, bytes);
        if self.room.space == Space::Enough {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "what is left on the disk is kept for the registry's votes",
        ))
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

/// Why a start leaves changes out.
#[derive(Debug, thiserror::Error)]
enum Lost {
    /// As a crash in the middle of a write leaves it; nobody was told of it.
    #[error("the last one is not whole")]
    Torn,
    /// More follows it.
    #[error("one does not read as it was written, and those after it cannot be used")]
    Rotten,
    /// Its number, and that of the one before it.
    #[error("change {0} comes where the one after {1} should")]
    Gap(u64, u64),
    /// There is none, another version wrote it, or its number has rotted.
    #[error("there is no view that they follow")]
    NoView,
    #[error("cannot read it: {0}")]
    Unreadable(io::Error),
}

/// The next change, if it reads as it was written.
fn next(bytes: &mut Bytes) -> Result<ViewChange, Lost> {
    let found = bytes.clone();
    if let Ok(mut change) = ViewChange::decode_length_delimited(bytes) {
        let stored = std::mem::take(&mut change.checksum);
        if stored == checksum(&change) {
            return Ok(change);
        }
    }
    Err(if is_last(found) {
        Lost::Torn
    } else {
        Lost::Rotten
    })
}

/// Whether nothing follows the change, as far as its length can be trusted. Of a write in the
/// middle of which the power went the file may have its length alone: then it is of zeros.
fn is_last(bytes: Bytes) -> bool {
    let mut rest = bytes.clone();
    match prost::decode_length_delimiter(&mut rest) {
        Ok(0) => bytes.iter().all(|byte| *byte == 0),
        Ok(length) => length >= rest.len(),
        // No number is longer.
        Err(_) => bytes.len() < 10,
    }
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
mod tests;
