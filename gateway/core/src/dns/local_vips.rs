//! Virtual IPs that one cluster gives out by itself, outside the log.
//!
//! A service's own virtual IP names the service and nothing else, and comes from
//! the lower half of the cluster's range by its index. What a name can say beyond
//! that (one cluster, one region, one remote endpoint) needs an address of its own,
//! from the upper half.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use weft_model::VirtualIpRanges;

use super::Target;

/// How many released addresses are remembered for their targets' return.
const RESTING_MAX: usize = 65_536;

/// A place in the upper half of a cluster's virtual-IP range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    InUse,
    /// Released; the number grows with each release.
    Resting(u64),
}

/// Gives each target an address for as long as it is wanted.
///
/// Where a target lands follows from its name, so that the gateways of a cluster,
/// and a gateway before and after a restart, agree on it unless two names fall on
/// one place; then the first one stays and the other moves on. A released address
/// rests: its target gets it back, and others get it only when no place is left.
#[derive(Debug, Clone)]
pub struct LocalVips {
    places: u32,
    ipv4: Ipv4Addr,
    ipv6: Option<Ipv6Addr>,
    leases: BTreeMap<Target, (Offset, Lease)>,
    taken: BTreeMap<Offset, Target>,
    resting: BTreeMap<u64, Target>,
    released: u64,
}

impl LocalVips {
    /// Nothing given out yet, from the upper halves of `ranges`.
    pub fn new(ranges: &VirtualIpRanges) -> Self {
        let hosts = 32 - u32::from(ranges.ipv4.prefix_len());
        let half = hosts.checked_sub(1).map_or(0, |bits| 1u32 << bits);
        let ipv6 = ranges.ipv6.and_then(|range| {
            let bits = 127u32.checked_sub(range.prefix_len().into())?;
            // A place has to exist in both families: a shorter range decides.
            let wide = bits >= 32 || 1u64 << bits >= u64::from(half);
            let base = range.network().to_bits() | (1u128 << bits);
            wide.then(|| Ipv6Addr::from_bits(base))
        });
        Self {
            // Without the last one, the range's broadcast address.
            places: half.saturating_sub(1),
            ipv4: Ipv4Addr::from_bits(ranges.ipv4.network().to_bits() | half),
            ipv6,
            leases: BTreeMap::new(),
            taken: BTreeMap::new(),
            resting: BTreeMap::new(),
            released: 0,
        }
    }

    /// Keeps what is wanted, releases what is not, and gives new targets a place.
    /// A target stays without one only if all places are in use.
    pub fn settle(&mut self, wanted: &BTreeSet<Target>) {
        let gone: Vec<Target> = self
            .leases
            .iter()
            .filter(|(target, (_, lease))| *lease == Lease::InUse && !wanted.contains(*target))
            .map(|(target, _)| target.clone())
            .collect();
        gone.into_iter().for_each(|target| self.release(target));
        for target in wanted {
            self.take(target);
        }
    }

    /// The addresses of a target in use; IPv6 if there is a range for it.
    pub fn addresses(&self, target: &Target) -> Option<(Ipv4Addr, Option<Ipv6Addr>)> {
        let (Offset(offset), lease) = self.leases.get(target)?;
        (*lease == Lease::InUse).then(|| {
            let ipv4 = Ipv4Addr::from_bits(self.ipv4.to_bits() + offset);
            let ipv6 = |base: Ipv6Addr| Ipv6Addr::from_bits(base.to_bits() + u128::from(*offset));
            (ipv4, self.ipv6.map(ipv6))
        })
    }

    fn release(&mut self, target: Target) {
        self.released += 1;
        if let Some((_, lease)) = self.leases.get_mut(&target) {
            *lease = Lease::Resting(self.released);
            self.resting.insert(self.released, target);
        }
        while self.resting.len() > RESTING_MAX {
            self.forget_oldest();
        }
    }

    fn take(&mut self, target: &Target) {
        match self.leases.get_mut(target) {
            Some((_, lease)) => {
                if let Lease::Resting(since) = *lease {
                    self.resting.remove(&since);
                }
                *lease = Lease::InUse;
            }
            None => {
                if let Some(offset) = self.place(target) {
                    self.leases.insert(target.clone(), (offset, Lease::InUse));
                    self.taken.insert(offset, target.clone());
                }
            }
        }
    }

    /// The first free place from where the target's name falls; else the one that
    /// has rested longest.
    fn place(&mut self, target: &Target) -> Option<Offset> {
        if self.places == 0 {
            return None;
        }
        if self.taken.len() >= self.places as usize {
            return self.forget_oldest();
        }
        let start = (fnv1a(target.to_string().as_bytes()) % u64::from(self.places)) as u32;
        (start..self.places)
            .chain(0..start)
            .map(Offset)
            .find(|offset| !self.taken.contains_key(offset))
    }

    fn forget_oldest(&mut self) -> Option<Offset> {
        let (_, target) = self.resting.pop_first()?;
        let (offset, _) = self.leases.remove(&target)?;
        self.taken.remove(&offset);
        Some(offset)
    }
}

/// FNV-1a, 64 bits: spread, not secrecy, and the same everywhere.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::name;

    use super::*;
    use crate::dns::Scope;

    fn ranges(ipv4: &str) -> VirtualIpRanges {
        VirtualIpRanges {
            ipv4: name(ipv4),
            ipv6: Some(name("fd00:77:65:66::/64")),
        }
    }

    fn target(cluster: &str) -> Target {
        Target::Service(name("shop/checkout"), Scope::Cluster(name(cluster)))
    }

    fn targets(clusters: &[&str]) -> BTreeSet<Target> {
        clusters.iter().copied().map(target).collect()
    }

    #[test]
    fn addresses_are_in_the_upper_half_and_alike_in_both_families() {
        let mut vips = LocalVips::new(&ranges("240.0.0.0/12"));
        vips.settle(&targets(&["a"]));
        let (v4, v6) = vips.addresses(&target("a")).unwrap();
        let low = v4.to_bits() - Ipv4Addr::new(240, 8, 0, 0).to_bits();
        assert!(low < 1 << 19, "{v4}");
        let base: Ipv6Addr = "fd00:77:65:66:8000::".parse().unwrap();
        assert_eq!(v6.unwrap().to_bits() - base.to_bits(), u128::from(low));
    }

    #[test]
    fn another_gateway_gives_the_same_whatever_came_before() {
        let (mut one, mut two) = (
            LocalVips::new(&ranges("240.0.0.0/12")),
            LocalVips::new(&ranges("240.0.0.0/12")),
        );
        one.settle(&targets(&["a", "b"]));
        two.settle(&targets(&["c"]));
        two.settle(&targets(&["b", "c"]));
        assert_eq!(one.addresses(&target("b")), two.addresses(&target("b")));
    }

    #[test]
    fn a_target_in_use_keeps_its_address_and_a_returning_one_gets_it_back() {
        let mut vips = LocalVips::new(&ranges("127.64.0.0/27"));
        vips.settle(&targets(&["a", "b"]));
        let (a, b) = (vips.addresses(&target("a")), vips.addresses(&target("b")));
        vips.settle(&targets(&["b", "c", "d", "e", "f"]));
        assert_eq!(vips.addresses(&target("a")), None);
        assert_eq!(vips.addresses(&target("b")), b);
        vips.settle(&targets(&["a", "b", "c"]));
        assert_eq!(vips.addresses(&target("a")), a);
    }

    #[test]
    fn places_run_out_and_resting_ones_are_reused_last() {
        // A /30 has two in its upper half, one of which is the broadcast address.
        let mut vips = LocalVips::new(&ranges("127.64.0.0/30"));
        vips.settle(&targets(&["a", "b"]));
        assert!(vips.addresses(&target("a")).is_some());
        assert_eq!(vips.addresses(&target("b")), None);
        let a = vips.addresses(&target("a"));
        vips.settle(&targets(&["b"]));
        assert_eq!(vips.addresses(&target("b")), a);
        for tiny in ["127.64.0.0/31", "127.64.0.0/32"] {
            let mut vips = LocalVips::new(&ranges(tiny));
            vips.settle(&targets(&["a"]));
            assert_eq!(vips.addresses(&target("a")), None, "{tiny}");
        }
    }
}
