//! The few socket options that the standard library and `socket2` do not offer.
//!
//! This is the only module of the crate with `unsafe` code.

#![allow(
    unsafe_code,
    reason = "setsockopt with structures that no safe wrapper knows"
)]

use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Opens UDP sockets that share one port, in the order in which [`steer`] counts
/// them. Fails if another process holds the port.
pub(crate) fn udp_group(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::UdpSocket>> {
    let sockets = group(address, count, Type::DGRAM, Protocol::UDP)?;
    Ok(sockets.into_iter().map(Into::into).collect())
}

/// Opens listening TCP sockets that share one port; the kernel spreads
/// connections over them. Fails if another process listens there.
pub(crate) fn tcp_group(
    address: SocketAddr,
    count: usize,
    backlog: i32,
) -> io::Result<Vec<std::net::TcpListener>> {
    let sockets = group(address, count, Type::STREAM, Protocol::TCP)?;
    for socket in &sockets {
        socket.listen(backlog)?;
    }
    Ok(sockets.into_iter().map(Into::into).collect())
}

/// Binds `count` sockets to one port.
///
/// The first one binds alone and only then agrees to share: one that shares from
/// the start would join the group of another gateway on this machine, and take
/// half of its datagrams, where it should fail.
fn group(
    address: SocketAddr,
    count: usize,
    kind: Type,
    protocol: Protocol,
) -> io::Result<Vec<Socket>> {
    let open = || {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            // Whatever net.ipv6.bindv6only says: IPv4 arrives here too.
            socket.set_only_v6(false)?;
        }
        if protocol == Protocol::TCP {
            // Connections of an earlier process that still linger are no obstacle.
            socket.set_reuse_address(true)?;
        }
        io::Result::Ok(socket)
    };
    let first = open()?;
    first.bind(&address.into())?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets[0].set_reuse_port(true)?;
        let next = open()?;
        next.set_reuse_port(true)?;
        next.bind(&address)?;
        sockets.push(next);
    }
    Ok(sockets)
}

/// `[::]`, which stands for every address of both families, as 0.0.0.0 where the
/// kernel has no IPv6; other addresses as they are.
pub(crate) fn any(address: SocketAddr) -> SocketAddr {
    let both = address.is_ipv6() && address.ip().is_unspecified();
    if both && Socket::new(Domain::IPV6, Type::DGRAM, None).is_err() {
        return SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
    }
    address
}

/// Raises a socket's buffers towards `bytes`: beyond the system's limit where
/// the process may, up to that limit where it may not.
pub(crate) fn raise_buffers(socket: &impl AsRawFd, bytes: usize) {
    let wanted = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    // A failure leaves the buffer as it was, which is slower but not wrong.
    let _ = option(socket, libc::SO_RCVBUFFORCE, &wanted)
        .or_else(|_| option(socket, libc::SO_RCVBUF, &wanted));
    let _ = option(socket, libc::SO_SNDBUFFORCE, &wanted)
        .or_else(|_| option(socket, libc::SO_SNDBUF, &wanted));
}

/// What the kernel grants a UDP socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketFacts {
    /// Bytes of datagrams that may wait to be read.
    pub receive_buffer: usize,
    /// Bytes of datagrams that may wait to be sent.
    pub send_buffer: usize,
    /// Whether it cuts one large write into datagrams (`UDP_SEGMENT`).
    pub gso: bool,
    /// Whether it hands over several datagrams at once (`UDP_GRO`), as it was asked to.
    pub gro: bool,
}

/// Asks the kernel about `socket`, which is in use.
pub(crate) fn facts(socket: &std::net::UdpSocket) -> io::Result<SocketFacts> {
    let asked = SockRef::from(socket);
    // The kernel keeps as much again for its own bookkeeping, and tells both (socket(7)).
    Ok(SocketFacts {
        receive_buffer: asked.recv_buffer_size()? / 2,
        send_buffer: asked.send_buffer_size()? / 2,
        gso: udp_option(socket, libc::UDP_SEGMENT).is_ok(),
        gro: udp_option(socket, libc::UDP_GRO).is_ok_and(|on| on != 0),
    })
}

/// Makes the next close of `socket` send a TCP RST rather than a FIN.
pub(crate) fn reset_on_close(socket: &tokio::net::TcpStream) {
    // It fails only for a socket that is already dead, and that one is not closed by FIN either.
    let _ = SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
}

/// Steers the datagrams of a group of sockets that share a port: each goes to
/// the socket whose place in the group is the first byte of its QUIC
/// destination connection id, modulo `group`.
///
/// Classic BPF on a reuse-port group needs no privilege. The program stays with
/// the group, so attaching it to one member is enough.
pub(crate) fn steer(socket: &impl AsRawFd, group: u32) -> io::Result<()> {
    let mut program = steering_program(group);
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    option(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// The steering program as data (RFC 8999 §5: the invariant header forms).
///
/// A load past the datagram's end ends the program with 0, so a runt goes to the first socket.
fn steering_program(group: u32) -> [libc::sock_filter; 7] {
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    [
        // 0: the first byte; its highest bit tells the header form
        instruction(LOAD_BYTE, 0, 0, 0),
        // 1: long header: go on at 2; short header: jump to 4
        instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 2, 0x80),
        // 2: long: form, four bytes of version, one of id length, then the id
        instruction(LOAD_BYTE, 0, 0, 6),
        // 3: skip 4
        instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1),
        // 4: short: the id follows the first byte
        instruction(LOAD_BYTE, 0, 0, 1),
        // 5:
        instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, group),
        // 6:
        instruction(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
    ]
}

fn instruction(code: u32, jump_true: u8, jump_false: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: jump_true,
        jf: jump_false,
        k,
    }
}

/// `setsockopt` at `SOL_SOCKET` with a plain C value.
fn option<T>(socket: &impl AsRawFd, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the descriptor is open while `socket` is borrowed, the pointer and length
    // describe one live `T`, and the kernel copies it (and what a `sock_fprog` points to,
    // which the caller keeps alive) before the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `getsockopt` at `SOL_UDP` of an int.
fn udp_option(socket: &impl AsRawFd, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open while `socket` is borrowed, and the pointers are to one
    // live int and its length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            name,
            std::ptr::from_mut(&mut value).cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    /// Both header forms, every first byte of an id: each datagram arrives at the
    /// socket that the byte names.
    #[test]
    fn datagrams_reach_the_socket_their_id_names() {
        for group in [2_usize, 3, 4] {
            let sockets = bind_group(group);
            let to = sockets[0].local_addr().unwrap();
            // One sender per datagram would spread by hash; a single one shows steering.
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            for byte in 0..=255_u8 {
                for datagram in [long_header(byte), short_header(byte)] {
                    sender.send_to(&datagram, to).unwrap();
                    let mut received = [0; 64];
                    let n = sockets[usize::from(byte) % group]
                        .recv(&mut received)
                        .unwrap_or_else(|e| panic!("{group} sockets, byte {byte}: {e}"));
                    assert_eq!(received[..n], datagram[..]);
                }
            }
        }
    }

    #[test]
    fn a_runt_goes_to_the_first_socket() {
        let sockets = bind_group(3);
        let to = sockets[0].local_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(&[0xc0, 0, 0], to).unwrap();
        assert_eq!(sockets[0].recv(&mut [0; 8]).unwrap(), 3);
    }

    #[test]
    fn a_port_in_use_is_not_joined() {
        for count in [1, 3] {
            let udp = udp_group("127.0.0.1:0".parse().unwrap(), count).unwrap();
            let again = udp_group(udp[0].local_addr().unwrap(), 2);
            assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
            let tcp = tcp_group("127.0.0.1:0".parse().unwrap(), count, 8).unwrap();
            let again = tcp_group(tcp[0].local_addr().unwrap(), 2, 8);
            assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }

    fn bind_group(group: usize) -> Vec<UdpSocket> {
        let sockets = udp_group("127.0.0.1:0".parse().unwrap(), group).unwrap();
        steer(&sockets[0], group as u32).unwrap();
        for socket in &sockets {
            socket.set_nonblocking(false).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
        }
        sockets
    }

    fn long_header(byte: u8) -> Vec<u8> {
        vec![0xc3, 0, 0, 0, 1, 8, byte, 0xee, 0xee, 0xee]
    }

    fn short_header(byte: u8) -> Vec<u8> {
        vec![0x43, byte, 0xee, 0xee, 0xee, 0xee, 0xee]
    }
}
