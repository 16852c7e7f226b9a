//! A TUN interface.

use std::ffi::c_char;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use thiserror::Error;

use super::sys;

/// A network interface whose far end is this value: what the kernel sends
/// through it is read here. It is gone when this is dropped.
#[derive(Debug)]
pub struct Device {
    file: File,
    name: String,
}

/// Why there is no device.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// A name that no interface can have.
    #[error("{0:?} cannot be an interface's name: 1 to 15 bytes, no slash, no space")]
    Name(String),
    /// The driver is absent, or this process may not use it.
    #[error("cannot open /dev/net/tun")]
    Open(#[source] io::Error),
    /// The name is taken, or this process may not administer its network.
    #[error("cannot make interface {name}")]
    Attach {
        /// What it was to be called.
        name: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

impl Device {
    /// Makes an interface in the network namespace of the calling thread. It is
    /// down and has no address.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn create(name: &str) -> Result<Self, DeviceError> {
        let bytes = interface_name(name).ok_or_else(|| DeviceError::Name(name.to_owned()))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .map_err(DeviceError::Open)?;
        sys::attach(&file, bytes).map_err(|source| DeviceError::Attach {
            name: name.to_owned(),
            source,
        })?;
        let name = name.to_owned();
        Ok(Self { file, name })
    }

    /// The interface's name when it was made.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn into_parts(self) -> (File, String) {
        (self.file, self.name)
    }
}

/// Terminated by a zero, and free of what the kernel forbids or expands (`%d`).
fn interface_name(name: &str) -> Option<[c_char; libc::IFNAMSIZ]> {
    let fits = (1..libc::IFNAMSIZ).contains(&name.len()) && name != "." && name != "..";
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
    if !fits || !name.bytes().all(plain) {
        return None;
    }
    let mut bytes = [0; libc::IFNAMSIZ];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_change_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "tun%d",
            "sixteen-bytes-xx",
            "ü",
        ] {
            assert!(interface_name(name).is_none(), "{name:?}");
        }
        for name in ["a", "us-eu", "fifteen-bytes-x"] {
            assert!(interface_name(name).is_some(), "{name:?}");
        }
    }
}
