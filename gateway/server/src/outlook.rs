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
