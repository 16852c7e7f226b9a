//! The system calls that the UDP loop needs and the standard library lacks.
#![allow(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and packet information; each block says why it is sound"
)]

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr;

/// Datagrams taken by one system call.
pub(super) const BATCH: usize = 64;
/// Room for a query. Longer ones are cut, and then malformed.
const QUERY_MAX: usize = 4096;
/// Room for one `in6_pktinfo` with its header.
const CONTROL_MAX: usize = 64;

/// Where a datagram came from, and to which of our addresses it was sent.
#[derive(Clone)]
pub(super) struct Peer {
    address: libc::sockaddr_storage,
    address_length: libc::socklen_t,
    /// The packet information as received; sent back as it is, it makes the reply
    /// leave from the address that was asked.
    control: Control,
    control_length: usize,
}

/// Control messages begin at the alignment of their header.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_MAX]);

impl Peer {
    fn empty() -> Self {
        Self {
            // SAFETY: all-zero bytes are a valid `sockaddr_storage`: it is plain data.
            address: unsafe { mem::zeroed() },
            address_length: 0,
            control: Control([0; CONTROL_MAX]),
            control_length: 0,
        }
    }

    /// Its port; 0 if it has none, and then it cannot be answered.
    pub(super) fn port(&self) -> u16 {
        let family = libc::c_int::from(self.address.ss_family);
        let address = ptr::from_ref(&self.address);
        match family {
            // SAFETY: the kernel wrote an address of this family, and the storage is
            // large enough and aligned for every family.
            libc::AF_INET => {
                u16::from_be(unsafe { (*address.cast::<libc::sockaddr_in>()).sin_port })
            }
            // SAFETY: as above.
            libc::AF_INET6 => {
                u16::from_be(unsafe { (*address.cast::<libc::sockaddr_in6>()).sin6_port })
            }
            _ => 0,
        }
    }

    fn header(&mut self, slice: &mut libc::iovec, control_length: usize) -> libc::msghdr {
        // SAFETY: all-zero bytes are a valid `msghdr`: null pointers with lengths of zero.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = ptr::from_mut(&mut self.address).cast();
        header.msg_namelen = self.address_length;
        header.msg_iov = slice;
        header.msg_iovlen = 1;
        if control_length > 0 {
            header.msg_control = self.control.0.as_mut_ptr().cast();
            header.msg_controllen = control_length;
        }
        header
    }
}

struct Slot {
    peer: Peer,
    query: Box<[u8; QUERY_MAX]>,
    length: usize,
    reply: Vec<u8>,
}

/// Datagrams received together and their replies.
pub(super) struct Batch {
    slots: Vec<Slot>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let slot = || Slot {
            peer: Peer::empty(),
            query: Box::new([0; QUERY_MAX]),
            length: 0,
            reply: Vec::with_capacity(weft_plan::dns::wire::UDP_MAX),
        };
        Self {
            slots: (0..BATCH).map(|_| slot()).collect(),
        }
    }

    /// Waits for a datagram and takes what else is there; gives their number.
    ///
    /// # Errors
    /// Of the system call; `WouldBlock` once the socket's read timeout has passed.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut slices: [libc::iovec; BATCH] = std::array::from_fn(|at| libc::iovec {
            iov_base: self.slots[at].query.as_mut_ptr().cast(),
            iov_len: QUERY_MAX,
        });
        let mut headers: [libc::mmsghdr; BATCH] = std::array::from_fn(|at| {
            let peer = &mut self.slots[at].peer;
            peer.address_length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            libc::mmsghdr {
                msg_hdr: peer.header(&mut slices[at], CONTROL_MAX),
                msg_len: 0,
            }
        });
        // SAFETY: every pointer in `headers` points into `slots` or `slices`, which are
        // neither moved nor dropped before the call returns, and the lengths beside
        // them are theirs. A null timeout means to wait for the first datagram.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (slot, header) in self.slots.iter_mut().zip(&headers[..count]) {
            slot.length = (header.msg_len as usize).min(QUERY_MAX);
            slot.peer.address_length = header.msg_hdr.msg_namelen;
            slot.peer.control_length = header.msg_hdr.msg_controllen;
            slot.reply.clear();
        }
        Ok(count)
    }

    /// A received datagram, its sender and room for its reply. An empty reply is
    /// not sent.
    pub(super) fn slot(&mut self, at: usize) -> (&[u8], &Peer, &mut Vec<u8>) {
        let slot = &mut self.slots[at];
        (&slot.query[..slot.length], &slot.peer, &mut slot.reply)
    }

    /// Sends the replies of the first `count` slots. A client whose reply cannot be
    /// sent asks again.
    pub(super) fn send(&mut self, socket: &UdpSocket, count: usize) {
        let mut slices: [libc::iovec; BATCH] = std::array::from_fn(|at| {
            let reply = &mut self.slots[at].reply;
            libc::iovec {
                iov_base: reply.as_mut_ptr().cast(),
                iov_len: reply.len(),
            }
        });
        // SAFETY: all-zero bytes are a valid `mmsghdr`; those up to `staged` are
        // overwritten, the others are not passed on.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let mut staged = 0;
        for (slot, slice) in self.slots[..count].iter_mut().zip(&mut slices) {
            if !slot.reply.is_empty() {
                let control = slot.peer.control_length;
                headers[staged].msg_hdr = slot.peer.header(slice, control);
                staged += 1;
            }
        }
        let mut sent = 0;
        while sent < staged {
            // SAFETY: as in `receive`: the pointers stay valid, the lengths are theirs,
            // and `sent` is below `staged`, which is at most `BATCH`.
            let now = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers[sent..].as_mut_ptr(),
                    (staged - sent) as libc::c_uint,
                    0,
                )
            };
            match usize::try_from(now) {
                Ok(now) if now > 0 => sent += now,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // The first one left cannot be sent: the others still can.
                _ => sent += 1,
            }
        }
    }
}

/// Sends one reply.
///
/// # Errors
/// Of the system call.
pub(super) fn send(socket: &UdpSocket, peer: &Peer, reply: &mut [u8]) -> io::Result<()> {
    let mut peer = peer.clone();
    let mut slice = libc::iovec {
        iov_base: reply.as_mut_ptr().cast(),
        iov_len: reply.len(),
    };
    let control = peer.control_length;
    let header = peer.header(&mut slice, control);
    // SAFETY: the pointers in `header` point to `peer`, `slice` and `reply`, which
    // outlive the call, and the lengths beside them are theirs.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
    match sent {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Has the kernel say to which of our addresses each datagram was sent.
///
/// # Errors
/// Of the system call.
pub(super) fn ask_for_packet_info(socket: &UdpSocket) -> io::Result<()> {
    let (level, option) = match socket.local_addr()? {
        std::net::SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        std::net::SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to a live `c_int`, and the length is that of a `c_int`.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match done {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
