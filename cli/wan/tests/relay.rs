//! The relay on loopback: real sockets, real time, bounds that a slow machine keeps.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weft_wan::relay::{
    BindError, ConfigError, ControlError, Origin, Pair, Relay, RelayConfig, RelayHandle,
    RelayStats, RunError, SiteId,
};
use weft_wan::{Counters, DropReason, LinkSpec, Loss, Probability};

/// For what should come at once.
const DEADLINE: Duration = Duration::from_secs(20);

const IP_A: [u8; 4] = [127, 1, 0, 1];
const IP_B: [u8; 4] = [127, 2, 0, 1];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn bound(ip: [u8; 4]) -> UdpSocket {
    UdpSocket::bind(SocketAddr::from((ip, 0))).await.unwrap()
}

async fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_535];
    let (len, from) = tokio::time::timeout(DEADLINE, socket.recv_from(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    buffer.truncate(len);
    (buffer, from)
}

/// Sites a and b, each with a front for whoever comes from the other's address.
struct Lab {
    a: UdpSocket,
    b: UdpSocket,
    front_a: SocketAddr,
    front_b: SocketAddr,
    handle: RelayHandle,
    running: JoinHandle<Result<(), RunError>>,
}

impl Lab {
    async fn start(configure: impl FnOnce(RelayConfig) -> RelayConfig) -> Self {
        let (a, b) = (bound(IP_A).await, bound(IP_B).await);
        let config = RelayConfig::new(1)
            .site("a", a.local_addr().unwrap())
            .site("b", b.local_addr().unwrap())
            .front(SocketAddr::from((IP_A, 0)), "a", Origin::ByAddress)
            .front(SocketAddr::from((IP_B, 0)), "b", Origin::ByAddress);
        let (handle, relay) = Relay::bind(configure(config)).unwrap();
        let fronts = relay.front_addresses();
        let running = tokio::spawn(relay.run());
        Self {
            a,
            b,
            front_a: fronts[0],
            front_b: fronts[1],
            handle,
            running,
        }
    }

    /// Waits until the relay's counts satisfy `reached`.
    async fn stats_until(&self, reached: impl Fn(&RelayStats) -> bool) -> RelayStats {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let stats = self.handle.stats().await.unwrap();
            if reached(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "not reached: {stats:?}");
            tokio::time::sleep(ms(1)).await;
        }
    }

    async fn ping(&self) -> Duration {
        let sent = Instant::now();
        self.a.send_to(b"ping", self.front_b).await.unwrap();
        let (_, a_as_seen) = received(&self.b).await;
        self.b.send_to(b"pong", a_as_seen).await.unwrap();
        let (_, from) = received(&self.a).await;
        assert_eq!(from, self.front_b);
        sent.elapsed()
    }
}

fn counters(stats: &RelayStats, from: &str, to: &str) -> Counters {
    stats.links[&Pair::new(from, to)]
}

#[tokio::test]
async fn forty_milliseconds_each_way_are_eighty_there_and_back() {
    let spec = LinkSpec::with_delay(ms(40));
    let lab = Lab::start(|config| config.link("a", "b", spec).link("b", "a", spec)).await;
    let mut trips = Vec::new();
    for _ in 0..50 {
        trips.push(lab.ping().await);
    }
    trips.sort();
    assert!(trips[0] >= ms(80), "{trips:?}");
    assert!(trips[25] < ms(800), "{trips:?}");
    let stats = lab.handle.stats().await.unwrap();
    assert_eq!((stats.flows, stats.flows_opened), (1, 1));
    assert_eq!(counters(&stats, "a", "b").accepted, 50);
    assert_eq!(counters(&stats, "b", "a").accepted, 50);
    assert_eq!(counters(&stats, "a", "b").accepted_bytes, 50 * (4 + 28));
}

#[tokio::test]
async fn either_side_dials_and_sees_one_stable_address() {
    let lab = Lab::start(|config| config).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        lab.a.send_to(b"from a", lab.front_b).await.unwrap();
        let (payload, from) = received(&lab.b).await;
        assert_eq!(
            (payload.as_slice(), from.ip()),
            (&b"from a"[..], IP_A.into())
        );
        seen.push(from);
    }
    assert!(seen.iter().all(|from| *from == seen[0]), "{seen:?}");

    lab.b.send_to(b"from b", lab.front_a).await.unwrap();
    let (payload, b_as_seen) = received(&lab.a).await;
    assert_eq!(
        (payload.as_slice(), b_as_seen.ip()),
        (&b"from b"[..], IP_B.into())
    );
    lab.a.send_to(b"reply", b_as_seen).await.unwrap();
    assert_eq!(received(&lab.b).await, (b"reply".to_vec(), lab.front_a));

    // Dialled from either side, packets of one direction share its link.
    let stats = lab.handle.stats().await.unwrap();
    assert_eq!(counters(&stats, "a", "b").accepted, 21);
    assert_eq!(counters(&stats, "b", "a").accepted, 1);
    assert_eq!(stats.flows, 2);
}

#[tokio::test]
async fn a_front_of_one_pair_serves_clients_of_any_address() {
    let lab = Lab::start(|mut config| {
        config.fronts[1].origin = Origin::Site("a".into());
        config
    })
    .await;
    let clients = [bound([127, 9, 0, 1]).await, bound([127, 9, 0, 2]).await];
    let mut seen = Vec::new();
    for client in &clients {
        client.send_to(b"hello", lab.front_b).await.unwrap();
        let (payload, from) = received(&lab.b).await;
        lab.b.send_to(&payload, from).await.unwrap();
        assert_eq!(received(client).await, (payload, lab.front_b));
        assert_eq!(from.ip(), SocketAddr::from((IP_A, 0)).ip());
        seen.push(from);
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn loss_lies_within_binomial_bounds_and_every_packet_is_accounted_for() {
    const PACKETS: u64 = 2_000;
    const WINDOW: u64 = 50;
    let p = 0.1;
    let loss = Loss::Independent(Probability::new(p).unwrap());
    let lab = Lab::start(|config| {
        config.link(
            "a",
            "b",
            LinkSpec {
                loss,
                ..LinkSpec::with_delay(ms(1))
            },
        )
    })
    .await;
    let mut arrived = 0;
    for window in 1..=PACKETS / WINDOW {
        for _ in 0..WINDOW {
            lab.a.send_to(&[0; 1_200], lab.front_b).await.unwrap();
        }
        // A window at a time, so that no kernel buffer adds losses of its own.
        let stats = lab
            .stats_until(|stats| counters(stats, "a", "b").offered == window * WINDOW)
            .await;
        while arrived < counters(&stats, "a", "b").accepted {
            received(&lab.b).await;
            arrived += 1;
        }
    }
    let counters = counters(&lab.handle.stats().await.unwrap(), "a", "b");
    assert_eq!(arrived + counters.dropped(DropReason::Loss), PACKETS);
    let deviation = (PACKETS as f64 * p * (1.0 - p)).sqrt();
    let lost = counters.dropped(DropReason::Loss) as f64;
    assert!(
        (lost - PACKETS as f64 * p).abs() <= 4.0 * deviation,
        "{lost}"
    );
}

#[tokio::test]
async fn cut_and_heal_take_a_site_off_and_back() {
    let lab = Lab::start(|config| config).await;
    let (a, b_to_a) = (SiteId::from("a"), Pair::new("b", "a"));
    lab.ping().await;

    lab.handle.cut(&a).await.unwrap();
    lab.a.send_to(b"lost", lab.front_b).await.unwrap();
    lab.b.send_to(b"lost", lab.front_a).await.unwrap();
    let is_cut =
        |stats: &RelayStats, from, to| counters(stats, from, to).dropped(DropReason::Cut) == 1;
    lab.stats_until(|stats| is_cut(stats, "a", "b") && is_cut(stats, "b", "a"))
        .await;
    lab.handle.heal(&a).await.unwrap();
    lab.ping().await;

    // One way only: b hears a, a does not hear b.
    lab.handle.cut_link(&b_to_a).await.unwrap();
    lab.a.send_to(b"heard", lab.front_b).await.unwrap();
    let (payload, a_as_seen) = received(&lab.b).await;
    assert_eq!(payload, b"heard");
    lab.b.send_to(b"lost", a_as_seen).await.unwrap();
    lab.stats_until(|stats| counters(stats, "b", "a").dropped(DropReason::Cut) == 2)
        .await;
    lab.handle.heal_link(&b_to_a).await.unwrap();
    lab.ping().await;
}

#[tokio::test]
async fn a_link_changes_while_it_runs() {
    let lab = Lab::start(|config| config).await;
    lab.ping().await;
    let pair = Pair::new("a", "b");
    lab.handle
        .set(&pair, LinkSpec::with_delay(ms(60)))
        .await
        .unwrap();
    assert!(lab.ping().await >= ms(60));
    // The MTU is the IP packet's: 28 bytes of it are headers.
    lab.handle
        .set(
            &pair,
            LinkSpec {
                mtu: Some(1_280),
                ..LinkSpec::default()
            },
        )
        .await
        .unwrap();
    lab.a.send_to(&[1; 1_253], lab.front_b).await.unwrap();
    lab.a.send_to(&[2; 1_252], lab.front_b).await.unwrap();
    assert_eq!(received(&lab.b).await.0, [2; 1_252]);
    let stats = lab.handle.stats().await.unwrap();
    assert_eq!(counters(&stats, "a", "b").dropped(DropReason::TooBig), 1);
}

#[tokio::test]
async fn flows_are_bounded() {
    let lab = Lab::start(|config| RelayConfig {
        flows_max: 1,
        ..config
    })
    .await;
    lab.ping().await;
    let other = bound(IP_A).await;
    other.send_to(b"one too many", lab.front_b).await.unwrap();
    lab.stats_until(|stats| stats.flows_refused == 1).await;
    lab.ping().await;
    assert_eq!(lab.handle.stats().await.unwrap().flows_opened, 1);
}

#[tokio::test]
async fn idle_flows_expire_and_come_back() {
    let lab = Lab::start(|config| RelayConfig {
        flow_idle_max: ms(50),
        ..config
    })
    .await;
    for round in 1..=2 {
        lab.a.send_to(b"hello", lab.front_b).await.unwrap();
        assert_eq!(received(&lab.b).await.0, b"hello");
        let expired = |stats: &RelayStats| stats.flows == 0 && stats.flows_expired == round;
        let stats = lab.stats_until(expired).await;
        assert_eq!(stats.flows_opened, round);
    }
}

#[tokio::test]
async fn a_rebound_site_comes_from_a_new_flow() {
    let lab = Lab::start(|config| config).await;
    lab.ping().await;
    lab.handle.rebind(&"b".into()).await.unwrap();
    lab.ping().await;
    assert_eq!(lab.handle.stats().await.unwrap().flows_opened, 1);
    lab.handle.rebind(&"a".into()).await.unwrap();
    lab.ping().await;
    let stats = lab.handle.stats().await.unwrap();
    assert_eq!((stats.flows, stats.flows_opened), (1, 2));
}

#[tokio::test]
async fn strangers_and_dead_peers_are_survived() {
    let lab = Lab::start(|config| config).await;
    let stranger = bound([127, 9, 0, 1]).await;
    stranger.send_to(b"who is this", lab.front_b).await.unwrap();
    lab.a.send_to(b"to myself", lab.front_a).await.unwrap();
    lab.stats_until(|stats| stats.unroutable == 2).await;

    // b goes away and comes back on its port; the flow outlives the refusals.
    let Lab {
        a,
        b,
        front_b,
        handle,
        running,
        ..
    } = lab;
    let address = b.local_addr().unwrap();
    drop(b);
    for _ in 0..5 {
        a.send_to(b"anybody there", front_b).await.unwrap();
    }
    let deadline = Instant::now() + DEADLINE;
    while counters(&handle.stats().await.unwrap(), "a", "b").accepted < 5 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let b = UdpSocket::bind(address).await.unwrap();
    a.send_to(b"welcome back", front_b).await.unwrap();
    assert_eq!(received(&b).await.0, b"welcome back");
    assert_eq!(handle.stats().await.unwrap().flows_opened, 1);
    handle.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_closes_every_socket_and_leaves_no_task() {
    let runtime = tokio::runtime::Handle::current().metrics();
    let tasks = runtime.num_alive_tasks();
    let lab = Lab::start(|config| config.link("a", "b", LinkSpec::with_delay(DEADLINE))).await;
    lab.a
        .send_to(b"still under way", lab.front_b)
        .await
        .unwrap();
    lab.stats_until(|stats| counters(stats, "a", "b").accepted == 1)
        .await;

    lab.handle.shutdown().await.unwrap();
    // Free at once, though a packet held one of the sockets.
    UdpSocket::bind(lab.front_a).await.unwrap();
    UdpSocket::bind(lab.front_b).await.unwrap();
    lab.running.await.unwrap().unwrap();
    assert_eq!(runtime.num_alive_tasks(), tasks);
    assert_eq!(lab.handle.stats().await, Err(ControlError::Ended));
}

#[tokio::test]
async fn a_relay_ends_with_its_last_handle() {
    let Lab {
        handle, running, ..
    } = Lab::start(|config| config).await;
    let other = handle.clone();
    drop(handle);
    assert!(other.stats().await.is_ok());
    drop(other);
    tokio::time::timeout(DEADLINE, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn what_cannot_be_bound_or_controlled_is_said() {
    let taken = bound(IP_B).await;
    let listen = taken.local_addr().unwrap();
    let config = || RelayConfig::new(0).site("b", SocketAddr::from((IP_B, 9)));
    let refused = Relay::bind(config().front(listen, "b", Origin::ByAddress));
    assert!(matches!(refused, Err(BindError::Listen { listen: at, .. }) if at == listen));
    let refused = Relay::bind(config().front(listen, "x", Origin::ByAddress));
    assert!(matches!(
        refused,
        Err(BindError::Config(ConfigError::UnknownSite(_)))
    ));

    let lab = Lab::start(|config| config).await;
    let nowhere = Pair::new("a", "x");
    assert_eq!(
        lab.handle.set(&nowhere, LinkSpec::default()).await,
        Err(ControlError::UnknownLink(nowhere.clone()))
    );
    assert_eq!(
        lab.handle.cut(&"x".into()).await,
        Err(ControlError::UnknownSite("x".into()))
    );
    assert_eq!(
        lab.handle.rebind(&"x".into()).await,
        Err(ControlError::UnknownSite("x".into()))
    );
}
