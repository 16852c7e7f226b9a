//! How far other clusters are, as far as routing cares. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_model::ClusterName;

use crate::tunnel::{PathState, Paths};

/// The clusters that can be reached now, with the round trip to each.
///
/// Equal for as long as nothing changes that routing would act on: paths are
/// measured twice a second, and a table need not follow every packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach(BTreeMap<ClusterName, Duration>);

/// Round trips that differ by less than this are one distance. Larger: nearer
/// clusters are told apart less well; smaller: the table is rebuilt more often.
const STEP: Duration = Duration::from_millis(5);

impl Reach {
    /// What `paths` come to: a cluster is reached by any of its gateways that
    /// answers and takes connections, and is as near as the nearest of these.
    pub fn of(paths: &Paths) -> Self {
        let up = paths.peers.values().filter(|p| p.state == PathState::Up);
        let mut reach = Self::default();
        for path in up {
            reach.add(path.cluster.clone(), path.rtt.unwrap_or_default());
        }
        reach
    }

    /// Also reaches `cluster`, in `rtt` or less.
    pub fn add(&mut self, cluster: ClusterName, rtt: Duration) {
        let rtt = rtt.saturating_sub(remainder(rtt));
        let nearest = self.0.entry(cluster).or_insert(rtt);
        *nearest = rtt.min(*nearest);
    }

    /// The round trip to `cluster`; none if it cannot be reached.
    pub fn rtt(&self, cluster: &ClusterName) -> Option<Duration> {
        self.0.get(cluster).copied()
    }
}

fn remainder(rtt: Duration) -> Duration {
    let nanos = rtt.as_nanos() % STEP.as_nanos();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use weft_model::NodeId;
    use weft_model::fixture::name;

    use super::*;
    use crate::tunnel::PeerPath;

    fn paths(rows: &[(&str, PathState, u64)]) -> Paths {
        let since = Instant::now();
        let peer = |(node, (cluster, state, millis)): (u64, &(&str, PathState, u64))| {
            let path = PeerPath {
                cluster: name(cluster),
                gateway: name("gw"),
                state: *state,
                since,
                rtt: Some(Duration::from_millis(*millis)),
                sent: node,
                lost: 0,
                control_connections: 1,
                data_connections: 1,
            };
            (NodeId(node), path)
        };
        Paths {
            peers: (1..).zip(rows).map(peer).collect(),
        }
    }

    #[test]
    fn the_nearest_gateway_that_takes_connections_counts() {
        let reach = Reach::of(&paths(&[
            ("eu", PathState::Draining, 10),
            ("eu", PathState::Up, 83),
            ("eu", PathState::Up, 142),
            ("ap", PathState::Silent, 20),
        ]));
        assert_eq!(reach.rtt(&name("eu")), Some(Duration::from_millis(80)));
        assert_eq!(reach.rtt(&name("ap")), None);
    }

    #[test]
    fn small_changes_of_distance_change_nothing() {
        let at = |millis| Reach::of(&paths(&[("eu", PathState::Up, millis)]));
        assert_eq!(at(81), at(84));
        assert_ne!(at(84), at(85));
    }
}
