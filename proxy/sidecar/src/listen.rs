//! Listening sockets that several workers share by `SO_REUSEPORT`.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Accepted connections that wait for a worker. Larger: survives longer bursts.
const BACKLOG: i32 = 4096;

/// `count` listeners on one address. If its port is 0 the system chooses one for all.
///
/// `SO_REUSEPORT` would let a second process of the same user share the port
/// unnoticed, so the address is first claimed without it.
pub(crate) fn listeners(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let claim = bound(address, Sharing::Alone)?;
    let address = claim
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::InvalidInput)?;
    drop(claim);
    (0..count)
        .map(|_| {
            let socket = bound(address, Sharing::ByWorkers)?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        })
        .collect()
}

#[derive(PartialEq, Eq)]
enum Sharing {
    Alone,
    ByWorkers,
}

fn bound(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of an earlier process in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    if sharing == Sharing::ByWorkers {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}
