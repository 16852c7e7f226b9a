//! Questions and their answers as text, with the steps between.
//!
//! Each file in `tests/dns` names the zones it asks and lists questions; what
//! follows a question is its answer. `UPDATE=1` writes the answers anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use weft_model::fixture::{Log, export, name};
use weft_model::{
    AppProtocol, EndpointId, ExportSpec, ExportTo, Federation, Health, ServiceType, VirtualIpRanges,
};
use weft_plan::dns::{
    AddressFamilies, ClientView, ClusterLiveness, HeadlessEndpoint, Input, Liveness, LocalService,
    LocalVips, Name, Question, Record, Standing, Verdict, Zones, answer, explain,
};

/// What us-east-1 sees: exports of all kinds, and two services of its own.
fn federation() -> Federation {
    let mut log = Log::founded();
    log.join(2, "eu-west-1");
    log.join(3, "ap-south-1");
    let http = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, 80);
    let mut both = http.clone();
    both.ports.extend(
        export(
            ServiceType::ClusterSetIP,
            "metrics",
            AppProtocol::Http,
            9090,
        )
        .ports,
    );
    let headless = export(ServiceType::Headless, "postgres", AppProtocol::Tcp, 5432);
    let hidden = ExportSpec {
        export_to: ExportTo::Clusters([name("ap-south-1")].into()),
        ..http.clone()
    };
    let mut unnamed = http.clone();
    unnamed.ports[0].name = None;
    log.export(1, "shop/checkout", &http);
    log.export(2, "shop/checkout", &both);
    log.export(2, "shop/payments", &http);
    log.export(2, "shop/ledger", &hidden);
    log.export(2, "vault/keys", &hidden);
    log.export(3, "shop/unnamed", &unnamed);
    log.export(1, "data/orders", &headless);
    log.export(2, "data/orders", &headless);
    log.export(2, "data/cache", &headless);
    log.export(1, "data/archive", &headless);
    log.state
}

fn endpoint(id: u8, hostname: Option<&str>, workload: Option<&str>) -> HeadlessEndpoint {
    HeadlessEndpoint {
        id: EndpointId([id; 16]),
        hostname: hostname.map(name),
        workload: workload.map(|address| address.parse().unwrap()),
        weight: 100,
        health: Health::Ready,
    }
}

fn liveness() -> Liveness {
    let mut liveness = Liveness {
        generation: 7,
        ..Liveness::default()
    };
    let ready = |ready| ClusterLiveness {
        ready,
        standing: Standing::Listed,
    };
    for (key, cluster, live) in [
        ("shop/checkout", "us-east-1", ready(3)),
        ("shop/checkout", "eu-west-1", ready(2)),
        ("data/orders", "us-east-1", ready(2)),
        ("data/orders", "eu-west-1", ready(2)),
    ] {
        let place = (name(key), name(cluster));
        liveness.clusters.insert(place, live);
    }
    let not_ready = HeadlessEndpoint {
        health: Health::NotReady,
        ..endpoint(3, Some("orders-2"), Some("10.1.0.12"))
    };
    let here = vec![
        endpoint(1, Some("orders-0"), Some("10.1.0.10")),
        endpoint(2, Some("orders-1"), Some("fd01::11")),
        not_ready,
    ];
    let there = vec![
        endpoint(4, Some("orders-0"), Some("10.1.0.10")),
        endpoint(5, None, None),
    ];
    for (key, cluster, endpoints) in [
        ("data/orders", "us-east-1", here),
        ("data/orders", "eu-west-1", there),
        ("data/archive", "us-east-1", Vec::new()),
        (
            "data/scratch",
            "us-east-1",
            vec![endpoint(6, Some("s0"), Some("10.1.0.20"))],
        ),
    ] {
        liveness
            .endpoints
            .insert((name(key), name(cluster)), endpoints);
    }
    for (key, kind) in [
        ("shop/cart", ServiceType::ClusterSetIP),
        ("data/scratch", ServiceType::Headless),
    ] {
        let local = LocalService {
            service_type: kind,
            ports: export(kind, "http", AppProtocol::Http, 8080).ports,
        };
        liveness.local.insert(name(key), local);
    }
    liveness
}

fn ranges() -> VirtualIpRanges {
    VirtualIpRanges {
        ipv4: name("127.64.0.0/16"),
        ipv6: Some(name("fd00:77:65:66::/64")),
    }
}

struct World {
    federation: Federation,
    liveness: Liveness,
    ranges: VirtualIpRanges,
    families: AddressFamilies,
    vips: LocalVips,
}

impl World {
    fn new() -> Self {
        Self {
            federation: federation(),
            liveness: liveness(),
            ranges: ranges(),
            families: AddressFamilies::DualStack,
            vips: LocalVips::new(&ranges()),
        }
    }

    fn zones(&mut self, previous: Option<&Zones>) -> Zones {
        let servers: [IpAddr; 1] = ["127.1.0.53".parse().unwrap()];
        let input = Input {
            federation: &self.federation,
            liveness: &self.liveness,
            cluster: &name("us-east-1"),
            ranges: &self.ranges,
            families: self.families,
            zone: &own_zone(),
            servers: &servers,
            previous,
        };
        Zones::build(&input, &mut self.vips)
    }

    fn withdraw(&mut self, cluster: &str) {
        for ((_, of), live) in &mut self.liveness.clusters {
            if of.as_str() == cluster {
                live.standing = Standing::Withdrawn;
            }
        }
    }
}

fn own_zone() -> Name {
    Name::parse(Zones::OWN).unwrap()
}

/// The zones that a file asks for by name.
fn zones(which: &str) -> Zones {
    let mut world = World::new();
    match which {
        "dual-stack" => {}
        "ipv4" => world.families = AddressFamilies::Ipv4,
        "eu-west-1 withdrawn" => world.withdraw("eu-west-1"),
        "no state" => return Zones::unknown(own_zone()),
        "no virtual IPs" => {
            world.ranges.ipv4 = name("127.64.0.0/32");
            world.vips = LocalVips::new(&world.ranges);
        }
        other => panic!("no zones are called {other:?}"),
    }
    world.zones(None)
}

fn question(text: &str) -> Question {
    let (name, record_type) = text
        .split_once(' ')
        .expect("a question is a name and a type");
    Question {
        name: Name::parse(name).unwrap(),
        record_type: record_type.parse().unwrap(),
    }
}

/// The answer as its file has it.
fn render(zones: &Zones, text: &str) -> String {
    let question = question(text);
    let client = ClientView::default();
    let explained = explain(zones, &question, &client);
    assert_eq!(
        explained.answer,
        answer(zones, &question, &client),
        "an explanation is of the very answer"
    );
    let mut out = format!("? {text}\n");
    match &explained.answer.verdict {
        Verdict::Found => out.push_str("NOERROR\n"),
        Verdict::NoData => out.push_str("NOERROR, no data\n"),
        Verdict::NoName => out.push_str("NXDOMAIN\n"),
        Verdict::CannotKnow(unknown) => {
            writeln!(out, "SERVFAIL, {:?}: {}", unknown.error, unknown.why).unwrap();
        }
        Verdict::NotOurs => out.push_str("not ours\n"),
    }
    let mut section = |title: &str, records: &[Record]| {
        for record in records {
            writeln!(out, "  {title:<10} {record}").unwrap();
        }
    };
    section("answer", &explained.answer.answers);
    section("authority", &explained.answer.authority);
    section("additional", &explained.answer.additional);
    if let Some(wanted) = &explained.answer.wanted {
        writeln!(out, "  wanted     {wanted}").unwrap();
    }
    for step in &explained.steps {
        writeln!(out, "  because    {step}").unwrap();
    }
    out
}

fn check(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/dns")
        .join(file);
    let expected = std::fs::read_to_string(&path).unwrap();
    let mut zones_now = None;
    let mut actual = String::new();
    for line in expected.lines() {
        if let Some(which) = line.strip_prefix("zones: ") {
            zones_now = Some(zones(which));
            writeln!(actual, "{line}").unwrap();
        } else if let Some(text) = line.strip_prefix("? ") {
            let zones = zones_now.as_ref().expect("the file names its zones first");
            writeln!(actual, "\n{}", render(zones, text).trim_end()).unwrap();
        } else if line.starts_with('#') {
            writeln!(actual, "\n{line}").unwrap();
        }
    }
    #[allow(clippy::disallowed_methods, reason = "a test may be told to bless")]
    let bless = std::env::var_os("UPDATE").is_some();
    if bless {
        std::fs::write(&path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(actual, expected, "{file} differs; UPDATE=1 writes it anew");
}

#[test]
fn the_clusterset_zone() {
    check("clusterset.txt");
}

#[test]
fn headless_services() {
    check("headless.txt");
}

#[test]
fn our_own_zone() {
    check("own-zone.txt");
}

#[test]
fn what_cannot_be_known() {
    check("cannot-know.txt");
}

#[test]
fn withdrawn_clusters() {
    check("withdrawn.txt");
}

#[test]
fn ipv4_alone() {
    check("ipv4.txt");
}

/// What was known is not denied when it is not known any longer.
#[test]
fn endpoints_no_longer_known_stay_as_they_were() {
    let mut world = World::new();
    let before = world.zones(None);
    world.liveness.endpoints.clear();
    let after = world.zones(Some(&before));
    for host in ["data/orders", "orders-0.eu-west-1.data/orders"] {
        let (service, namespace) = host.split_once("data/").unwrap();
        let asked = question(&format!("{service}{namespace}.data.svc.clusterset.local A"));
        let client = ClientView::default();
        assert_eq!(
            answer(&after, &asked, &client).answers,
            answer(&before, &asked, &client).answers
        );
        assert_eq!(
            answer(&after, &asked, &client).verdict,
            Verdict::Found,
            "{asked:?}"
        );
    }
}

/// A cluster that takes its offer back takes its endpoints out of answers too.
#[test]
fn endpoints_of_an_offer_taken_back_do_not_stay() {
    let mut world = World::new();
    let before = world.zones(None);
    world.liveness.endpoints.clear();
    world.federation = {
        let mut log = Log::founded();
        log.join(2, "eu-west-1");
        let headless = export(ServiceType::Headless, "postgres", AppProtocol::Tcp, 5432);
        log.export(2, "data/orders", &headless);
        log.state
    };
    let after = world.zones(Some(&before));
    let asked = question("orders-0.us-east-1.orders.data.svc.clusterset.local A");
    let verdict = |zones| answer(zones, &asked, &ClientView::default()).verdict;
    assert_eq!(verdict(&before), Verdict::Found);
    assert_eq!(verdict(&after), Verdict::NoName);
}

/// Every address that an answer gives leads back to what was asked for.
#[test]
fn addresses_lead_back_to_their_targets() {
    let zones = zones("dual-stack");
    let target = |text: &str| {
        let answer = answer(&zones, &question(text), &ClientView::default());
        let [record] = &answer.answers[..] else {
            panic!("{text}: {answer:?}");
        };
        let address: IpAddr = record.data.to_string().parse().unwrap();
        zones.target(address).map(ToString::to_string)
    };
    for family in ["A", "AAAA"] {
        for (name, expected) in [
            (
                "checkout.shop.svc.clusterset.local",
                "shop/checkout in the federation",
            ),
            (
                "checkout.shop.svc.eu-west-1.cluster.weft.internal",
                "shop/checkout in cluster eu-west-1",
            ),
            (
                "checkout.shop.svc.us-east.region.weft.internal",
                "shop/checkout in region us-east",
            ),
            (
                "cart.shop.svc.us-east-1.cluster.weft.internal",
                "shop/cart in cluster us-east-1",
            ),
            (
                "orders-0.eu-west-1.orders.data.svc.clusterset.local",
                "endpoint 04040404040404040404040404040404 of data/orders in eu-west-1",
            ),
        ] {
            let found = target(&format!("{name} {family}"));
            assert_eq!(found.as_deref(), Some(expected), "{name} {family}");
        }
    }
    let own = target("orders-0.us-east-1.orders.data.svc.clusterset.local A");
    assert_eq!(own, None, "an endpoint of this cluster is reached directly");
}

/// Clients that take the first of several addresses are spread.
#[test]
fn answers_begin_at_the_clients_turn() {
    let zones = zones("dual-stack");
    let asked = question("orders.data.svc.clusterset.local A");
    let first = |turn| answer(&zones, &asked, &ClientView { turn }).answers[0].clone();
    let all = answer(&zones, &asked, &ClientView::default()).answers;
    assert_eq!(all.len(), 3);
    for (turn, record) in (0..).zip(&all) {
        assert_eq!(first(turn), *record);
        assert_eq!(first(turn + 3), *record);
    }
}
