//! Reads clock, tunnels and registry, and says how this gateway sees the other clusters.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weft_model::{ClusterName, Federation, NodeId};
use weft_plan::{Lease, Moment, Outlook, Path, Sight};

use crate::tunnel::{PathState, Paths, PeerPath};

/// The origin of this process's [`Moment`]s.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.moment(Instant::now())
    }

    /// `at` as a moment.
    pub fn moment(&self, at: Instant) -> Moment {
        Moment(at.saturating_duration_since(self.0))
    }
}

/// The outlook of `own`'s gateway, having last heard a leader `silence` ago.
pub(crate) fn outlook(
    own: &ClusterName,
    federation: &Federation,
    paths: &Paths,
    silence: Duration,
    clock: &Clock,
) -> Outlook {
    let others = federation.clusters().filter(|(name, _)| *name != own);
    let sights = others.map(|(name, member)| {
        let gateways: Vec<NodeId> = federation
            .nodes()
            .filter(|(_, node)| node.cluster == *name)
            .map(|(id, _)| id)
            .collect();
        let seen: BTreeMap<NodeId, &PeerPath> = gateways
            .iter()
            .filter_map(|id| paths.peers.get(id).map(|path| (*id, path)))
            .collect();
        let lease = Lease::known(member.lapsed, silence);
        (
            name.clone(),
            Sight {
                lease,
                path: best(seen.values(), clock),
                rtt: nearest(seen.values()),
            },
        )
    });
    Outlook::new(own.clone(), sights)
}

/// Since when this gateway has reached no other; none if it reaches one, or there is none.
pub(crate) fn isolated_since(paths: &Paths) -> Option<Instant> {
    let reached = |path: &PeerPath| matches!(path.state, PathState::Up | PathState::Draining);
    match paths.peers.values().any(reached) {
        true => None,
        false => paths.peers.values().map(|path| path.since).max(),
    }
}

/// Up if any gateway of the cluster answers; otherwise down since the last one stopped.
fn best<'a>(paths: impl Iterator<Item = &'a &'a PeerPath> + Clone, clock: &Clock) -> Path {
    if paths.clone().any(|path| path.state == PathState::Up) {
        return Path::Up;
    }
    let since = paths.map(|path| clock.moment(path.since)).max();
    Path::Down(since.unwrap_or_default())
}

fn nearest<'a>(paths: impl Iterator<Item = &'a &'a PeerPath>) -> Option<Duration> {
    paths
        .filter(|path| path.state == PathState::Up)
        .filter_map(|path| path.rtt)
        .min()
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::name;

    use super::*;

    #[test]
    fn isolated_is_who_reaches_nobody_though_there_is_somebody() {
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let check = |rows: &[(PathState, u64)], expect: Option<u64>| {
            let peer = |(node, (state, since)): (u64, &(PathState, u64))| {
                let path = PeerPath {
                    cluster: name("eu-west-1"),
                    gateway: name("gw"),
                    state: *state,
                    since: ago(*since),
                    rtt: None,
                    sent: 0,
                    lost: 0,
                    control_connections: 0,
                    data_connections: 0,
                    through: None,
                };
                (NodeId(node), path)
            };
            let peers = (1..).zip(rows).map(peer).collect();
            let since = isolated_since(&Paths { peers });
            assert_eq!(since, expect.map(ago), "{rows:?}");
        };
        check(&[], None);
        check(&[(PathState::Down, 9), (PathState::Up, 1)], None);
        check(&[(PathState::Draining, 9)], None);
        check(&[(PathState::Down, 9), (PathState::Silent, 2)], Some(2));
    }
}
