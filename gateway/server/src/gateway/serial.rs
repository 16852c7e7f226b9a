//! Numbers for the zones that a gateway publishes: they grow over restarts too, so that a
//! serial never goes back.
//!
//! Numbers are reserved on the disk by the million, so that counting costs no write.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use weft_proto::catalog::SerialFile;
use weft_proxy::catalog::replace_file;

const FORMAT: u32 = 1;
/// How many are reserved at once: some hours of a catalog that changes all the time.
const RESERVE: u64 = 1 << 20;
/// How many go by before a reservation that failed is tried again.
const RETRY: u64 = 1 << 10;
/// A serial is this number and a position in the log, of which a restart may find the last ones
/// missing until the leader tells them again: fewer than this.
const MARGIN: u64 = 1 << 16;
/// Nobody counts this far: a file that says so has rotted, and counting on would overflow.
const UNUSED_MAX: u64 = 1 << 60;

/// Counts the zones of one gateway.
#[derive(Debug)]
pub(super) struct Serials {
    path: PathBuf,
    last: u64,
    /// Numbers from this one on are reserved first.
    reserved: u64,
}

impl Serials {
    /// Goes on where an earlier run stopped. Where that is not known, at the seconds since 1970:
    /// no gateway has published as many zones.
    pub(super) fn open(path: PathBuf) -> Self {
        let unused = match load(&path) {
            Some(unused) => unused.saturating_add(MARGIN),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        Self {
            path,
            last: unused,
            reserved: unused,
        }
    }

    /// The next one.
    pub(super) fn take(&mut self) -> u64 {
        self.last += 1;
        if self.last >= self.reserved {
            self.reserve();
        }
        self.last
    }

    fn reserve(&mut self) {
        let unused = self.last + RESERVE;
        let file = SerialFile {
            format: FORMAT,
            unused,
        };
        self.reserved = match replace_file(&self.path, &file.encode_to_vec()) {
            Ok(()) => unused,
            Err(why) => {
                let path = self.path.display();
                tracing::warn!(%path, %why, "after a restart now, DNS serials could go back");
                self.last + RETRY
            }
        };
    }
}

fn load(path: &std::path::Path) -> Option<u64> {
    let bytes = std::fs::read(path).ok()?;
    decode(&bytes)
}

/// Reads the file's bytes; none if no gateway can have written them.
fn decode(bytes: &[u8]) -> Option<u64> {
    let file = SerialFile::decode(bytes).ok()?;
    (file.format == FORMAT && file.unused < UNUSED_MAX).then_some(file.unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.pb");
        let mut last = 0;
        for _ in 0..3 {
            let mut serials = Serials::open(path.clone());
            for _ in 0..5 {
                let next = serials.take();
                assert!(next > last, "{next} after {last}");
                last = next;
            }
        }
        assert!(u32::try_from(last).is_ok(), "{last} fits into a serial");
    }

    #[test]
    fn a_file_that_is_lost_takes_no_number_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.pb");
        let before = Serials::open(path.clone()).take();
        std::fs::write(&path, b"\xff\xff").unwrap();
        let after = Serials::open(path).take();
        assert!(after >= before, "{after} after {before}");
    }

    #[test]
    fn a_file_that_says_what_nobody_counts_to_is_as_good_as_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.pb");
        let file = |unused| SerialFile {
            format: FORMAT,
            unused,
        };
        std::fs::write(&path, file(u64::MAX).encode_to_vec()).unwrap();
        assert!(Serials::open(path).take() < UNUSED_MAX);
    }

    #[test]
    fn no_mutant_of_the_file_panics() {
        let file = SerialFile {
            format: FORMAT,
            unused: 2_000_000_000,
        };
        let written = file.encode_to_vec();
        weft_mutants::check(&[weft_mutants::Decoder::new("serials", [written], |bytes| {
            let mut serials = Serials {
                path: PathBuf::from("/dev/null/serial.pb"),
                last: decode(bytes).ok_or("no serials")?,
                reserved: 0,
            };
            Ok::<_, &str>(serials.take())
        })]);
    }

    #[test]
    fn a_disk_that_takes_nothing_stops_no_count() {
        let mut serials = Serials::open(PathBuf::from("/dev/null/serial.pb"));
        let first = serials.take();
        assert_eq!(serials.take(), first + 1);
    }
}
