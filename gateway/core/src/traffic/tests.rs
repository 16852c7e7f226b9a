use proptest::prelude::*;
use weft_model::fixture::name;
use weft_model::{Carried, FlowClass, Served, ServiceKey};

use super::*;

fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

fn flow(service: &str, cluster: &str, class: FlowClass) -> Flow {
    let key: ServiceKey = name(service);
    let account = format!("spiffe://{cluster}.fed.example.org/ns/shop/sa/{}", key.name);
    Flow {
        service: key,
        served: (class != FlowClass::Failed).then(|| Served {
            cluster: name(cluster),
            version: Some(name("v1")),
            identity: id(&account),
        }),
        carried: Carried::Request,
        class,
    }
}

fn tally(millis: &[u64]) -> Tally {
    let mut tally = Tally::default();
    for m in millis {
        tally.latencies.record(Duration::from_millis(*m));
    }
    tally
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

const WEB: &str = "spiffe://us-east-1.fed.example.org/ns/shop/sa/web";

#[test]
fn a_window_is_whole_buckets_and_not_older_than_the_ring() {
    let check = |began: u64, now: u64, span: u64, covered: u64, requests: u64| {
        let mut ring = Ring::new(at(began));
        for second in began..now {
            let flow = flow("shop/checkout", "us-east-1", FlowClass::Success);
            ring.add(at(second), &id(WEB), flow, &tally(&[5]));
        }
        let window = ring.window(at(now), Duration::from_secs(span));
        let counted: u64 = window.rows.iter().map(|row| row.tally.count()).sum();
        assert_eq!(
            (window.covered.as_secs(), counted),
            (covered, requests),
            "{began} {now} {span}"
        );
    };
    check(0, 10, 60, 10, 10);
    check(0, 100, 30, 40, 40);
    check(7, 20, 60, 13, 13);
    check(0, 1000, 3600, 295, 295);
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut ring = Ring::new(at(0));
    for number in 0..FLOWS_MAX + 3 {
        let flow = flow(&format!("shop/s{number}"), "us-east-1", FlowClass::Success);
        ring.add(at(1), &id(WEB), flow, &tally(&[1, 2]));
    }
    ring.leave_out(at(2), 5);
    let window = ring.window(at(3), SLOT);
    assert_eq!((window.rows.len(), window.left_out), (FLOWS_MAX, 11));
}

fn heard(cluster: &str, rows: Vec<(Flow, Tally)>) -> Heard {
    let row = |(flow, tally)| WindowRow {
        source: id(WEB),
        flow,
        tally,
    };
    Heard {
        cluster: name(cluster),
        gateway: name("gw-1"),
        window: Window {
            covered: Duration::from_secs(10),
            age: None,
            rows: rows.into_iter().map(row).collect(),
            left_out: 0,
        },
    }
}

fn places() -> Regions {
    let of = |(cluster, region): (&str, &str)| (name(cluster), name(region));
    [
        ("us-east-1", "us-east"),
        ("us-east-2", "us-east"),
        ("eu-west-1", "eu-west"),
    ]
    .into_iter()
    .map(of)
    .collect()
}

#[test]
fn services_are_summed_by_the_callers_region() {
    use FlowClass::{ClientError, Failed, ServerError, Success};
    let checkout = "shop/checkout";
    let mut moved = tally(&[200; 10]);
    moved.rerouted = 10;
    let all = [
        heard(
            "us-east-1",
            vec![
                (flow(checkout, "us-east-1", Success), tally(&[5; 60])),
                (flow(checkout, "us-east-2", ClientError), tally(&[5; 10])),
                (flow(checkout, "eu-west-1", Success), moved),
                (flow(checkout, "us-east-1", ServerError), tally(&[5; 10])),
                (flow(checkout, "us-east-1", Failed), tally(&[0; 10])),
            ],
        ),
        heard(
            "us-east-2",
            vec![(flow(checkout, "us-east-2", Success), tally(&[5; 100]))],
        ),
        heard(
            "elsewhere",
            vec![(flow(checkout, "us-east-1", Success), tally(&[5]))],
        ),
    ];
    let rows = services(&all, &places());
    assert_eq!(rows.len(), 1);
    let sum = &rows[0].sum;
    assert_eq!((sum.requests, sum.failures, sum.unanswered), (200, 20, 10));
    assert_eq!(sum.rate, 20.0);
    assert_eq!(sum.success(), Some(0.9));
    assert_eq!(sum.local_share(), Some(180.0 / 190.0));
    assert_eq!(sum.rerouted_share(), Some(0.05));
    let p99 = sum.latencies.quantile(0.99).unwrap().as_millis();
    assert!((186..215).contains(&p99), "{p99}");
}

#[test]
fn versions_edges_and_regions_leave_each_their_own_out() {
    use FlowClass::{Failed, ServerError, Success};
    let mut canary = flow("shop/checkout", "eu-west-1", Success);
    canary.served.as_mut().unwrap().version = Some(name("v2"));
    let all = [heard(
        "us-east-1",
        vec![
            (flow("shop/checkout", "us-east-1", Success), tally(&[5; 8])),
            (
                flow("shop/checkout", "us-east-1", ServerError),
                tally(&[5; 2]),
            ),
            (canary, tally(&[90; 4])),
            (flow("shop/checkout", "us-east-1", Failed), tally(&[0; 6])),
            (flow("shop/payments", "us-east-1", Success), tally(&[1; 3])),
        ],
    )];
    let checkout: ServiceKey = name("shop/checkout");
    let by_version: Vec<_> = versions(&all, &places(), &checkout)
        .into_iter()
        .map(|row| {
            let version = row.version.map(|v| v.to_string());
            (
                row.cluster.to_string(),
                version.unwrap_or_default(),
                row.sum.requests,
                row.sum.failures,
            )
        })
        .collect();
    assert_eq!(
        by_version,
        [
            ("eu-west-1".to_owned(), "v2".to_owned(), 4, 0),
            ("us-east-1".to_owned(), "v1".to_owned(), 10, 2),
        ]
    );
    let counts = |sums: Vec<Sum>| sums.iter().map(|sum| sum.requests).collect::<Vec<_>>();
    let by_edge = edges(&all, &places()).into_iter().map(|edge| edge.sum);
    assert_eq!(counts(by_edge.collect()), [4, 10, 3]);
    let by_region = regions(&all, &places()).into_iter().map(|row| row.sum);
    assert_eq!(counts(by_region.collect()), [6, 4, 13]);
}

proptest! {
    /// Whatever is reported when, a window over all of it holds the sum of the reports.
    #[test]
    fn nothing_is_lost_or_counted_twice(
        reports in prop::collection::vec((0u64..280, 0usize..4, prop::collection::vec(0u64..5000, 1..4)), 1..60)
    ) {
        let mut ring = Ring::new(at(0));
        let mut reports = reports;
        reports.sort_by_key(|(second, ..)| *second);
        let sent: u64 = reports.iter().map(|(.., millis)| millis.len() as u64).sum();
        for (second, service, millis) in &reports {
            let flow = flow(&format!("shop/s{service}"), "us-east-1", FlowClass::Success);
            ring.add(at(*second), &id(WEB), flow, &tally(millis));
        }
        let window = ring.window(at(280), Duration::from_secs(280));
        let kept: u64 = window.rows.iter().map(|row| row.tally.count()).sum();
        prop_assert_eq!(kept, sent);
        let heard = [Heard { cluster: name("us-east-1"), gateway: name("gw-1"), window }];
        let summed: u64 = services(&heard, &places()).iter().map(|row| row.sum.requests).sum();
        prop_assert_eq!(summed, sent);
    }
}
