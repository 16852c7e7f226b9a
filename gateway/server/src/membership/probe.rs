//! Whether UDP gets through to a tunnel port, before anybody is trusted.
//!
//! A QUIC server answers an Initial of a version it does not know with a Version
//! Negotiation packet (RFC 9000 §6); the Initial fills 1200 bytes, so that the answer
//! also proves that packets of that size arrive.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// A version reserved to provoke negotiation (RFC 9000 §15: `0x?a?a?a?a`).
const GREASE: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];
const DATAGRAM: usize = 1200;
const ID: usize = 8;

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpProbe {
    /// A QUIC server answered.
    Open,
    /// Nothing answered.
    Silent,
}

/// Sends up to four datagrams from `local`, any port, and waits for an answer, `limit` in all.
/// The tunnel will come from the same address, so what lets the probe through lets it through.
pub async fn probe_udp(
    local: IpAddr,
    address: SocketAddr,
    limit: Duration,
) -> io::Result<UdpProbe> {
    let local = match (local, address) {
        (local, _) if !local.is_unspecified() => local,
        (_, SocketAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (_, SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let local = SocketAddr::new(local, 0);
    let socket = UdpSocket::bind(local).await?;
    socket.connect(address).await?;
    let ids: [u8; 2 * ID] = rand::random();
    let datagram = initial(&ids);
    let begun = Instant::now();
    for attempt in 1..=4 {
        // A refused port (ICMP) surfaces on a later call; it is as silent as a filtered one.
        if socket.send(&datagram).await.is_err() {
            continue;
        }
        let mut answer = [0; 2048];
        let until = begun + limit * attempt / 4;
        while let Ok(Ok(length)) = timeout_at(until, socket.recv(&mut answer)).await {
            if negotiates(&answer[..length], &ids) {
                return Ok(UdpProbe::Open);
            }
        }
    }
    Ok(UdpProbe::Silent)
}

/// A long-header packet of an unknown version (RFC 8999 §5.1), padded.
fn initial(ids: &[u8; 2 * ID]) -> [u8; DATAGRAM] {
    let mut packet = [0; DATAGRAM];
    packet[0] = 0xc0;
    packet[1..5].copy_from_slice(&GREASE);
    packet[5] = ID as u8;
    packet[6..6 + ID].copy_from_slice(&ids[..ID]);
    packet[6 + ID] = ID as u8;
    packet[7 + ID..7 + 2 * ID].copy_from_slice(&ids[ID..]);
    packet
}

/// A Version Negotiation packet (version 0) that carries our ids back, swapped (RFC 8999 §6).
fn negotiates(answer: &[u8], ids: &[u8; 2 * ID]) -> bool {
    let Some((head, rest)) = answer.split_first_chunk::<6>() else {
        return false;
    };
    let destination = rest.get(..ID);
    let source = rest.get(ID + 1..2 * ID + 1);
    head[0] & 0x80 != 0
        && head[1..5] == [0; 4]
        && usize::from(head[5]) == ID
        && destination == Some(&ids[ID..])
        && source == Some(&ids[..ID])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_echo_of_our_ids_counts() {
        let ids: [u8; 16] = *b"destinatsource_!";
        let mut answer = vec![0x80, 0, 0, 0, 0, 8];
        answer.extend_from_slice(b"source_!");
        answer.push(8);
        answer.extend_from_slice(b"destinat");
        answer.extend_from_slice(&[0, 0, 0, 1]);
        assert!(negotiates(&answer, &ids));
        for at in 0..answer.len() - 4 {
            let mut other = answer.clone();
            other[at] ^= 0xff;
            // The second length is not looked at: the ids are where they must be.
            assert_eq!(negotiates(&other, &ids), at == 14, "byte {at}");
            assert!(!negotiates(&answer[..at], &ids));
        }
    }

    #[test]
    fn the_probe_is_a_long_header_of_full_size() {
        let packet = initial(&[7; 16]);
        assert_eq!(packet.len(), 1200);
        assert_eq!(&packet[..6], &[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8]);
    }
}
