//! Gateways find each other whichever side can be dialled.

use std::time::{Duration, Instant};

use super::links;
use crate::testing::{Gateway, World, eventually, pair, within};
use crate::tunnel::link::Dialled;
use crate::tunnel::{PathState, PeerTarget};

#[tokio::test]
async fn either_side_may_dial() {
    let world = World::new();
    let (a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    // a cannot be dialled by b.
    a.tunnels.set_peers(vec![b.target.clone()]);
    b.tunnels.set_peers(vec![a.undialled()]);
    a.until_up(&b, 1).await;
    b.until_up(&a, 1).await;
    assert_eq!(links(&a, b.node()).len(), 2, "control and data");

    let (c, d) = (world.gateway(4, "a", 1), world.gateway(3, "b", 1));
    // The lower node cannot be dialled by the higher one.
    c.tunnels.set_peers(vec![d.undialled()]);
    d.tunnels.set_peers(vec![c.target.clone()]);
    c.until_up(&d, 1).await;
    d.until_up(&c, 1).await;
}

#[tokio::test]
async fn three_gateways_meet_pairwise() {
    let world = World::new();
    let all = [
        world.gateway(1, "a", 1),
        world.gateway(2, "b", 2),
        world.gateway(3, "c", 1),
    ];
    for gateway in &all {
        // A gateway skips itself.
        let targets = all.iter().map(|other| other.target.clone()).collect();
        gateway.tunnels.set_peers(targets);
    }
    let workers = |gateway: &Gateway| gateway.tunnels.workers().len();
    for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let (from, to) = (&all[from], &all[to]);
        from.until_up(to, workers(from) + workers(to)).await;
    }
}

#[tokio::test]
async fn of_simultaneous_dials_one_is_kept() {
    let world = World::new();
    // Often enough that both dials are on their way at once in some of them.
    for _ in 0..8 {
        let (a, b) = pair(&world, 1).await;
        let one = |gateway: &Gateway, peer: &Gateway| {
            let links = gateway.tunnels.shared.links.load();
            let mut all = links.controls(peer.node());
            let first = all.next()?.origin.dialled;
            all.next().is_none().then_some(first)
        };
        eventually("one control connection, the same on both sides", || {
            matches!(
                (one(&a, &b), one(&b, &a)),
                (Some(Dialled::Here), Some(Dialled::There))
                    | (Some(Dialled::There), Some(Dialled::Here))
            )
        })
        .await;
    }
}

#[tokio::test]
async fn a_second_control_connection_gives_way_once_its_streams_have_ended() {
    let world = World::new();
    let (mut a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    // Only the higher node dials at first, and opens a stream.
    a.tunnels.set_peers(vec![b.undialled()]);
    b.tunnels.set_peers(vec![a.target.clone()]);
    b.until_up(&a, 1).await;
    let stream = b.tunnels.control(a.node()).unwrap().open_catalog().await;
    let stream = stream.unwrap();
    let before = links(&b, a.node());

    // Then the lower node dials by hand, as in a race.
    let hello = super::hello(&a, super::Purpose::Control, 0);
    let (connection, answer) = super::dial(&a, &super::tls(&a), &b, &hello).await.unwrap();
    let origin = crate::tunnel::link::Origin {
        node: b.node(),
        cluster: b.target.cluster.clone(),
        id: b.target.id.clone(),
        incarnation: answer.incarnation,
        purpose: super::Purpose::Control,
        dialled: Dialled::Here,
        worker: 0,
        handshake: Duration::ZERO,
        through: None,
    };
    let shared = a.tunnels.shared.clone();
    let admitted = a.tunnels.workers().spawn(0, async move {
        shared.admit(0, connection, origin);
    });
    admitted.await.unwrap();

    let a_node = a.node();
    let kept_by_b = || {
        let links = b.tunnels.shared.links.load();
        links.control(b.node(), a_node).map(|l| l.origin.dialled)
    };
    eventually("the lower node's connection is used", || {
        kept_by_b() == Some(Dialled::There)
    })
    .await;
    // The stream holds the first connection open.
    assert!(links(&b, a.node()).is_superset(&before));
    drop(stream);
    drop(within("the catalog stream", a.incoming.recv()).await);
    eventually("one control connection", || {
        let links = b.tunnels.shared.links.load();
        links.controls(a_node).count() == 1
    })
    .await;
    assert_eq!(kept_by_b(), Some(Dialled::There));
}

#[tokio::test]
async fn draining_tells_the_peers_and_lets_streams_end() {
    let world = World::new();
    let (a, mut b) = pair(&world, 1).await;
    let header = weft_proto::peer::RelayStream::default();
    let stream = a.tunnels.open_relay(0, &b.target.cluster, header.clone());
    let mut stream = within("a relay stream", stream).await.unwrap();
    let mut relayed = within("the relay stream", b.relays[0].recv())
        .await
        .unwrap();

    let draining = b.tunnels.clone();
    let deadline = Instant::now() + Duration::from_secs(60);
    let drained = tokio::spawn(async move { draining.drain(deadline).await });
    eventually("a knows that b drains", || {
        a.state(&b) == Some(PathState::Draining)
    })
    .await;

    // The stream that was open goes on in both directions.
    stream.send.write_all(b"ping").await.unwrap();
    stream.send.finish().unwrap();
    let heard = within("ping", relayed.recv.read_to_end(16)).await.unwrap();
    assert_eq!(heard, b"ping");
    relayed.send.write_all(b"pong").await.unwrap();
    relayed.send.finish().unwrap();
    let heard = within("pong", stream.recv.read_to_end(16)).await.unwrap();
    assert_eq!(heard, b"pong");
    assert!(!drained.is_finished());
    drop((stream, relayed));
    within("the drain's end", drained).await.unwrap();
    eventually("a sees b down", || a.state(&b) == Some(PathState::Down)).await;
}

/// As after simultaneous dials, of which the peer gave up the one that was to stay.
#[tokio::test]
async fn a_connection_whose_successor_has_ended_is_kept() {
    let world = World::new();
    let (a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    a.tunnels.set_peers(vec![b.target.clone()]);
    b.tunnels.set_peers(vec![a.undialled()]);
    a.until_up(&b, 1).await;
    for link in a.tunnels.shared.links.load_full().iter() {
        crate::tunnel::drain::retire(&a.tunnels.shared, link, Duration::from_millis(1)).await;
        assert!(link.is_alive());
    }
}

/// The name may have an IPv6 address too, at which nobody listens.
#[tokio::test]
async fn a_peer_is_dialled_by_name() {
    let world = World::new();
    let (a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    let name = format!("localhost:{}", b.address().port());
    a.tunnels.set_peers(vec![PeerTarget {
        address: Some(name.parse().unwrap()),
        ..b.target.clone()
    }]);
    b.tunnels.set_peers(vec![a.undialled()]);
    a.until_up(&b, 1).await;
}

/// In both directions between a gateway of one family and one of both.
#[tokio::test]
async fn a_gateway_on_any_address_meets_both_families() {
    let world = World::new();
    let both = world.gateway_at(1, "a", 2, "[::]:0".parse().unwrap());
    for (node, bind, here) in [(2, "127.0.0.1:0", "127.0.0.1"), (3, "[::1]:0", "[::1]")] {
        // Of one cluster: for another's it dials no loopback, since it does not listen there alone.
        let one = world.gateway_at(node, "a", 1, bind.parse().unwrap());
        let port = both.address().port();
        both.tunnels.set_peers(vec![one.target.clone()]);
        one.tunnels.set_peers(vec![PeerTarget {
            address: Some(format!("{here}:{port}").parse().unwrap()),
            ..both.target.clone()
        }]);
        both.until_up(&one, 3).await;
        one.until_up(&both, 3).await;
    }
}

#[tokio::test]
async fn a_gateway_on_any_ipv4_address_dials_ipv6() {
    let world = World::new();
    let a = world.gateway_at(1, "a", 1, "0.0.0.0:0".parse().unwrap());
    let b = world.gateway_at(2, "a", 1, "[::1]:0".parse().unwrap());
    a.tunnels.set_peers(vec![b.target.clone()]);
    b.tunnels.set_peers(vec![a.undialled()]);
    a.until_up(&b, 1).await;
}

#[tokio::test]
async fn a_gateway_on_any_address_dials_no_loopback_for_another_cluster() {
    let world = World::new();
    let a = world.gateway_at(1, "a", 1, "0.0.0.0:0".parse().unwrap());
    let b = world.gateway_at(2, "b", 1, "127.0.0.1:0".parse().unwrap());
    a.tunnels.set_peers(vec![b.target.clone()]);
    b.tunnels.set_peers(vec![a.undialled()]);
    eventually("a dial fails", || {
        a.tunnels.metrics().dials_failed.get() > 1
    })
    .await;
    assert_eq!(b.tunnels.metrics().connected(), 0);
}
