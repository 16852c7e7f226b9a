//! What only start-up needed: given back once a process serves.
#![allow(unsafe_code, reason = "madvise; the block says why it is sound")]

use std::fs;
use std::time::Duration;

/// By then identities, first snapshots and listeners are there, and their code has run.
const SETTLED: Duration = Duration::from_secs(8);

/// Waits until start-up is over, then unmaps the file pages that it touched. They stay in the
/// page cache; what is needed again comes back by a minor fault. Decision 0020 has the figures.
pub(crate) async fn release_pages() {
    tokio::time::sleep(SETTLED).await;
    let Ok(smaps) = fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    let freed: usize = clean_files(&smaps).into_iter().map(release).sum();
    tracing::debug!(bytes = freed, "start-up's pages are given back");
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: usize,
    length: usize,
}

/// The mappings of program files, read only, of which this process has changed no page.
fn clean_files(smaps: &str) -> Vec<Range> {
    let mut ranges = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(range) = header(line) {
            candidate = range;
        } else if line.split_whitespace().eq(["Anonymous:", "0", "kB"]) {
            ranges.extend(candidate.take());
        }
    }
    ranges
}

/// `start-end perms offset device inode path`, if that is what a line is; the range
/// if the mapping is one to consider.
fn header(line: &str) -> Option<Option<Range>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (start, end) = (
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    );
    let permissions = words.next()?;
    let path = words.nth(3).unwrap_or_default();
    let fixed = matches!(permissions, "r-xp" | "r--p") && path.starts_with('/');
    let length = end.checked_sub(start).filter(|_| fixed);
    Some(length.map(|length| Range { start, length }))
}

/// How many bytes of the range the kernel was told to forget.
fn release(range: Range) -> usize {
    let start = range.start as *mut libc::c_void;
    // SAFETY: the range is one whole mapping of a file, private and not writable, of which no page
    // was copied (`Anonymous: 0`): its contents are the file's before and after the call. Nothing
    // in this process makes such a mapping writable; the loader's relocations are done.
    let result = unsafe { libc::madvise(start, range.length, libc::MADV_DONTNEED) };
    if result == 0 { range.length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{Range, clean_files};

    const SMAPS: &str = "\
5597c8000000-5597c8100000 r--p 00000000 fe:00 11 /usr/bin/weft
Rss:                 64 kB
Anonymous:            0 kB
VmFlags: rd mr mw me
5597c8100000-5597c8300000 r-xp 00100000 fe:00 11 /usr/bin/weft
Anonymous:            0 kB
5597c8300000-5597c8400000 r--p 00300000 fe:00 11 /usr/bin/weft
Anonymous:          512 kB
5597c8400000-5597c8500000 rw-p 00400000 fe:00 11 /usr/bin/weft
Anonymous:            0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]
Anonymous:            0 kB
";

    #[test]
    fn only_unchanged_pages_of_files_are_forgotten() {
        let headers = Range {
            start: 0x5597_c800_0000,
            length: 0x10_0000,
        };
        let text = Range {
            start: 0x5597_c810_0000,
            length: 0x20_0000,
        };
        assert_eq!(clean_files(SMAPS), [headers, text]);
    }

    #[test]
    fn this_process_goes_on_without_its_pages() {
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("Linux");
        let ranges = clean_files(&smaps);
        assert!(!ranges.is_empty());
        for range in ranges {
            assert_eq!(super::release(range), range.length);
        }
        assert_eq!(format!("{}", 6 * 7), "42");
    }
}
