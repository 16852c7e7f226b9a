//! Resource records: their types and their data.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{Name, Soa};

/// A type of record, by its number (RFC 1035 §3.2.2 and successors).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $number:literal),* $(,)?) => {
        impl RecordType {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Those with a name here.
            pub const NAMED: &[(Self, &str)] = &[$((Self::$name, stringify!($name))),*];
        }
    };
}

types! {
    /// An IPv4 address (RFC 1035).
    A = 1,
    /// A name server of the zone (RFC 1035).
    NS = 2,
    /// An alias (RFC 1035).
    CNAME = 5,
    /// The start of a zone of authority (RFC 1035).
    SOA = 6,
    /// A name for an address (RFC 1035).
    PTR = 12,
    /// The host's hardware and system; here: the answer to ANY (RFC 8482).
    HINFO = 13,
    /// A mail exchange (RFC 1035).
    MX = 15,
    /// Text (RFC 1035).
    TXT = 16,
    /// An IPv6 address (RFC 3596).
    AAAA = 28,
    /// Where a service is (RFC 2782).
    SRV = 33,
    /// A pseudo-record: EDNS (RFC 6891).
    OPT = 41,
    /// A signer's digest (RFC 4034).
    DS = 43,
    /// A zone's key (RFC 4034).
    DNSKEY = 48,
    /// Service binding for HTTPS (RFC 9460).
    HTTPS = 65,
    /// A question for whatever there is (RFC 8482).
    ANY = 255,
}

impl RecordType {
    /// Whether a question of this type asks for something other than records:
    /// transfers, keys, signatures, the obsolete mail types (RFC 6895 §3.1).
    pub fn is_meta(self) -> bool {
        self == Self::OPT || matches!(self.0, 128..=254)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMED.iter().find(|(known, _)| known == self) {
            Some((_, name)) => f.pad(name),
            None => f.pad(&format!("TYPE{}", self.0)),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RecordType {
    type Err = String;

    /// Reads `AAAA`, `aaaa` or `TYPE28` (RFC 3597).
    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        if let Some((known, _)) = Self::NAMED.iter().find(|(_, name)| *name == upper) {
            return Ok(*known);
        }
        let number = upper.strip_prefix("TYPE").map(str::parse);
        match number {
            Some(Ok(number)) => Ok(Self(number)),
            _ => Err(format!(
                "{text:?} is no record type: write A, AAAA, SRV, TXT or TYPE28"
            )),
        }
    }
}

/// The data of a SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host.
    pub target: Name,
}

/// The data of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Where a service is.
    Srv(Srv),
    /// One character string, at most 255 bytes.
    Txt(&'static str),
    /// A name server.
    Ns(Name),
    /// The zone's authority.
    Soa(Box<Soa>),
    /// CPU and system, here a marker that ANY is not answered in full.
    Hinfo(&'static str),
}

impl RData {
    /// The type of a record with this data.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Srv(_) => RecordType::SRV,
            Self::Txt(_) => RecordType::TXT,
            Self::Ns(_) => RecordType::NS,
            Self::Soa(_) => RecordType::SOA,
            Self::Hinfo(_) => RecordType::HINFO,
        }
    }
}

impl fmt::Display for RData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => address.fmt(f),
            Self::Aaaa(address) => address.fmt(f),
            Self::Srv(srv) => write!(
                f,
                "{} {} {} {}",
                srv.priority, srv.weight, srv.port, srv.target
            ),
            Self::Txt(text) => write!(f, "{text:?}"),
            Self::Ns(name) => name.fmt(f),
            Self::Soa(soa) => soa.fmt(f),
            Self::Hinfo(cpu) => write!(f, "{cpu:?} \"\""),
        }
    }
}

/// A resource record of class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose record it is.
    pub owner: Name,
    /// How long it may be kept, in seconds.
    pub ttl: u32,
    /// What it says.
    pub data: RData,
}

impl fmt::Display for Record {
    /// As a zone file has it: owner, TTL, class, type, data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, ttl, data } = self;
        write!(f, "{owner} {ttl} IN {} {data}", data.record_type())
    }
}
