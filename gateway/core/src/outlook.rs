//! How one gateway sees the other clusters at a moment: lease and path, side by side.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_model::{ClusterName, Federation, OnStale, ServiceKey};

use crate::{Lease, Moment, Path, Verdict, judge};

/// What is known of the way to one cluster, and of its membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// What the federation agrees on.
    pub lease: Lease,
    /// What this gateway measures.
    pub path: Path,
    /// Round-trip time of the best path; none while there is none.
    pub rtt: Option<Duration>,
}

/// Every other member, as one gateway sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    own: ClusterName,
    clusters: BTreeMap<ClusterName, Sight>,
}

impl Outlook {
    /// What `own`'s gateway sees of the others.
    pub fn new(own: ClusterName, others: impl IntoIterator<Item = (ClusterName, Sight)>) -> Self {
        Self {
            own,
            clusters: others.into_iter().collect(),
        }
    }

    /// The cluster from which this is seen.
    pub fn own(&self) -> &ClusterName {
        &self.own
    }

    /// What is seen of a cluster; none of the own one, and of those that are no members.
    pub fn sight(&self, cluster: &ClusterName) -> Option<&Sight> {
        self.clusters.get(cluster)
    }

    /// Whether endpoints of `service` in `cluster` get traffic and stand in DNS. The own cluster is
    /// always there; one that is no member never is.
    pub fn verdict(
        &self,
        federation: &Federation,
        service: &ServiceKey,
        cluster: &ClusterName,
        now: Moment,
    ) -> Verdict {
        if *cluster == self.own {
            return judge(Lease::Held, Path::Up, OnStale::Serve, now);
        }
        let policy = federation
            .service(service)
            .and_then(|service| service.exporters.get(cluster))
            .map_or(OnStale::Fail, |exporter| exporter.on_stale);
        match self.clusters.get(cluster) {
            Some(sight) => judge(sight.lease, sight.path, policy, now),
            None => judge(Lease::Lapsed, Path::Down(now), policy, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weft_model::fixture;

    use super::*;
    use crate::{Presence, Traffic};

    #[test]
    fn the_own_cluster_is_there_and_strangers_are_not() {
        let federation = fixture::federation();
        let (own, eu): (ClusterName, ClusterName) =
            (fixture::name("us-east-1"), fixture::name("eu-west-1"));
        let now = Moment(Duration::from_secs(100));
        let sight = Sight {
            lease: Lease::Held,
            path: Path::Up,
            rtt: None,
        };
        let outlook = Outlook::new(own.clone(), [(eu.clone(), sight)]);
        let checkout: ServiceKey = fixture::name("shop/checkout");
        let verdict = |cluster: &ClusterName| outlook.verdict(&federation, &checkout, cluster, now);
        assert_eq!(verdict(&own).traffic, Traffic::All);
        assert_eq!(verdict(&eu).traffic, Traffic::All);
        let stranger = verdict(&fixture::name("elsewhere"));
        assert_eq!(
            (stranger.traffic, stranger.dns),
            (Traffic::None, Presence::Withdrawn)
        );
    }
}
