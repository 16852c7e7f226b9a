//! Looks whether a plan's addresses are free, before anything is started.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use weft_model::code;

use super::plan::Plan;
use crate::problem::Problem;

/// Binds every address once, and lets it go.
///
/// # Errors
/// `PORT_IN_USE` names the first address that cannot be had, and what for.
pub(super) fn check(plan: &Plan) -> Result<(), Problem> {
    for gateway in plan.gateways() {
        let id = gateway.id();
        udp(gateway.tunnel, &id)?;
        gateway.front.map_or(Ok(()), |front| udp(front, &id))?;
        udp(gateway.dns, &id)?;
        for address in [
            gateway.dns,
            gateway.api,
            gateway.relay,
            gateway.stand_in,
            gateway.console,
        ] {
            tcp(address, &id)?;
        }
    }
    for workload in plan.workloads() {
        for address in [
            workload.app,
            workload.outbound,
            workload.inbound,
            workload.admin,
        ] {
            tcp(address, &workload.id())?;
        }
    }
    Ok(())
}

fn tcp(address: SocketAddr, user: &str) -> Result<(), Problem> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|error| taken(address, "TCP", user, &error))
}

fn udp(address: SocketAddr, user: &str) -> Result<(), Problem> {
    UdpSocket::bind(address)
        .map(drop)
        .map_err(|error| taken(address, "UDP", user, &error))
}

/// The problem of an address that could not be bound.
pub(super) fn taken(address: SocketAddr, protocol: &str, user: &str, error: &io::Error) -> Problem {
    let problem = Problem::new(
        code::PORT_IN_USE,
        format!("{address} ({protocol}) is not free for {user}"),
    )
    .detail(error);
    match error.kind() {
        io::ErrorKind::PermissionDenied => problem.next("Choose a port of 1024 or more."),
        io::ErrorKind::AddrNotAvailable => problem.next(
            "weft dev needs all of 127.0.0.0/8 on the loopback interface, which Linux has; \
             in a new network namespace: ip link set lo up.",
        ),
        _ => problem.next(format!(
            "Stop what listens there: ss -lpn 'sport = :{}' names it.",
            address.port()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let problem = tcp(address, "us-east-1/gw-1").unwrap_err();
        assert_eq!(problem.code, code::PORT_IN_USE);
        assert!(problem.what.contains(&address.to_string()), "{problem}");
        assert!(problem.what.contains("us-east-1/gw-1"), "{problem}");
    }
}
