//! What this gateway answers from: immutable, shared, replaced as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use weft_model::{ClusterName, Index, RegionName, ServiceKey};

use super::entry::Entry;
use super::{HeadlessEndpoint, Name, Soa, Target};

/// How old zones are: a position in the log and a view of liveness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Generation {
    /// The last log entry they reflect.
    pub state: Index,
    /// The view of liveness they reflect.
    pub liveness: u64,
}

impl Generation {
    /// Whether zones of this generation may replace those of `served`: neither
    /// half may go back.
    pub fn may_follow(self, served: Self) -> bool {
        #[cfg(feature = "bugs")]
        if weft_model::planted::Bug::OldZones.is_planted() {
            return true;
        }
        self.state >= served.state && self.liveness >= served.liveness
    }

    /// The zones' serial number (RFC 1982): it grows whenever one half does and
    /// the other does not go back.
    fn serial(self) -> u32 {
        (self.state.0.wrapping_add(self.liveness)) as u32
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log {}, liveness {}", self.state, self.liveness)
    }
}

/// Services by name within namespaces, as bytes of the wire.
pub(super) type Table = BTreeMap<Box<[u8]>, BTreeMap<Box<[u8]>, Entry>>;

/// Everything that answers come from.
#[derive(Debug, Clone)]
pub struct Zones {
    pub(super) content: Content,
    /// `clusterset.local`.
    pub(super) clusterset: Name,
    /// `weft.internal`.
    pub(super) own: Name,
    pub(super) generation: Generation,
    pub(super) targets: BTreeMap<IpAddr, Target>,
    pub(super) endpoints: BTreeMap<(ServiceKey, ClusterName), Arc<[HeadlessEndpoint]>>,
}

/// Whether there is anything to answer from.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// No state has been applied here yet.
    Nothing,
    Services(Services),
}

/// The names of one generation.
#[derive(Debug, Clone, Default)]
pub(super) struct Services {
    pub(super) federation: Table,
    pub(super) clusters: BTreeMap<Box<[u8]>, (ClusterName, Table)>,
    pub(super) regions: BTreeMap<Box<[u8]>, (RegionName, Table)>,
    /// Services that others export, but not to us, with their exporters: for explanations.
    pub(super) hidden: BTreeMap<ServiceKey, Vec<ClusterName>>,
    pub(super) servers_v4: Vec<Ipv4Addr>,
    pub(super) servers_v6: Vec<Ipv6Addr>,
}

impl Zones {
    /// The name that MCS requires for the zone of the federation's services.
    pub const CLUSTERSET: &'static str = "clusterset.local";
    /// The name of our own zone unless configured.
    pub const OWN: &'static str = "weft.internal";

    /// Zones of a gateway that has no state yet: every name in them is
    /// [`CannotKnow`](super::Verdict::CannotKnow).
    pub fn unknown(own: Name) -> Self {
        Self {
            content: Content::Nothing,
            clusterset: Name::parse(Self::CLUSTERSET).expect("it is a name"),
            own,
            generation: Generation::default(),
            targets: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        }
    }

    /// Whether there is anything to answer from.
    pub fn are_known(&self) -> bool {
        matches!(self.content, Content::Services(_))
    }

    /// How old they are.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Our own zone's name.
    pub fn own_zone(&self) -> &Name {
        &self.own
    }

    /// What connections to `address` are for, if it is one of ours.
    pub fn target(&self, address: IpAddr) -> Option<&Target> {
        self.targets.get(&address)
    }

    /// Every address that names answer with and this gateway has to serve.
    pub fn targets(&self) -> impl Iterator<Item = (IpAddr, &Target)> {
        self.targets
            .iter()
            .map(|(address, target)| (*address, target))
    }

    /// The zone that `name` is in, and the labels in front of it, the one next to
    /// the zone first.
    pub(super) fn locate<'z, 'n>(&'z self, name: &'n Name) -> Option<(Zone<'z>, Vec<&'n [u8]>)> {
        let below_own = name
            .below(&self.own)
            .map(|labels| (Zone::Own(&self.own), labels));
        let below = || {
            let labels = name.below(&self.clusterset)?;
            Some((Zone::ClusterSet(&self.clusterset), labels))
        };
        below_own.or_else(below)
    }

    /// The authority of both zones.
    pub(super) fn soa(&self, zone: &Name) -> Soa {
        Soa {
            primary: Name::under(&["ns"], &self.own).unwrap_or_else(|| self.own.clone()),
            mailbox: Name::under(&["hostmaster"], zone).unwrap_or_else(|| zone.clone()),
            serial: self.generation.serial(),
        }
    }
}

/// One of the two zones.
#[derive(Debug, Clone, Copy)]
pub(super) enum Zone<'z> {
    ClusterSet(&'z Name),
    Own(&'z Name),
}

impl<'z> Zone<'z> {
    pub(super) fn name(self) -> &'z Name {
        match self {
            Self::ClusterSet(name) | Self::Own(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_half_of_a_generation_goes_back() {
        let at = |state, liveness| Generation {
            state: Index(state),
            liveness,
        };
        let served = at(5, 7);
        for (next, may) in [
            (at(5, 7), true),
            (at(6, 7), true),
            (at(5, 8), true),
            (at(4, 9), false),
            (at(9, 6), false),
        ] {
            assert_eq!(next.may_follow(served), may, "{next} after {served}");
        }
    }
}
