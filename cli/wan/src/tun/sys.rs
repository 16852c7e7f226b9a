//! The ioctl that makes a TUN interface, and its place in tokio's poll set.
//!
//! This is the only module of the crate with `unsafe` code.

#![allow(
    unsafe_code,
    reason = "an ioctl with a structure that no safe wrapper knows; tokio's promise on descriptors"
)]

use std::ffi::{c_char, c_short};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use tokio::io::unix::AsyncFd;

/// Makes `file`, an open `/dev/net/tun`, the far end of a new interface that
/// carries IP packets without a frame around them.
pub(super) fn attach(file: &File, name: [c_char; libc::IFNAMSIZ]) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: (libc::IFF_TUN | libc::IFF_NO_PI) as c_short,
        },
    };
    // SAFETY: the descriptor is open while `file` is borrowed; TUNSETIFF reads and writes
    // one `ifreq`, which lives until the call returns and has room for either.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Registers `file` with the tokio runtime that this is called in.
pub(super) fn register(file: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: a `File` owns an open descriptor, and nothing in this crate replaces it:
    // the `AsyncFd` is only borrowed from until it is dropped.
    unsafe { AsyncFd::register(file) }.map_err(Into::into)
}
