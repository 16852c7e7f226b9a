//! What a value must satisfy beyond its form. The command line checks before it
//! sends, every replica before it applies: the same functions.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::duration::format as written;
use crate::{
    ClusterSpec, ExportSpec, ExportTo, HealthCheck, RoleBindingSpec, VirtualIpRanges,
    WorkloadEntrySpec, quota,
};

const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(3600);
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);
const STREAK_MAX: u32 = 100;
/// Room for a hundred steps below and above the default of 100.
const WEIGHT_MAX: u32 = 10_000;

impl ClusterSpec {
    /// Says what is wrong with the value, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        at_most("namespaces", self.namespaces.len(), quota::NAMES_MAX)?;
        self.virtual_ips.check()
    }
}

impl VirtualIpRanges {
    /// Says what is wrong with the ranges, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let v4 = self.ipv4;
        if v4.trunc() != v4 {
            return Err(format!(
                "virtualIPs.ipv4 {v4} has host bits: write {}",
                v4.trunc()
            ));
        }
        if v4.prefix_len() > quota::IPV4_PREFIX_MAX {
            return Err(format!(
                "virtualIPs.ipv4 {v4} is too small: a range bounds the services of the whole federation, /{} is the smallest",
                quota::IPV4_PREFIX_MAX
            ));
        }
        if v4.network().octets()[0] == 0 || v4.prefix_len() < 4 || v4.network().is_multicast() {
            return Err(format!(
                "virtualIPs.ipv4 {v4} is no unicast range: 240.0.0.0/12 is a good one"
            ));
        }
        let Some(v6) = self.ipv6 else { return Ok(()) };
        if v6.trunc() != v6 {
            return Err(format!(
                "virtualIPs.ipv6 {v6} has host bits: write {}",
                v6.trunc()
            ));
        }
        if v6.prefix_len() > quota::IPV6_PREFIX_MAX {
            return Err(format!(
                "virtualIPs.ipv6 {v6} is too small: /{} is the smallest",
                quota::IPV6_PREFIX_MAX
            ));
        }
        if v6.network().is_multicast() || v6.network().is_unspecified() {
            return Err(format!(
                "virtualIPs.ipv6 {v6} is no unicast range: take a /64 of fd00::/8"
            ));
        }
        Ok(())
    }

    /// The highest index that has an address of its own. Services have the lower
    /// half of the range, without its first address, which names the range; the
    /// upper half is the cluster's own, for addresses that only its DNS gives out.
    pub fn capacity(&self) -> u32 {
        let hosts = 32u32.saturating_sub(self.ipv4.prefix_len().into());
        let half = hosts.checked_sub(1).and_then(|bits| 1u32.checked_shl(bits));
        half.map_or(0, |half| half - 1)
    }
}

impl ExportSpec {
    /// Says what is wrong with the value, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.ports.is_empty() {
            return Err("ports is empty: a service has at least one".into());
        }
        at_most("ports", self.ports.len(), quota::PORTS_MAX)?;
        let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
        for port in &self.ports {
            if let Some(name) = port.name.as_ref().filter(|name| !names.insert(*name)) {
                return Err(format!(
                    "two ports are called {name}: give each its own name"
                ));
            }
            if !numbers.insert((port.protocol, port.port)) {
                return Err(format!("port {} stands twice: write it once", port.port));
            }
        }
        within("dns.ttl", self.dns.ttl, TTL_MIN, TTL_MAX)?;
        at_most("identities", self.identities.len(), quota::NAMES_MAX)?;
        match &self.export_to {
            ExportTo::Clusters(named) => at_most("exportTo", named.len(), quota::CLUSTERS_MAX),
            ExportTo::Nobody | ExportTo::Everyone => Ok(()),
        }
    }
}

impl WorkloadEntrySpec {
    /// Says what is wrong with the value, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.ports.is_empty() {
            return Err("ports is empty: name at least one port of the service".into());
        }
        at_most("ports", self.ports.len(), quota::PORTS_MAX)?;
        at_most("checks", self.checks.len(), quota::CHECKS_MAX)?;
        if self.weight > WEIGHT_MAX {
            return Err(format!("weight {} is above {WEIGHT_MAX}", self.weight));
        }
        if !may_be_fronted(self.address) {
            return Err(format!(
                "address {} cannot be a server's: link-local, multicast and unspecified addresses are refused",
                self.address
            ));
        }
        self.checks.iter().try_for_each(HealthCheck::check)
    }
}

/// Link-local addresses lead to cloud metadata services; loopback is the
/// cluster's own business, since only its own gateways dial it.
fn may_be_fronted(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_link_local() || v4.is_multicast() || v4.is_unspecified() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => !(v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified()),
    }
}

impl HealthCheck {
    /// Says what is wrong with the value, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.probe().is_none() {
            return Err("a check has exactly one of http, grpc and tcp".into());
        }
        if let Some(http) = self
            .http
            .as_ref()
            .filter(|http| !http.path.starts_with('/'))
        {
            return Err(format!("http.path {:?} must begin with '/'", http.path));
        }
        let text = self.http.as_ref().map_or(0, |http| http.path.len())
            + self.grpc.as_ref().map_or(0, |grpc| grpc.service.len());
        at_most("bytes in http.path or grpc.service", text, 1024)?;
        within("interval", self.interval, INTERVAL_MIN, INTERVAL_MAX)?;
        within(
            "timeout",
            self.timeout,
            Duration::from_millis(1),
            INTERVAL_MAX,
        )?;
        for (field, count) in [("failures", self.failures), ("successes", self.successes)] {
            if !(1..=STREAK_MAX).contains(&count) {
                return Err(format!("{field} {count} is not between 1 and {STREAK_MAX}"));
            }
        }
        Ok(())
    }
}

impl RoleBindingSpec {
    /// Says what is wrong with the value, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        at_most("users", self.users.len(), quota::NAMES_MAX)
    }
}

pub(super) fn at_most(what: &str, count: usize, max: usize) -> Result<(), String> {
    if count > max {
        return Err(format!("{count} {what}, at most {max} are allowed"));
    }
    Ok(())
}

pub(super) fn within(
    field: &str,
    value: Duration,
    min: Duration,
    max: Duration,
) -> Result<(), String> {
    if !(min..=max).contains(&value) {
        return Err(format!(
            "{field} {} is not between {} and {}",
            written(value),
            written(min),
            written(max)
        ));
    }
    Ok(())
}
