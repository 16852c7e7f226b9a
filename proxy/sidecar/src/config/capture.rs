//! `spec.capture`: what is taken from programs that know nothing of it. The
//! sidecar listens by it, and `weft capture` makes the kernel's rules from it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use ipnet::{IpNet, Ipv4Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where captured TCP arrives unless said otherwise.
const PORT: NonZeroU16 = NonZeroU16::new(15002).unwrap();
/// Where captured DNS arrives unless said otherwise; Istio's number.
const DNS_PORT: NonZeroU16 = NonZeroU16::new(15053).unwrap();

/// As its author writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureSpec {
    /// The user that the sidecar runs as, by number. Nothing that it sends is captured; the
    /// sidecar refuses to start as another user, since its own connections would come back to it.
    pub uid: u32,
    /// Further users that nothing is captured of, by number: another sidecar's or a gateway's
    /// on the same machine. Default: none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exempt: BTreeSet<u32>,
    /// Destinations whose TCP is captured: this cluster's virtual IPs, IPv4 and IPv6.
    /// Default 240.0.0.0/4, where clusters have theirs unless told otherwise.
    #[serde(default = "ranges_default")]
    #[schemars(with = "Vec<String>")]
    pub ranges: Vec<IpNet>,
    /// The loopback port that captured TCP arrives on. Default 15002.
    #[serde(default = "port_default")]
    pub port: NonZeroU16,
    /// Capture DNS too. Default: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<CaptureDnsSpec>,
}

/// Where captured questions go. All of them: the gateways need `dns.upstreams` for
/// names that are not the federation's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureDnsSpec {
    /// DNS addresses of this cluster's gateways. The one that answered last is asked first.
    #[schemars(with = "Vec<String>")]
    pub servers: Vec<SocketAddr>,
    /// The loopback port that captured questions arrive on, UDP and TCP. Default 15053.
    #[serde(default = "dns_port_default")]
    pub port: NonZeroU16,
}

/// Checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The user that the sidecar runs as.
    pub uid: u32,
    /// All users that nothing is captured of, the sidecar's among them.
    pub exempt: BTreeSet<u32>,
    /// What is captured: at least one range, in order, none inside another.
    pub ranges: Vec<IpNet>,
    /// Where captured TCP arrives, on loopback.
    pub port: NonZeroU16,
    /// Where captured questions arrive and go.
    pub dns: Option<CaptureDns>,
}

/// Checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureDns {
    /// Who is asked; at least one.
    pub servers: Vec<SocketAddr>,
    /// Where questions arrive, on loopback.
    pub port: NonZeroU16,
}

/// Why it was refused. Named from `spec.capture.` on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// Nothing would be captured.
    #[error("ranges: name at least one")]
    NoRanges,
    /// More would be captured than services.
    #[error("ranges: {0} holds every address of its family; name this cluster's virtual IPs")]
    Everything(IpNet),
    /// Names would never be answered.
    #[error("dns.servers: name at least one gateway")]
    NoServers,
    /// A question would come back for ever.
    #[error("dns.servers: {0} is where captured questions arrive")]
    AsksItself(SocketAddr),
    /// One port for two things.
    #[error("dns.port: {0} is spec.capture.port already")]
    OnePort(NonZeroU16),
}

impl TryFrom<CaptureSpec> for Capture {
    type Error = CaptureError;

    fn try_from(spec: CaptureSpec) -> Result<Self, CaptureError> {
        let CaptureSpec {
            uid,
            mut exempt,
            ranges,
            port,
            dns,
        } = spec;
        if ranges.is_empty() {
            return Err(CaptureError::NoRanges);
        }
        if let Some(all) = ranges.iter().find(|range| range.prefix_len() == 0) {
            return Err(CaptureError::Everything(*all));
        }
        let dns = dns.map(|dns| checked(dns, port)).transpose()?;
        exempt.insert(uid);
        let mut ranges = IpNet::aggregate(&ranges);
        ranges.sort_unstable();
        Ok(Self {
            uid,
            exempt,
            ranges,
            port,
            dns,
        })
    }
}

fn checked(spec: CaptureDnsSpec, captured: NonZeroU16) -> Result<CaptureDns, CaptureError> {
    let CaptureDnsSpec { servers, port } = spec;
    if servers.is_empty() {
        return Err(CaptureError::NoServers);
    }
    if port == captured {
        return Err(CaptureError::OnePort(port));
    }
    let own = |server: &&SocketAddr| server.ip().is_loopback() && server.port() == port.get();
    if let Some(own) = servers.iter().find(own) {
        return Err(CaptureError::AsksItself(*own));
    }
    Ok(CaptureDns { servers, port })
}

impl Capture {
    /// Where captured TCP arrives: the kernel redirects a program's connection to
    /// loopback of its own family.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        loopbacks(
            self.port,
            self.ranges.iter().any(|net| net.addr().is_ipv6()),
        )
    }

    /// Where captured questions arrive. A resolver may have either family, but a
    /// machine that captures no IPv6 may have no IPv6 at all.
    pub fn dns_listeners(&self) -> Vec<SocketAddr> {
        let port = self.dns.as_ref().map(|dns| dns.port);
        let ipv6 = self.ranges.iter().any(|net| net.addr().is_ipv6());
        port.map_or_else(Vec::new, |port| loopbacks(port, ipv6))
    }
}

fn loopbacks(port: NonZeroU16, ipv6: bool) -> Vec<SocketAddr> {
    let ips = [
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ipv6.then_some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    let ips = ips.into_iter().flatten();
    ips.map(|ip| SocketAddr::new(ip, port.get())).collect()
}

fn ranges_default() -> Vec<IpNet> {
    vec![Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4).into()]
}
const fn port_default() -> NonZeroU16 {
    PORT
}
const fn dns_port_default() -> NonZeroU16 {
    DNS_PORT
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Capture, CaptureError> {
        serde_json::from_value::<CaptureSpec>(value)
            .unwrap()
            .try_into()
    }

    #[test]
    fn little_has_to_be_said() {
        let capture = read(json!({ "uid": 1337 })).unwrap();
        assert_eq!(capture.exempt, [1337].into());
        assert_eq!(capture.listeners(), ["127.0.0.1:15002".parse().unwrap()]);
        assert_eq!(capture.ranges[0].to_string(), "240.0.0.0/4");
        assert_eq!(capture.dns_listeners(), []);
    }

    #[test]
    fn ranges_are_put_in_order_and_merged() {
        let ranges = ["240.2.0.0/16", "fd00::/64", "240.0.0.0/16", "240.0.1.0/24"];
        let capture = read(json!({ "uid": 1, "ranges": ranges })).unwrap();
        let shown: Vec<String> = capture.ranges.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["240.0.0.0/16", "240.2.0.0/16", "fd00::/64"]);
        assert_eq!(capture.listeners().len(), 2);
    }

    #[test]
    fn each_mistake_is_named() {
        let check = |value: Value, expect: &str| {
            let error = read(value).unwrap_err().to_string();
            assert!(error.contains(expect), "{error:?} lacks {expect:?}");
        };
        check(json!({ "uid": 1, "ranges": [] }), "ranges: name");
        check(
            json!({ "uid": 1, "ranges": ["0.0.0.0/0"] }),
            "0.0.0.0/0 holds",
        );
        check(json!({ "uid": 1, "dns": { "servers": [] } }), "dns.servers");
        check(
            json!({ "uid": 1, "dns": { "servers": ["127.0.0.1:15053"] } }),
            "dns.servers: 127.0.0.1:15053",
        );
        check(
            json!({ "uid": 1, "dns": { "servers": ["10.0.0.1:53"], "port": 15002 } }),
            "dns.port: 15002",
        );
    }
}
