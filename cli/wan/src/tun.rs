//! Impairment of whole IP packets, between network namespaces.
//!
//! ```text
//!  namespace a │ interface a ──┐   link a→b    ┌── interface b │ namespace b
//!              │               Wire ══════════>│               │
//!              │               └<═══════════ link b→a          │
//! ```
//!
//! A [`Device`] is a TUN interface; once made it may be moved to any network
//! namespace and keeps its connection to this process. A [`Wire`] reads the IP
//! packets that leave through one device, puts them on a [`Link`](crate::Link),
//! and hands them to the other: every protocol, as the kernel sent it, ICMP
//! included. A packet's size is that of its IP header and all behind it.
//!
//! The interface's own MTU is the path's honest one, which the kernel reports to
//! senders; [`LinkSpec::mtu`](crate::LinkSpec::mtu) is one that nobody reports.
//!
//! It needs `CAP_NET_ADMIN` in the namespace where the devices are made, which a
//! user namespace gives to anybody. It configures nothing: addresses and routes
//! are the caller's.

mod device;
mod handle;
mod sys;
mod wire;

pub use device::{Device, DeviceError};
pub use handle::{Side, WireEnded, WireHandle, WireStats};
pub use wire::{Wire, WireError};
