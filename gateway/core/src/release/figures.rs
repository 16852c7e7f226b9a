//! What the two versions of a release did, place by place, as their callers saw it.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_model::{ClusterName, ReleaseRecord, ReleaseSpec, ServiceKey, WallTime};

use super::PlaceRow;
use crate::traffic::{Heard, Regions, SLOT, Sum, grouped};

/// From the entry that starts a release until the last request of before it is reported: the entry
/// travels, and sidecars report every 2 s.
const SETTLING: Duration = Duration::from_secs(5);

/// What callers of one place met.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Of the canary.
    pub canary: Sum,
    /// Of the stable version.
    pub stable: Sum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Canary,
    Stable,
}

/// How far back the figures of a release may go if they are asked for the last `asked`: versions got
/// requests before it began too, by the weights of their endpoints, wherever the callers were. Zero if
/// it began just now.
pub fn figures_span(record: &ReleaseRecord, now: WallTime, asked: Duration) -> Duration {
    let mut history = record.history.iter();
    let Some(start) = history.find(|change| change.index == record.created) else {
        // Forgotten, so much has happened since.
        return asked;
    };
    let since = Duration::from_millis(now.0.saturating_sub(start.time.0));
    // A window begins up to a bucket earlier than it is asked for.
    asked.min(since.saturating_sub(SLOT + SETTLING))
}

/// The figures of each of `rows`, in their order. `service` is the release's.
pub fn figures(
    spec: &ReleaseSpec,
    service: &ServiceKey,
    rows: &[PlaceRow],
    heard: &[Heard],
    regions: &Regions,
) -> Vec<Figures> {
    let mut places: BTreeMap<&ClusterName, usize> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        places.extend(row.clusters.iter().map(|cluster| (cluster, at)));
    }
    let sums = grouped(heard, regions, service, |caller, version| {
        let side = match version {
            it if *it == spec.canary => Side::Canary,
            it if *it == spec.stable => Side::Stable,
            _ => return None,
        };
        places.get(caller).map(|at| (*at, side))
    });
    let mut figures = vec![Figures::default(); rows.len()];
    for ((at, side), sum) in sums {
        match side {
            Side::Canary => figures[at].canary = sum,
            Side::Stable => figures[at].stable = sum,
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weft_model::fixture::{name, release};
    use weft_model::{BasisPoints, Carried, Flow, FlowClass, Served, Tally};

    use super::super::{RowState, WeightReason};
    use super::*;
    use crate::traffic::{Window, WindowRow};

    fn row(region: &str, clusters: &[&str]) -> PlaceRow {
        PlaceRow {
            wave: None,
            region: name(region),
            clusters: clusters.iter().map(|it| name(it)).collect(),
            state: RowState::Outside,
            step: 0,
            steps: 0,
            weight: BasisPoints::NONE,
            why: WeightReason::NoWave,
        }
    }

    /// `count` requests to checkout that a version in ap-south-1 answered, or nobody.
    fn sent(service: &str, version: Option<&str>, class: FlowClass, count: usize) -> WindowRow {
        let mut tally = Tally::default();
        (0..count).for_each(|_| tally.latencies.record(Duration::from_millis(5)));
        let served = version.map(|version| Served {
            cluster: name("ap-south-1"),
            version: Some(name(version)),
            identity: name("spiffe://ap-south-1.fed.example.org/ns/shop/sa/checkout"),
        });
        WindowRow {
            source: name("spiffe://eu-west-1.fed.example.org/ns/shop/sa/web"),
            flow: Flow {
                service: name(service),
                served,
                carried: Carried::Request,
                class,
            },
            tally,
        }
    }

    fn heard(cluster: &str, rows: Vec<WindowRow>) -> Heard {
        Heard {
            cluster: name(cluster),
            gateway: name("gw-1"),
            window: Window {
                covered: Duration::from_secs(60),
                rows,
                ..Window::default()
            },
        }
    }

    #[test]
    fn what_was_before_a_release_is_none_of_its_figures() {
        use weft_model::fixture::Log;
        use weft_model::{Command, FormatLevel};

        let mut log = Log::founded();
        log.raise(FormatLevel::RELEASES);
        let spec = Box::new(release("checkout"));
        log.accept(log.admin(), Command::PutRelease(name("shop/v2"), spec));
        let mut record = ReleaseRecord::clone(log.state.release(&name("shop/v2")).unwrap());
        record.history[0].time = WallTime(1_000_000);
        let seconds = Duration::from_secs;
        let check = |record: &ReleaseRecord, since: u64, expect: u64| {
            let now = WallTime(1_000_000 + since * 1000);
            assert_eq!(
                figures_span(record, now, seconds(60)),
                seconds(expect),
                "{since}"
            );
        };
        check(&record, 0, 0);
        check(&record, 20, 0);
        check(&record, 50, 30);
        check(&record, 80, 60);
        check(&record, 8000, 60);
        // A clock that is behind the leader's.
        assert_eq!(figures_span(&record, WallTime(1), seconds(60)), seconds(0));
        record.history.clear();
        check(&record, 0, 60);
    }

    #[test]
    fn each_place_has_its_own_callers_wherever_they_were_served() {
        use FlowClass::{Failed, ServerError, Success};
        let rows = [
            row("eu-west", &["eu-west-1", "eu-west-2"]),
            // One region in two waves.
            row("eu-west", &["eu-west-3"]),
            row("us-east", &["us-east-1"]),
        ];
        let regions = rows.iter().flat_map(|row| {
            let of = row.clusters.iter();
            of.map(|cluster| (cluster.clone(), row.region.clone()))
        });
        let regions: Regions = regions.collect();
        let checkout = "shop/checkout";
        let all = [
            heard(
                "eu-west-1",
                vec![
                    sent(checkout, Some("v1"), Success, 90),
                    sent(checkout, Some("v2"), Success, 8),
                    sent(checkout, Some("v2"), ServerError, 2),
                    sent(checkout, Some("v0"), Success, 7),
                    sent(checkout, None, Failed, 5),
                    sent("shop/payments", Some("v2"), Success, 3),
                ],
            ),
            heard("eu-west-2", vec![sent(checkout, Some("v2"), Success, 10)]),
            heard("eu-west-3", vec![sent(checkout, Some("v1"), Success, 4)]),
            heard("elsewhere", vec![sent(checkout, Some("v2"), Success, 1)]),
        ];
        let spec = release("checkout");
        let figures = figures(&spec, &name(checkout), &rows, &all, &regions);
        let counts = |sum: &Sum| (sum.requests, sum.failures);
        let counts = figures
            .iter()
            .map(|it| (counts(&it.canary), counts(&it.stable)));
        assert_eq!(
            counts.collect::<Vec<_>>(),
            [((20, 2), (90, 0)), ((0, 0), (4, 0)), ((0, 0), (0, 0))]
        );
        assert_eq!(figures[0].canary.success(), Some(0.9));
        assert_eq!(figures[2].canary.success(), None);
    }
}
