//! Where a redirected connection was going.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use socket2::SockRef;
use tokio::net::TcpStream;
use weft_decide::{Scope, ServiceTable};

use crate::outbound::Hint;

/// The destination that a connection had before the kernel redirected it
/// (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`: netfilter's connection tracking).
///
/// # Errors
/// Nothing redirected it, or its connection is tracked no longer.
pub fn original_destination<'s>(
    stream: impl Into<SockRef<'s>>,
    ipv6: bool,
) -> io::Result<SocketAddr> {
    let socket = stream.into();
    let address = match ipv6 {
        true => socket.original_dst_v6()?,
        false => socket.original_dst_v4()?,
    };
    address
        .as_socket()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// What to do with a captured connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// It is for this service.
    Service(Hint),
    /// It is for nobody that the table knows.
    Elsewhere(SocketAddr),
    /// It is for this listener itself, or for a port that cannot be.
    Nowhere,
}

/// Judges the destination of a connection that arrived on `listener`.
///
/// One whose destination *is* the listener was not redirected: passed on, it would
/// come back.
pub(crate) fn destination(
    table: &ServiceTable,
    original: SocketAddr,
    listener: SocketAddr,
) -> Destination {
    let own = original.port() == listener.port() && is_loopback(original.ip());
    let Some(port) = NonZeroU16::new(original.port()).filter(|_| !own) else {
        return Destination::Nowhere;
    };
    match table.by_virtual_ip(original.ip()) {
        Some(service) => Destination::Service(Hint {
            service: service.key().clone(),
            port,
            scope: Scope::Any,
        }),
        None => Destination::Elsewhere(original),
    }
}

/// Loopback, but for the part of it that development takes virtual IPs from
/// (127.64.0.0/10): the kernel redirects to the first address alone.
fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip == std::net::Ipv4Addr::LOCALHOST,
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}

/// The destination of a connection that this process accepted, and where it did.
pub(crate) fn stream_destination(stream: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
    let listener = stream.local_addr()?;
    Ok((original_destination(stream, listener.is_ipv6())?, listener))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weft_decide::{Place, ServiceRoutes, ServiceSpec};
    use weft_model::Index;

    use super::*;

    fn table() -> ServiceTable {
        let place = Place {
            cluster: "eu-west-1".parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            zone: None,
        };
        let spec = ServiceSpec {
            key: "shop/checkout".parse().unwrap(),
            ports: Vec::new(),
            identities: Default::default(),
            stale: Default::default(),
            routes: Vec::new(),
            policy: None,
            release: None,
            headless: false,
            virtual_ips: vec!["240.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        };
        let routes = ServiceRoutes::new(spec, &place, []);
        ServiceTable::new(place, Index(1), [Arc::new(routes)])
    }

    fn check(original: &str, listener: &str, expect: &str) {
        let shown = match destination(
            &table(),
            original.parse().unwrap(),
            listener.parse().unwrap(),
        ) {
            Destination::Service(hint) => format!("{}:{}", hint.service, hint.port),
            Destination::Elsewhere(to) => format!("elsewhere {to}"),
            Destination::Nowhere => "nowhere".to_owned(),
        };
        assert_eq!(shown, expect, "{original}");
    }

    #[test]
    fn a_virtual_ip_is_its_service_and_the_rest_passes() {
        let listener = "127.0.0.1:15002";
        check("240.0.0.2:80", listener, "shop/checkout:80");
        check("[fd00::2]:5432", "[::1]:15002", "shop/checkout:5432");
        check("240.0.0.3:80", listener, "elsewhere 240.0.0.3:80");
        check("240.0.0.3:15002", listener, "elsewhere 240.0.0.3:15002");
    }

    #[test]
    fn a_connection_to_the_listener_itself_goes_nowhere() {
        check("127.0.0.1:15002", "127.0.0.1:15002", "nowhere");
        check("[::1]:15002", "[::1]:15002", "nowhere");
        check("240.0.0.2:0", "127.0.0.1:15002", "nowhere");
    }
}
