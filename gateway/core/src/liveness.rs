//! Whether another cluster's endpoints get traffic and stand in DNS.
//!
//! Two signals, neither of which is believed alone: the **path**, which this
//! gateway measures, decides routing; the **lease**, which the federation
//! agrees on, decides membership.

use std::fmt;
use std::time::Duration;

use weft_model::OnStale;

use crate::{Lease, Moment};

/// How long a path may be down before connections on it count as dead.
const PATH_SETTLE: Duration = Duration::from_secs(5);

/// The way to another cluster, as this gateway measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// A tunnel answers.
    Up,
    /// None has answered since then.
    Down(Moment),
}

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// New work and old.
    All,
    /// Running work may finish.
    OnlyExisting,
    /// Nothing.
    None,
}

/// Whether names answer with the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// They do.
    Listed,
    /// They do not.
    Withdrawn,
}

/// The reason of a [`Verdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Path up, lease held.
    Healthy,
    /// Path up, lease unknown: not seeing the leader means hold.
    NoQuorum,
    /// Path up, lease lapsed, and the service serves on.
    ServedStale,
    /// Path up, lease lapsed, and the service drains.
    DrainedStale,
    /// Path up, lease lapsed, and the service fails.
    FailedStale,
    /// Path down a moment ago; the lease has not lapsed.
    PathLost,
    /// Path down; the lease has not lapsed, so the cluster stays a member.
    PathDown,
    /// Path down and lease lapsed.
    Gone,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "path up, lease held",
            Self::NoQuorum => "path up, lease unknown without a quorum: held as it was",
            Self::ServedStale => "path up, lease lapsed: served by onStale",
            Self::DrainedStale => "path up, lease lapsed: drained by onStale",
            Self::FailedStale => "path up, lease lapsed: stopped by onStale",
            Self::PathLost => "path lost a moment ago",
            Self::PathDown => "path down",
            Self::Gone => "path down and lease lapsed",
        })
    }
}

/// What to do with a cluster's endpoints of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verdict {
    /// What may be sent.
    pub traffic: Traffic,
    /// Whether DNS lists it.
    pub dns: Presence,
    /// The reason.
    pub why: Why,
}

/// Judges one service of another cluster.
///
/// `policy` counts only once the lease has lapsed: before that there is
/// nothing stale. A path that went down a moment ago keeps running work, since
/// a connection may outlive a change of route.
pub fn judge(lease: Lease, path: Path, policy: OnStale, now: Moment) -> Verdict {
    use Presence::{Listed, Withdrawn};
    let (traffic, dns, why) = match (path, lease) {
        (Path::Up, Lease::Held) => (Traffic::All, Listed, Why::Healthy),
        (Path::Up, Lease::Unknown) => (Traffic::All, Listed, Why::NoQuorum),
        (Path::Up, Lease::Lapsed) => match policy {
            OnStale::Serve => (Traffic::All, Listed, Why::ServedStale),
            OnStale::Drain => (Traffic::OnlyExisting, Withdrawn, Why::DrainedStale),
            OnStale::Fail => (Traffic::None, Withdrawn, Why::FailedStale),
        },
        (Path::Down(since), Lease::Held | Lease::Unknown) => {
            if now.since(since) < PATH_SETTLE {
                (Traffic::OnlyExisting, Listed, Why::PathLost)
            } else {
                (Traffic::None, Listed, Why::PathDown)
            }
        }
        (Path::Down(_), Lease::Lapsed) => (Traffic::None, Withdrawn, Why::Gone),
    };
    Verdict { traffic, dns, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, as an operator would read it.
    const TABLE: &str = "\
lease    path       onStale  traffic       dns        why
Held     up         serve    All           Listed     path up, lease held
Held     up         drain    All           Listed     path up, lease held
Held     up         fail     All           Listed     path up, lease held
Held     down 1 s   serve    OnlyExisting  Listed     path lost a moment ago
Held     down 1 s   drain    OnlyExisting  Listed     path lost a moment ago
Held     down 1 s   fail     OnlyExisting  Listed     path lost a moment ago
Held     down 60 s  serve    None          Listed     path down
Held     down 60 s  drain    None          Listed     path down
Held     down 60 s  fail     None          Listed     path down
Lapsed   up         serve    All           Listed     path up, lease lapsed: served by onStale
Lapsed   up         drain    OnlyExisting  Withdrawn  path up, lease lapsed: drained by onStale
Lapsed   up         fail     None          Withdrawn  path up, lease lapsed: stopped by onStale
Lapsed   down 1 s   serve    None          Withdrawn  path down and lease lapsed
Lapsed   down 1 s   drain    None          Withdrawn  path down and lease lapsed
Lapsed   down 1 s   fail     None          Withdrawn  path down and lease lapsed
Lapsed   down 60 s  serve    None          Withdrawn  path down and lease lapsed
Lapsed   down 60 s  drain    None          Withdrawn  path down and lease lapsed
Lapsed   down 60 s  fail     None          Withdrawn  path down and lease lapsed
Unknown  up         serve    All           Listed     path up, lease unknown without a quorum: held as it was
Unknown  up         drain    All           Listed     path up, lease unknown without a quorum: held as it was
Unknown  up         fail     All           Listed     path up, lease unknown without a quorum: held as it was
Unknown  down 1 s   serve    OnlyExisting  Listed     path lost a moment ago
Unknown  down 1 s   drain    OnlyExisting  Listed     path lost a moment ago
Unknown  down 1 s   fail     OnlyExisting  Listed     path lost a moment ago
Unknown  down 60 s  serve    None          Listed     path down
Unknown  down 60 s  drain    None          Listed     path down
Unknown  down 60 s  fail     None          Listed     path down
";

    #[test]
    fn the_whole_table() {
        let now = Moment(Duration::from_secs(1000));
        let ago = |seconds: u64| Path::Down(Moment(Duration::from_secs(1000 - seconds)));
        let paths = [
            ("up", Path::Up),
            ("down 1 s", ago(1)),
            ("down 60 s", ago(60)),
        ];
        let policies = [
            ("serve", OnStale::Serve),
            ("drain", OnStale::Drain),
            ("fail", OnStale::Fail),
        ];
        let mut table = String::from("lease    path       onStale  traffic       dns        why\n");
        for lease in [Lease::Held, Lease::Lapsed, Lease::Unknown] {
            for (path_name, path) in paths {
                for (policy_name, policy) in policies {
                    let verdict = judge(lease, path, policy, now);
                    table.push_str(&format!(
                        "{:<8} {path_name:<10} {policy_name:<8} {:<13} {:<10} {}\n",
                        format!("{lease:?}"),
                        format!("{:?}", verdict.traffic),
                        format!("{:?}", verdict.dns),
                        verdict.why
                    ));
                }
            }
        }
        assert_eq!(table, TABLE);
    }
}
