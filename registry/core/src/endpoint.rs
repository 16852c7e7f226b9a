//! Liveness: endpoints and digests. Never in the log; one owner each.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use crate::{
    AppProtocol, ClusterName, EndpointId, Hostname, PortName, ServiceKey, SpiffeId, Version,
    ZoneName,
};

/// What its owner says of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Its checks pass: it takes new work.
    Ready,
    /// Its checks fail: it gets no new work.
    NotReady,
    /// It is going away: no new work, running work may finish.
    Draining,
}

/// Why an endpoint's checks fail, in a few words for people. No decision reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unready(Box<str>);

impl Unready {
    /// The longest, in bytes: it travels with the endpoint.
    pub const BYTES_MAX: usize = 160;

    /// Keeps the beginning of what is too long, and nothing that would break a line.
    pub fn new(why: &str) -> Self {
        let end = why.floor_char_boundary(Self::BYTES_MAX);
        let plain = why[..end]
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c });
        Self(plain.collect::<String>().into())
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A port of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointPort {
    /// Its name, if it has one.
    pub name: Option<PortName>,
    /// The service's port that it answers.
    pub service_port: NonZeroU16,
    /// What is spoken on it.
    pub protocol: AppProtocol,
}

/// One running instance of a service.
///
/// `address` is where its sidecar takes inner mTLS. It has meaning only inside
/// its own cluster: other clusters reach it through a tunnel, by `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// New at each start of its process, and bound to its cluster.
    pub id: EndpointId,
    /// What it serves.
    pub service: ServiceKey,
    /// Where it runs.
    pub cluster: ClusterName,
    /// Its zone, if it says so.
    pub zone: Option<ZoneName>,
    /// Its version label; without one it belongs to no release.
    pub version: Option<Version>,
    /// Its host name for headless answers.
    pub hostname: Option<Hostname>,
    /// Where its sidecar, or the gateway that fronts it, listens; none outside its cluster.
    pub address: Option<SocketAddr>,
    /// The workload's own address, for headless answers in its own cluster.
    pub workload: Option<IpAddr>,
    /// Its ports.
    pub ports: Vec<EndpointPort>,
    /// Who it must prove to be on the inner handshake.
    pub identity: SpiffeId,
    /// Share of traffic beside its peers; 0 takes none.
    pub weight: u32,
    /// Whether it takes work.
    pub health: Health,
    /// Why its checks fail, if they do and its owner has said so.
    pub unready: Option<Unready>,
    /// Its owner's count of changes within this process start.
    pub sequence: u64,
}

/// Ready endpoints and their capacity, for one service in one zone and version of a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DigestRow {
    /// Endpoints that take work.
    pub ready: u32,
    /// The sum of their weights.
    pub capacity: u64,
}

/// What every gateway knows of a cluster's liveness without asking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest {
    /// Per service, zone and version.
    pub rows: BTreeMap<(ServiceKey, Option<ZoneName>, Option<Version>), DigestRow>,
}

impl Digest {
    /// Ready endpoints of `service` over all zones and versions.
    pub fn ready(&self, service: &ServiceKey) -> u32 {
        self.rows
            .range((service.clone(), None, None)..)
            .take_while(|((key, _, _), _)| key == service)
            // Another cluster's word: it may say any number.
            .fold(0, |sum, (_, row)| sum.saturating_add(row.ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digest_counts_beyond_all_numbers() {
        let service: ServiceKey = "shop/web".parse().unwrap();
        let row = DigestRow {
            ready: u32::MAX,
            capacity: u64::MAX,
        };
        let zones = ["a", "b"].map(|zone| Some(zone.parse().unwrap()));
        let rows = zones.map(|zone| ((service.clone(), zone, None), row));
        let digest = Digest {
            rows: BTreeMap::from(rows),
        };
        assert_eq!(digest.ready(&service), u32::MAX);
    }

    #[test]
    fn a_reason_is_short_and_one_line() {
        assert_eq!(Unready::new("a\nb\u{1b}[2J").as_str(), "a b [2J");
        let long = "é".repeat(200);
        assert!(Unready::new(&long).as_str().len() <= Unready::BYTES_MAX);
    }
}
