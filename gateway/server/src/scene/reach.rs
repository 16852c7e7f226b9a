//! How far other clusters are, as far as routing cares. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weft_model::ClusterName;

use crate::tunnel::{PathState, Paths, PeerPath};

/// The clusters that can be reached now, with the round trip to each.
///
/// Equal for as long as nothing changes that routing would act on: paths are
/// measured twice a second, and tables need not follow every packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach(BTreeMap<ClusterName, Duration>);

/// A round trip that moved by less than this share of the last one stays what it was. Larger:
/// nearer clusters are told apart less well; smaller: tables are rebuilt and told more often.
const STEP: f64 = 0.1;
/// One that moved by less than this stays as well, however short it is.
const STEP_LEAST: Duration = Duration::from_micros(500);
/// A path whose connection closed counts as up for this long: of two that both sides dial
/// at once one is closed, and its successor takes a round trip. Longer: what is gone for
/// good is tried in vain for that long, and refuses at once.
const SUCCESSION: Duration = Duration::from_secs(1);

impl Reach {
    /// What `paths` come to at `now`, having been `previous`: a cluster is reached by any of its gateways
    /// that answers and takes connections, and is as near as the nearest of these. The control
    /// connection comes up first: until another one is there to relay by, there is nothing to begin.
    pub fn of(paths: &Paths, previous: &Self, now: Instant) -> Self {
        let carries = |p: &&PeerPath| p.data_connections > 0 || previous.rtt(&p.cluster).is_some();
        let up = paths.peers.values().filter(|p| p.state == PathState::Up);
        let up = up.filter(carries);
        let mut reach = Self::default();
        for path in up {
            reach.add(path.cluster.clone(), path.rtt.unwrap_or_default());
        }
        let closed = |p: &&PeerPath| {
            let ago = now.saturating_duration_since(p.since);
            p.state == PathState::Down && ago < SUCCESSION
        };
        for path in paths.peers.values().filter(closed) {
            if let Some(before) = previous.rtt(&path.cluster)
                && reach.rtt(&path.cluster).is_none()
            {
                reach.add(path.cluster.clone(), before);
            }
        }
        for (cluster, rtt) in &mut reach.0 {
            if let Some(before) = previous.rtt(cluster) {
                *rtt = steady(before, *rtt);
            }
        }
        reach
    }

    /// Also reaches `cluster`, in `rtt` or less; in whole microseconds, as it is told.
    pub fn add(&mut self, cluster: ClusterName, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        let rtt = Duration::from_micros(micros);
        let nearest = self.0.entry(cluster).or_insert(rtt);
        *nearest = rtt.min(*nearest);
    }

    /// The round trip to `cluster`; none if it cannot be reached.
    pub fn rtt(&self, cluster: &ClusterName) -> Option<Duration> {
        self.0.get(cluster).copied()
    }
}

/// The round trip to go by, given the one gone by and the one measured.
fn steady(before: Duration, measured: Duration) -> Duration {
    let step = before.mul_f64(STEP).max(STEP_LEAST);
    if before.abs_diff(measured) < step {
        before
    } else {
        measured
    }
}

#[cfg(test)]
mod tests {
    use weft_model::NodeId;
    use weft_model::fixture::name;

    use super::*;

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
                through: None,
            };
            (NodeId(node), path)
        };
        Paths {
            peers: (1..).zip(rows).map(peer).collect(),
        }
    }

    #[test]
    fn the_nearest_gateway_that_takes_connections_counts() {
        let seen = paths(&[
            ("eu", PathState::Draining, 10),
            ("eu", PathState::Up, 83),
            ("eu", PathState::Up, 142),
            ("ap", PathState::Silent, 20),
        ]);
        let reach = Reach::of(&seen, &Reach::default(), Instant::now());
        assert_eq!(reach.rtt(&name("eu")), Some(Duration::from_millis(83)));
        assert_eq!(reach.rtt(&name("ap")), None);
    }

    #[test]
    fn small_changes_of_distance_change_nothing() {
        let check = |before: u64, measured: u64, expect: u64| {
            let micros = Duration::from_micros;
            assert_eq!(steady(micros(before), micros(measured)), micros(expect));
        };
        check(80_000, 84_000, 80_000);
        check(80_000, 90_000, 90_000);
        check(300, 700, 300);
        check(0, 80_000, 80_000);
        let at = |millis, before: &Reach| {
            let seen = paths(&[("eu", PathState::Up, millis)]);
            Reach::of(&seen, before, Instant::now())
        };
        let first = at(80, &Reach::default());
        assert_eq!(at(84, &first), first);
        assert_ne!(at(90, &first), first);
    }

    #[test]
    fn a_cluster_is_reached_once_there_is_a_connection_to_relay_by() {
        let whole = paths(&[("eu", PathState::Up, 80)]);
        let mut bare = whole.clone();
        bare.peers.get_mut(&NodeId(1)).unwrap().data_connections = 0;
        let now = Instant::now();
        assert_eq!(Reach::of(&bare, &Reach::default(), now), Reach::default());
        let first = Reach::of(&whole, &Reach::default(), now);
        assert_eq!(first.rtt(&name("eu")), Some(Duration::from_millis(80)));
        // It is dialled anew.
        assert_eq!(Reach::of(&bare, &first, now), first);
    }

    /// Two gateways that dial each other at once close one of the connections.
    #[test]
    fn a_connection_that_is_being_replaced_takes_no_traffic_away() {
        let up = paths(&[("eu", PathState::Up, 80)]);
        let closed = paths(&[("eu", PathState::Down, 0)]);
        let now = closed.peers[&NodeId(1)].since;
        let first = Reach::of(&up, &Reach::default(), now);
        assert_eq!(Reach::of(&closed, &first, now), first);
        let later = now + SUCCESSION;
        assert_eq!(Reach::of(&closed, &first, later), Reach::default());
        // It was not used before, so it is not now.
        let unknown = Reach::of(&closed, &Reach::default(), now);
        assert_eq!(unknown, Reach::default());
    }
}
