//! Sums over the windows of many gateways, by what is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_model::{
    Carried, ClusterName, FlowClass, GatewayName, Latencies, RegionName, ServiceKey, SpiffeId,
    Version,
};

use super::{Window, WindowRow};

/// One gateway's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Where its sources are.
    pub cluster: ClusterName,
    /// Whose window it is.
    pub gateway: GatewayName,
    /// What it knows.
    pub window: Window,
}

/// The region of each cluster.
pub type Regions = BTreeMap<ClusterName, RegionName>;

/// Requests added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sum {
    /// How many.
    pub requests: u64,
    /// A second.
    pub rate: f64,
    /// Those that count against the service.
    pub failures: u64,
    /// Of them, those that nobody answered.
    pub unanswered: u64,
    /// Those that were answered in the caller's region.
    pub local: u64,
    /// Those that went to another endpoint than the first one chosen.
    pub rerouted: u64,
    /// Times of those that somebody answered.
    pub latencies: Latencies,
}

/// Requests to one service from one region.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSum {
    /// The service.
    pub service: ServiceKey,
    /// What was carried.
    pub carried: Carried,
    /// Where the callers are.
    pub from: RegionName,
    /// The sum.
    pub sum: Sum,
}

/// Requests from one region to another.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionSum {
    /// Where the callers are.
    pub from: RegionName,
    /// Where the endpoints are; none for what nobody answered.
    pub to: Option<RegionName>,
    /// The sum.
    pub sum: Sum,
}

/// Requests of one identity to another.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeSum {
    /// Who sent them.
    pub source: SpiffeId,
    /// From where.
    pub from: ClusterName,
    /// To what.
    pub service: ServiceKey,
    /// Who answered, having proved to be it.
    pub destination: SpiffeId,
    /// Where.
    pub to: ClusterName,
    /// The sum.
    pub sum: Sum,
}

/// Requests that one version of a service answered, by the callers' region and the serving cluster:
/// the groups in which a canary is compared with its stable version.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionSum {
    /// Where the callers are.
    pub from: RegionName,
    /// Who served them.
    pub cluster: ClusterName,
    /// The version; none of endpoints that have none.
    pub version: Option<Version>,
    /// The sum.
    pub sum: Sum,
}

impl Sum {
    fn add(&mut self, row: &WindowRow, covered: Duration, is_local: bool) {
        let count = row.tally.count();
        self.requests = self.requests.saturating_add(count);
        // A gateway that has just begun covers next to nothing: no rate of thousands follows.
        self.rate += count as f64 / covered.as_secs_f64().max(1.0);
        if row.flow.class.is_failure() {
            self.failures = self.failures.saturating_add(count);
        }
        if is_local {
            self.local = self.local.saturating_add(count);
        }
        self.rerouted = self.rerouted.saturating_add(row.tally.rerouted);
        match row.flow.class {
            FlowClass::Failed => self.unanswered = self.unanswered.saturating_add(count),
            _ => self.latencies.merge(&row.tally.latencies),
        }
    }

    /// The share that did not fail, 0 to 1; none of no requests.
    pub fn success(&self) -> Option<f64> {
        share(self.requests - self.failures, self.requests)
    }

    /// The share answered in the caller's region, of those that somebody answered.
    pub fn local_share(&self) -> Option<f64> {
        share(self.local, self.requests - self.unanswered)
    }

    /// The share that went elsewhere than at first chosen.
    pub fn rerouted_share(&self) -> Option<f64> {
        share(self.rerouted, self.requests)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Sums by service and the callers' region. Clusters that `regions` does not know are left out.
pub fn services(heard: &[Heard], regions: &Regions) -> Vec<ServiceSum> {
    let mut sums: BTreeMap<(ServiceKey, Carried, RegionName), Sum> = BTreeMap::new();
    each(heard, regions, |row, place| {
        let key = (
            row.flow.service.clone(),
            row.flow.carried,
            place.from.clone(),
        );
        sums.entry(key)
            .or_default()
            .add(row, place.covered, place.is_local());
    });
    let sums = sums.into_iter();
    sums.map(|((service, carried, from), sum)| ServiceSum {
        service,
        carried,
        from,
        sum,
    })
    .collect()
}

/// Sums by the callers' and the endpoints' regions.
pub fn regions(heard: &[Heard], of: &Regions) -> Vec<RegionSum> {
    let mut sums: BTreeMap<(RegionName, Option<RegionName>), Sum> = BTreeMap::new();
    each(heard, of, |row, place| {
        sums.entry((place.from.clone(), place.to.cloned()))
            .or_default()
            .add(row, place.covered, place.is_local());
    });
    let sums = sums.into_iter();
    sums.map(|((from, to), sum)| RegionSum { from, to, sum })
        .collect()
}

/// Sums by who called whom. What nobody answered has no other end.
pub fn edges(heard: &[Heard], of: &Regions) -> Vec<EdgeSum> {
    type Ends = (SpiffeId, ClusterName, ServiceKey, SpiffeId, ClusterName);
    let mut sums: BTreeMap<Ends, Sum> = BTreeMap::new();
    each(heard, of, |row, place| {
        let Some(served) = &row.flow.served else {
            return;
        };
        let ends = (
            row.source.clone(),
            place.cluster.clone(),
            row.flow.service.clone(),
            served.identity.clone(),
            served.cluster.clone(),
        );
        sums.entry(ends)
            .or_default()
            .add(row, place.covered, place.is_local());
    });
    let sums = sums.into_iter();
    sums.map(|((source, from, service, destination, to), sum)| EdgeSum {
        source,
        from,
        service,
        destination,
        to,
        sum,
    })
    .collect()
}

/// Sums of one service's requests by the callers' region, the serving cluster and its version.
/// What nobody answered belongs to no version, and is not in them.
pub fn versions(heard: &[Heard], of: &Regions, service: &ServiceKey) -> Vec<VersionSum> {
    let mut sums: BTreeMap<(RegionName, ClusterName, Option<Version>), Sum> = BTreeMap::new();
    each(heard, of, |row, place| {
        let Some(served) = &row.flow.served else {
            return;
        };
        if row.flow.service != *service {
            return;
        }
        let group = (
            place.from.clone(),
            served.cluster.clone(),
            served.version.clone(),
        );
        sums.entry(group)
            .or_default()
            .add(row, place.covered, place.is_local());
    });
    let sums = sums.into_iter();
    sums.map(|((from, cluster, version), sum)| VersionSum {
        from,
        cluster,
        version,
        sum,
    })
    .collect()
}

/// Sums of one service's requests by what `group` makes of the caller's cluster and of the version
/// that answered; what it has no group for is left out, and what nobody answered.
pub fn grouped<K: Ord>(
    heard: &[Heard],
    of: &Regions,
    service: &ServiceKey,
    group: impl Fn(&ClusterName, &Version) -> Option<K>,
) -> BTreeMap<K, Sum> {
    let mut sums: BTreeMap<K, Sum> = BTreeMap::new();
    each(heard, of, |row, place| {
        let served = row.flow.served.as_ref();
        let version = served.and_then(|served| served.version.as_ref());
        let group = version.and_then(|version| group(place.cluster, version));
        let Some(group) = group.filter(|_| row.flow.service == *service) else {
            return;
        };
        sums.entry(group)
            .or_default()
            .add(row, place.covered, place.is_local());
    });
    sums
}

/// Where one row's requests came from and went.
struct Place<'a> {
    cluster: &'a ClusterName,
    from: &'a RegionName,
    to: Option<&'a RegionName>,
    covered: Duration,
}

impl Place<'_> {
    fn is_local(&self) -> bool {
        self.to == Some(self.from)
    }
}

fn each(heard: &[Heard], regions: &Regions, mut act: impl FnMut(&WindowRow, &Place<'_>)) {
    for one in heard {
        let Some(from) = regions.get(&one.cluster) else {
            continue;
        };
        for row in &one.window.rows {
            let served = row.flow.served.as_ref();
            let place = Place {
                cluster: &one.cluster,
                from,
                to: served.and_then(|served| regions.get(&served.cluster)),
                covered: one.window.covered,
            };
            act(row, &place);
        }
    }
}
