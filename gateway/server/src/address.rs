//! Addresses that others name, and what they mean to this machine.

use std::net::{IpAddr, SocketAddr};

/// Whether an address means something else to this machine than to the one that
/// named it: a peer must not reach the gateway's own services by it.
pub(crate) fn is_local(address: SocketAddr) -> bool {
    is_loopback(address) || is_no_host(address)
}

/// Whether a gateway that listens on `own` may dial `address` for a peer elsewhere.
///
/// Loopback only if it can itself be reached by nothing else, as in `weft dev`; what names no
/// single machine, or the nearest one (RFC 3927, where clouds keep their metadata), never.
pub(crate) fn may_dial(address: SocketAddr, own: SocketAddr) -> bool {
    !is_no_host(address) && (!is_loopback(address) || is_loopback(own))
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whether an address names no single machine, or the nearest one.
pub(crate) fn is_no_host(address: SocketAddr) -> bool {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_local() {
        let check = |address: &str, local, dialled: [bool; 2]| {
            let address = address.parse().unwrap();
            assert_eq!(is_local(address), local, "{address}");
            let own = ["127.1.0.1:7443", "0.0.0.0:7443"].map(|own| own.parse().unwrap());
            assert_eq!(own.map(|own| may_dial(address, own)), dialled, "{address}");
        };
        check("127.0.0.1:80", true, [true, false]);
        check("127.9.9.9:80", true, [true, false]);
        check("169.254.169.254:80", true, [false, false]);
        check("0.0.0.0:80", true, [false, false]);
        check("224.0.0.1:80", true, [false, false]);
        check("255.255.255.255:80", true, [false, false]);
        check("[::1]:80", true, [true, false]);
        check("[::]:80", true, [false, false]);
        check("[ff02::1]:80", true, [false, false]);
        check("[fe80::1]:80", true, [false, false]);
        check("[::ffff:127.0.0.1]:80", true, [true, false]);
        check("[::ffff:169.254.169.254]:80", true, [false, false]);
        check("10.0.0.1:80", false, [true, true]);
        check("192.168.1.1:80", false, [true, true]);
        check("[2001:db8::1]:80", false, [true, true]);
    }
}
