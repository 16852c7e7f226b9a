//! The start of authority of our zones, and the lifetimes it sets.

use std::fmt;

use super::{Name, RData, Record};

/// TTL of the SOA and NS records themselves, in seconds.
const APEX_TTL: u32 = 60;
/// How long a denial may be kept, in seconds (RFC 2308 §5): as long as an address,
/// so that a service that appears is not found later than one that moves.
const NEGATIVE_TTL: u32 = 5;

/// The data of a SOA record (RFC 1035 §3.3.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    /// The name server that is the source of the zone.
    pub primary: Name,
    /// The mailbox of whoever is responsible, as a name.
    pub mailbox: Name,
    /// The zone's version, in serial number arithmetic (RFC 1982).
    pub serial: u32,
}

impl Soa {
    /// Seconds between a secondary's refreshes; nobody transfers these zones.
    pub const REFRESH: u32 = 7200;
    /// Seconds between retries of a failed refresh.
    pub const RETRY: u32 = 1800;
    /// Seconds after which a secondary gives up.
    pub const EXPIRE: u32 = 86400;
    /// Seconds for which a denial may be kept.
    pub const MINIMUM: u32 = NEGATIVE_TTL;

    /// The record that stands in the answer section.
    pub(super) fn in_answer(self, zone: &Name) -> Record {
        self.record(zone, APEX_TTL)
    }

    /// The record that stands in the authority section of a denial: its TTL is
    /// what a cache keeps the denial for (RFC 2308 §3).
    pub(super) fn in_denial(self, zone: &Name) -> Record {
        self.record(zone, NEGATIVE_TTL)
    }

    fn record(self, zone: &Name, ttl: u32) -> Record {
        Record {
            owner: zone.clone(),
            ttl,
            data: RData::Soa(Box::new(self)),
        }
    }

    /// The zone's NS record.
    pub(super) fn name_server(self, zone: &Name) -> Record {
        Record {
            owner: zone.clone(),
            ttl: APEX_TTL,
            data: RData::Ns(self.primary),
        }
    }
}

impl fmt::Display for Soa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {} {}",
            self.primary,
            self.mailbox,
            self.serial,
            Self::REFRESH,
            Self::RETRY,
            Self::EXPIRE,
            Self::MINIMUM
        )
    }
}
