//! Locality levels: nearer ones are used first.

use std::fmt;
use std::time::Duration;

use weft_model::{ClusterName, Percent, RegionName};

use super::{EndpointView, Locality, Place};
use crate::Rng;

/// How near a group of endpoints is. Derived order: nearest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The reader's zone of the reader's cluster.
    SameZone,
    /// The reader's cluster.
    SameCluster,
    /// Another cluster of the reader's region; one level per cluster, by round trip.
    SameRegion {
        /// Round trip to it.
        rtt: Duration,
        /// The cluster.
        cluster: ClusterName,
        /// Its region.
        region: RegionName,
    },
    /// A cluster of another region; one level per cluster, by round trip.
    OtherRegion {
        /// Round trip to it.
        rtt: Duration,
        /// The cluster.
        cluster: ClusterName,
        /// Its region.
        region: RegionName,
    },
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rtt, nearness) = match self {
            Self::SameZone => return f.write_str("same zone"),
            Self::SameCluster => return f.write_str("same cluster"),
            Self::SameRegion { rtt, .. } => (rtt, "same region"),
            Self::OtherRegion { rtt, .. } => (rtt, "another region"),
        };
        write!(f, "{nearness}, {} ms away", rtt.as_millis())
    }
}

impl Level {
    /// The level of `view` as seen from `place`.
    pub fn of(view: &EndpointView, place: &Place) -> Self {
        let endpoint = &view.endpoint;
        match &view.locality {
            Locality::Local if place.zone.is_some() && endpoint.zone == place.zone => {
                Self::SameZone
            }
            Locality::Local => Self::SameCluster,
            Locality::Remote { region, rtt, .. } => {
                let (rtt, cluster, region) = (*rtt, endpoint.cluster.clone(), region.clone());
                if region == place.region {
                    Self::SameRegion {
                        rtt,
                        cluster,
                        region,
                    }
                } else {
                    Self::OtherRegion {
                        rtt,
                        cluster,
                        region,
                    }
                }
            }
        }
    }
}

/// The endpoints of one level that take work on one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelMembers {
    /// How near they are.
    pub level: Level,
    /// Positions in the service's endpoints.
    pub members: Box<[u32]>,
    /// Running sums of their weights, if these differ; empty if all are equal,
    /// so that the common draw is one multiplication.
    pub weights: Box<[u64]>,
    /// The sum of their weights.
    pub ready: u64,
    /// The same with the endpoints of the level whose health checks fail.
    pub capacity: u64,
    /// How much of the traffic its cluster may draw while others can serve the rest.
    pub max_share: Option<Percent>,
}

/// What a level is made of.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Position and weight of each that takes work.
    pub(super) members: Vec<(u32, u32)>,
    /// The weights of those whose health checks fail.
    pub(super) unready: u64,
    /// The ceiling of its cluster.
    pub(super) max_share: Option<Percent>,
}

impl LevelMembers {
    /// Whether the endpoint at this position is a member.
    pub(crate) fn has(&self, position: u32) -> bool {
        self.members.binary_search(&position).is_ok()
    }

    /// How much of the traffic it can take: all while most of its endpoints work. In ten
    /// thousandths; `ejected` is the weight of members that are set aside.
    pub(crate) fn share(&self, ejected: u64) -> u64 {
        crate::balance::share(self.ready.saturating_sub(ejected), self.capacity)
    }

    /// A level of what was gathered for it, at least one member.
    pub(super) fn new(level: Level, gathered: Gathered) -> Self {
        let Gathered {
            members,
            unready,
            max_share,
        } = gathered;
        let ready = members
            .iter()
            .map(|(_, weight)| u64::from(*weight))
            .sum::<u64>();
        let equal = members.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let weights = if equal {
            Box::default()
        } else {
            members
                .iter()
                .scan(0u64, |sum, (_, weight)| {
                    *sum += u64::from(*weight);
                    Some(*sum)
                })
                .collect()
        };
        Self {
            level,
            members: members.into_iter().map(|(position, _)| position).collect(),
            weights,
            ready,
            capacity: ready.saturating_add(unready),
            max_share,
        }
    }

    /// An index into `members`, drawn by weight.
    pub(crate) fn place(&self, rng: &mut Rng) -> usize {
        match self.weights.last() {
            None => index(rng.below(self.members.len() as u64)),
            Some(total) => {
                let ticket = rng.below(*total);
                self.weights.partition_point(|sum| *sum <= ticket)
            }
        }
    }
}

fn index(below_len: u64) -> usize {
    usize::try_from(below_len).expect("it is below a slice's length")
}
