//! Where a process is reached, by name or by address.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// `host:port`, the host being a DNS name, an IPv4 address, or an IPv6 address in
/// brackets. What a name leads to is found out by whoever dials, each time anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort(Arc<str>);

/// Not a [`HostPort`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no HOST:PORT: a DNS name, an IPv4 address or an [IPv6 address], and a port other than 0"
)]
pub struct HostPortError(String);

impl HostPort {
    /// As text, `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, unless the host is a name.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.parse().ok()
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        match text.parse::<SocketAddr>() {
            // In the one form that all writers use.
            Ok(address) => Ok(address.into()),
            Err(_) if is_name_and_port(text) => Ok(Self(text.into())),
            Err(_) => Err(HostPortError(text.chars().take(SHOWN_MAX).collect())),
        }
    }
}

/// The host has a letter: what has none is an address, and a wrong one.
fn is_name_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let lawful = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    let port = port.parse::<u16>().is_ok_and(|port| port != 0);
    port && (1..=HOST_MAX).contains(&host.len())
        && host.bytes().all(lawful)
        && host.bytes().any(|b| b.is_ascii_alphabetic())
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string().into())
    }
}

impl TryFrom<String> for HostPort {
    type Error = HostPortError;

    fn try_from(text: String) -> Result<Self, HostPortError> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(value: HostPort) -> Self {
        value.as_str().to_owned()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// RFC 1035 §2.3.4, without the final dot.
const HOST_MAX: usize = 253;
/// Characters of what was refused that its error repeats.
const SHOWN_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_both_families_with_a_port() {
        for text in [
            "192.0.2.1:7443",
            "[2001:db8::1]:7443",
            "gw.example.org:7443",
            "gw-1:1",
        ] {
            let parsed: HostPort = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(
                parsed.address().is_some(),
                text.contains(":7443") && !text.starts_with('g')
            );
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for text in [
            "",
            "gw.example.org",
            "gw.example.org:0",
            "gw.example.org:65536",
            ":7443",
            "2001:db8::1:7443",
            "[2001:db8::1]",
            "300.0.2.1:7443",
            "gw example:7443",
            "https://gw:7443",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text:?}");
        }
    }
}
